"""What CMS is: whole structures are recognised, and nothing that lacks a part of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from asn1crypto import algos, cms, core, x509
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from smimefilter.cms import der
from smimefilter.cms.envelope import envelop
from smimefilter.cms.recognise import MOST_ELEMENTS, Kind, kind_of
from smimefilter.cms.sign import Signer, SignerTemplate, detached, encapsulated
from tests.support.pki import root

CONTENT: Final = b"Content-Type: text/plain\r\n\r\nHello\r\n"
ALICE: Final = root().issue("Alice", mail="alice@example.com")
NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)


def kind(octets: bytes) -> Kind | None:
    return kind_of(memoryview(octets))


def enveloped(cipher: ContentCipher = ContentCipher.AES_256_CBC, size: int = 0) -> bytes:
    content = [CONTENT + bytes(size)]
    return b"".join(envelop(content, [ALICE.certificate], cipher, KeyTransport.PKCS1))


def template() -> SignerTemplate:
    signer = Signer(ALICE.certificate, ALICE.chain, ALICE.key)
    return SignerTemplate.of(signer, SignatureAlgorithm.SHA256)


def signed(content: bytes = CONTENT) -> bytes:
    return b"".join(encapsulated([content], template(), NOW))


ENVELOPED, AUTHENTICATED = enveloped(), enveloped(ContentCipher.AES_256_GCM)
SIGNED = signed()
WHOLE: Final = [ENVELOPED, AUTHENTICATED, SIGNED]


@pytest.mark.parametrize("cipher", list(ContentCipher))
@pytest.mark.parametrize("size", [0, 200, 70_000])
def test_what_we_encrypt_is_encrypted(cipher: ContentCipher, size: int) -> None:
    assert kind(enveloped(cipher, size)) is Kind.ENCRYPTED


def test_what_we_sign_is_signed() -> None:
    assert kind(signed()) is Kind.SIGNED
    assert kind(signed(b"")) is Kind.SIGNED
    assert kind(detached([CONTENT], template(), NOW)) is Kind.SIGNED


def indefinite(tag: bytes, *parts: bytes) -> bytes:
    return b"".join((tag, b"\x80", *parts, b"\0\0"))


VERSION: Final = der.integer(0)
INFO: Final = der.tlv(der.SEQUENCE, VERSION, b"\x04\x03key")
DATA: Final = der.oid("1.2.840.113549.1.7.1")
CIPHER: Final = der.algorithm("2.16.840.1.101.3.4.1.42", b"\x04\x10" + bytes(16))
ENVELOPED_DATA: Final = der.oid("1.2.840.113549.1.7.3")
AUTH_DATA: Final = der.oid("1.2.840.113549.1.9.16.1.23")


def built(
    *,
    kind_: bytes = ENVELOPED_DATA,
    before: bytes = b"",
    infos: bytes = der.tlv(der.SET, INFO),
    content: bytes = b"\x80\x10" + bytes(16),
    after: bytes = b"",
    end: bytes = b"",
    wrap: Any = der.tlv,
) -> bytes:
    """A ContentInfo from its parts, with definite or indefinite lengths around them."""
    inner = wrap(der.SEQUENCE, DATA, CIPHER, content)
    body = wrap(der.SEQUENCE, VERSION, before, infos, inner, after)
    return wrap(der.SEQUENCE, kind_, wrap(der.CONTEXT_0, body), end)


CHUNKS: Final = [b"\x04\x03abc", b"\x04\x00", b"\x04\x81\x02de", b"\x04\x84\0\0\0\x01f"]


@pytest.mark.parametrize("wrap", [der.tlv, indefinite])
@pytest.mark.parametrize("outer", [der.tlv, indefinite])
def test_content_in_pieces(wrap: Any, outer: Any) -> None:
    content = wrap(der.CONTEXT_0, *CHUNKS)
    assert kind(built(content=content, wrap=outer)) is Kind.ENCRYPTED
    infos = wrap(der.SET, INFO, indefinite(b"\xa1", indefinite(b"\xa0", INFO), VERSION))
    assert kind(built(infos=infos, content=content, wrap=outer)) is Kind.ENCRYPTED


@pytest.mark.parametrize("tag", [0x30, 0xA1, 0xA2, 0xA3, 0xA4])
def test_any_kind_of_recipient(tag: int) -> None:
    assert kind(built(infos=der.tlv(der.SET, bytes([tag]) + INFO[1:]))) is Kind.ENCRYPTED


def test_what_may_stand_beside() -> None:
    attributes = der.tlv(der.CONTEXT_1, INFO)
    assert kind(built(before=der.tlv(der.CONTEXT_0, INFO), after=attributes)) is Kind.ENCRYPTED
    mac = b"\x04\x10" + bytes(16)
    for after in (mac, attributes + mac, mac + der.tlv(der.CONTEXT_2, INFO)):
        assert kind(built(kind_=AUTH_DATA, after=after)) is Kind.ENCRYPTED


SECRET: Final = b"\x04\x0aTOP SECRET"


@pytest.mark.parametrize(
    "flawed",
    [
        b"",
        b"TOP SECRET plain text",
        b"0\x80",
        ENVELOPED_DATA + b"....... TOP SECRET plain text",
        der.tlv(der.SEQUENCE, ENVELOPED_DATA),
        der.tlv(der.SEQUENCE, ENVELOPED_DATA, der.tlv(der.CONTEXT_0)),
        der.tlv(der.SEQUENCE, DATA, der.tlv(der.CONTEXT_0, SECRET)),
        built(kind_=DATA),
        built(kind_=der.oid("1.2.840.113549.1.7.6")),  # encrypted for nobody in particular
        built(infos=b""),
        built(infos=der.tlv(der.SET)),
        built(infos=der.tlv(der.SET, SECRET)),
        built(infos=der.tlv(der.SET, INFO, SECRET)),
        built(infos=der.tlv(der.SEQUENCE, INFO)),
        built(content=b""),
        built(content=b"\x80\x00"),
        built(content=b"\x80\x80\0\0"),
        built(content=der.tlv(der.CONTEXT_0)),
        built(content=indefinite(der.CONTEXT_0)),
        built(content=indefinite(der.CONTEXT_0, b"\x04\x00")),
        built(content=der.tlv(der.CONTEXT_0, b"\x0c\x03abc")),
        built(content=indefinite(der.CONTEXT_0, b"\x04\x03abc")[:-2]),
        built(content=SECRET),
        built(before=SECRET),
        built(after=SECRET),
        built(end=SECRET),
        built(end=SECRET, wrap=indefinite),
        built(kind_=AUTH_DATA),  # without a code
        built(kind_=AUTH_DATA, after=b"\x04\x00"),
        built(after=b"\x04\x10" + bytes(16)),
        built() + b"x",
        built() + b"\r\n\r\n",
        built() + built(),
        b"\r\n" + built(),
        built(wrap=indefinite)[:-2],
        built(wrap=indefinite) + b"\0\0",
        built().replace(b"\x80\x10", b"\x80\x11"),
        built().replace(b"\x80\x10", b"\x80\x0f"),
        built(content=b"\x80\x84\xff\xff\xff\xff" + bytes(16)),
        built(content=b"\x80\xff" + bytes(200)),
        built(infos=b"\x3f\x31\x00"),
    ],
)
def test_what_is_not_encrypted(flawed: bytes) -> None:
    assert kind(flawed) is None


def test_the_line_end_that_ends_a_mail_is_left_aside() -> None:
    assert kind(built() + b"\r\n") is Kind.ENCRYPTED
    assert kind(built() + b"\n") is Kind.ENCRYPTED


def test_certificates_alone_are_not_signed() -> None:
    data = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [],
            "encap_content_info": {"content_type": "data"},
            "certificates": [x509.Certificate.load(ALICE.certificate.der)],
            "signer_infos": [],
        }
    )
    alone = cms.ContentInfo({"content_type": "signed_data", "content": data})
    assert kind(alone.dump()) is None


def test_compressed_is_neither() -> None:
    data = cms.CompressedData(
        {
            "version": "v0",
            "compression_algorithm": cms.CompressionAlgorithm({"algorithm": "zlib"}),
            "encap_content_info": {
                "content_type": "data",
                "content": core.ParsableOctetString(b"x"),
            },
        }
    )
    info = cms.ContentInfo({"content_type": "compressed_data", "content": data})
    assert kind(info.dump()) is None


def test_asn1crypto_agrees_with_what_is_built_here() -> None:
    info = cms.ContentInfo.load(built(infos=der.tlv(der.SET, recipient())), strict=True)
    assert info["content_type"].native == "enveloped_data"
    inner = info["content"]["encrypted_content_info"]
    assert inner["encrypted_content"].native == bytes(16)
    assert algos.EncryptionAlgorithm.load(CIPHER)["algorithm"].native == "aes256_cbc"


def recipient() -> bytes:
    info = cms.ContentInfo.load(ENVELOPED)["content"]["recipient_infos"][0]
    return bytes(info.dump())


# an end, whatever comes


@pytest.mark.parametrize("whole", WHOLE)
def test_each_byte_short_is_not_whole(whole: bytes) -> None:
    assert all(kind(whole[:size]) is None for size in range(len(whole)))


@given(st.sampled_from(WHOLE), st.data())
def test_any_change_is_looked_at(whole: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + 1 :]
    kind(changed)


_TOKENS: Final = [
    b"\x30\x80", b"\x31\x80", b"\xa0\x80", b"\0\0", VERSION, ENVELOPED_DATA, INFO, CIPHER, DATA,
    b"\x24\x80", b"\x04\x01x", b"\x80\x01x", b"\x80", b"\xff",
]  # fmt: skip


@given(st.lists(st.sampled_from(_TOKENS), max_size=30).map(b"".join))
def test_any_elements_are_looked_at(octets: bytes) -> None:
    kind(b"\x30\x80" + ENVELOPED_DATA + b"\xa0\x80" + octets)


@pytest.mark.parametrize(
    "content",
    [
        indefinite(der.CONTEXT_0, b"\x04\x00" * 2_000_000, b"\x04\x01x"),
        b"\xa0\x80" * 2_000_000,
        indefinite(der.CONTEXT_0, b"\x24\x80" * 1000 + b"\0\0" * 1000),
    ],
)
def test_elements_without_end_are_left_alone(content: bytes) -> None:
    assert kind(built(content=content, wrap=indefinite)) is None


def test_as_many_pieces_as_a_large_mail_has() -> None:
    pieces = b"\x04\x82\x03\xe8" + bytes(1000)
    content = indefinite(der.CONTEXT_0, pieces * 25_000)
    assert MOST_ELEMENTS > 25_000
    assert kind(built(content=content, wrap=indefinite)) is Kind.ENCRYPTED
