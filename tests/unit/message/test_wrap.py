"""The forms that mail programs know S/MIME by."""

from __future__ import annotations

import base64
import email
import email.message

import pytest

from smimefilter.message.entity import Entity, outer
from smimefilter.message.wire import Message
from smimefilter.message.wrap import SmimeType, multipart_signed, pkcs7_mime

TOKEN = "0123456789abcdefABCDEF"
OUTSIDE = Message(b"Subject: x\r\nContent-Type: text/plain\r\nTo: b@c.test\r\n\r\nHello")
INSIDE = Entity(b"Content-Type: text/plain\r\n", (b"Hello\r\n", memoryview(b".\r\nend")))


def mail(entity: Entity) -> email.message.Message:
    parsed = email.message_from_bytes(b"".join(outer(OUTSIDE).around(entity)))
    assert not parsed.defects
    assert parsed["Subject"] == "x"
    assert parsed["MIME-Version"] == "1.0"
    return parsed


@pytest.mark.parametrize("kind", SmimeType)
def test_pkcs7_mime(kind: SmimeType) -> None:
    der = bytes(range(256)) * 9
    parsed = mail(pkcs7_mime(kind, [der[:100], memoryview(der)[100:]]))
    assert parsed.get_content_type() == "application/pkcs7-mime"
    assert parsed.get_param("smime-type") == kind.value
    assert parsed.get_param("name") == "smime.p7m"
    assert parsed.get_filename() == "smime.p7m"
    assert parsed.get_content_disposition() == "attachment"
    assert parsed["Content-Transfer-Encoding"] == "base64"
    assert parsed.get_payload(decode=True) == der


def test_the_kinds_are_spelt_as_the_rfc_has_them() -> None:
    assert {kind.value for kind in SmimeType} == {
        "signed-data",
        "enveloped-data",
        "authEnveloped-data",
    }


def test_multipart_signed() -> None:
    parsed = mail(multipart_signed(INSIDE, b"signature", "sha-256", TOKEN))
    assert parsed.get_content_type() == "multipart/signed"
    assert parsed.get_param("protocol") == "application/pkcs7-signature"
    assert parsed.get_param("micalg") == "sha-256"
    content, signature = parsed.get_payload()
    assert content.get_content_type() == "text/plain"
    assert signature.get_content_type() == "application/pkcs7-signature"
    assert signature.get_param("name") == signature.get_filename() == "smime.p7s"
    assert signature.get_payload(decode=True) == b"signature"


def test_what_was_signed_is_in_the_mail_byte_for_byte() -> None:
    signed = multipart_signed(INSIDE, b"signature", "sha-256", TOKEN)
    whole = b"".join(signed.chunks)
    boundary = b"\r\n--=_" + TOKEN.encode()
    before, content, signature, end = whole.split(boundary)
    assert before.startswith(b"Content-Type: multipart/signed")
    assert content == b"\r\n" + b"".join(INSIDE.chunks)
    assert signature.endswith(b"\r\n\r\n" + base64.b64encode(b"signature"))
    assert end == b"--\r\n"


def test_content_is_passed_on_not_copied() -> None:
    signed = multipart_signed(INSIDE, b"signature", "sha-256", TOKEN)
    assert any(chunk is INSIDE.body[1] for chunk in signed.chunks)


def test_wrapped_again() -> None:
    signed = multipart_signed(INSIDE, b"signature", "sha-256", TOKEN)
    parsed = mail(pkcs7_mime(SmimeType.ENVELOPED, signed.chunks))
    inner = parsed.get_payload(decode=True)
    assert isinstance(inner, bytes)
    assert email.message_from_bytes(inner).get_content_type() == "multipart/signed"


@pytest.mark.parametrize("token", ["", "short", "x" * 60, 'x" ' * 10, "\r\n" * 15, "é" * 25])
def test_an_unsafe_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        multipart_signed(INSIDE, b"signature", "sha-256", token)
