"""SMIMECapabilities: as this gateway writes them, as others do, and broken."""

from __future__ import annotations

import base64

import pytest
from asn1crypto import cms

from smimefilter.base.algorithms import Capabilities, ContentCipher
from smimefilter.cms import der
from smimefilter.cms.capabilities import read_capabilities
from tests.support.pki import NOW, root
from tests.support.smime import clear_signed

AES = "2.16.840.1.101.3.4.1."


def capabilities(*dotted: str, parameters: bytes = b"") -> bytes:
    return der.tlv(der.SEQUENCE, *(der.algorithm(one, parameters) for one in dotted))


@pytest.mark.parametrize(
    ("value", "ciphers", "oaep"),
    [
        (capabilities(f"{AES}46", f"{AES}42"), "aes-256-gcm aes-256-cbc", False),
        (capabilities(f"{AES}2", f"{AES}2", "1.2.3"), "aes-128-cbc", False),
        (capabilities("1.2.840.113549.1.1.7", f"{AES}42"), "aes-256-cbc", True),
        (capabilities("1.2.840.113549.3.2", parameters=der.integer(128)), "", False),
        (capabilities(), "", False),
        (capabilities(f"{AES}42")[:-1], "", False),
        (b"", "", False),
        (b"\x04\x00", "", False),
    ],
)
def test_what_is_read(value: bytes, ciphers: str, *, oaep: bool) -> None:
    found = read_capabilities(value)
    assert " ".join(found.ciphers) == ciphers
    assert found.oaep == oaep
    assert Capabilities.of(str(found)) == found


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("aes-128-cbc aes-256-gcm", ContentCipher.AES_256_GCM),
        ("aes-128-cbc aes-256-cbc aes-128-gcm", ContentCipher.AES_256_CBC),
        ("aes-128-cbc", ContentCipher.AES_128_CBC),
        ("oaep something-new", None),
    ],
)
def test_the_strongest_counts(text: str, best: ContentCipher | None) -> None:
    assert Capabilities.of(text).best is best


def test_our_own_signatures_say_what_we_read() -> None:
    author = root().issue("A", mail="a@x.test")
    mail = clear_signed(b"From: a@x.test\r\n\r\nx\r\n", author, at=NOW)
    der_ = base64.b64decode(mail.rpartition(b"\r\n\r\n")[2].partition(b"\r\n--")[0])
    attributes = cms.ContentInfo.load(der_)["content"]["signer_infos"][0]["signed_attrs"]
    (value,) = (
        one["values"][0] for one in attributes if one["type"].dotted == "1.2.840.113549.1.9.15"
    )
    assert ContentCipher.AES_256_GCM in read_capabilities(value.dump()).ciphers
