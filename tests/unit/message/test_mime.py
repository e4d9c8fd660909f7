"""What a mail is already."""

from __future__ import annotations

import base64

import pytest

from smimefilter.message.mime import is_calendar, is_encrypted, is_signed
from smimefilter.message.wire import Message

SIGNED_DATA = "308006092a864886f70d010702a0803080"
ENVELOPED_DATA = "3082011006092a864886f70d010703a0820101"
AUTH_ENVELOPED = "30820110060b2a864886f70d0109100117a0820101"
PGP = (
    b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
    b"--b\r\n\r\n%b\r\n--b--"
)


def pkcs7(content_type: str, cms: str, encoding: str = "base64") -> Message:
    der = bytes.fromhex(cms) + bytes(200)
    body = base64.encodebytes(der) if encoding == "base64" else der
    head = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return Message(head.encode() + body)


def typed(content_type: str, body: bytes = b"x") -> Message:
    return Message(f"Content-Type: {content_type}\r\n\r\n".encode() + body)


@pytest.mark.parametrize(
    "message",
    [
        typed('multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256'),
        typed("Multipart/Signed; protocol=application/pgp-signature"),
        pkcs7("application/pkcs7-mime; smime-type=signed-data", SIGNED_DATA),
        pkcs7("application/x-pkcs7-mime; name=smime.p7m", SIGNED_DATA),
        pkcs7("application/pkcs7-mime", SIGNED_DATA, "binary"),
        pkcs7('application/octet-stream; name="SMIME.P7M"', SIGNED_DATA),
    ],
)
def test_signed(message: Message) -> None:
    assert is_signed(message)
    assert not is_encrypted(message)


@pytest.mark.parametrize(
    "message",
    [
        pkcs7("application/pkcs7-mime; smime-type=enveloped-data", ENVELOPED_DATA),
        pkcs7("application/x-pkcs7-mime", ENVELOPED_DATA),
        pkcs7("application/pkcs7-mime; smime-type=authEnveloped-data", AUTH_ENVELOPED),
        pkcs7("application/pkcs7-mime; smime-type=signed-data", ENVELOPED_DATA),
        Message(
            b"Content-Type: application/octet-stream\r\n"
            b'Content-Disposition: attachment; filename="smime.p7m"\r\n'
            b"Content-Transfer-Encoding: 8bit\r\n\r\n" + bytes.fromhex(ENVELOPED_DATA)
        ),
        typed("multipart/encrypted; boundary=b", PGP % b"-----BEGIN PGP MESSAGE-----"),
    ],
)
def test_encrypted(message: Message) -> None:
    assert is_encrypted(message)
    assert not is_signed(message)


@pytest.mark.parametrize(
    "message",
    [
        Message(b""),
        Message(b"Subject: x\r\n\r\n-----BEGIN PGP MESSAGE-----"),
        typed("text/plain"),
        typed("multipart/mixed; boundary=b"),
        typed("application/pkcs7-mime; smime-type=enveloped-data", b"plain text"),
        typed("multipart/encrypted; boundary=b", PGP % b"plain text"),
        pkcs7("application/octet-stream; name=x.bin", ENVELOPED_DATA),
        pkcs7("application/pkcs7-mime", "30030201ff"),
        Message(
            b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n====plain text===="
        ),
    ],
)
def test_neither_whatever_the_header_says(message: Message) -> None:
    assert not is_encrypted(message)
    assert not is_signed(message)


INVITATION = b"--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN\r\n"


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        (typed("text/calendar; method=REQUEST"), True),
        (typed("multipart/alternative; boundary=b", INVITATION + b"--b--"), True),
        (
            typed(
                "multipart/mixed; boundary=a",
                b"--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
                + INVITATION
                + b"--b--\r\n--a--",
            ),
            True,
        ),
        (typed("text/plain", b"Content-Type: text/calendar\r\n"), False),
        (
            typed(
                "multipart/mixed; boundary=b",
                b"--b\r\nContent-Type: text/plain\r\n\r\nContent-Type: text/calendar\r\n--b--",
            ),
            False,
        ),
        (
            typed(
                "multipart/mixed; boundary=a",
                b"--a\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: text/calendar\r\n"
                b"\r\nBEGIN\r\n--a--",
            ),
            False,
        ),
        (typed("multipart/mixed"), False),
    ],
)
def test_calendar(message: Message, is_one: bool) -> None:
    assert is_calendar(message) is is_one


def test_nesting_has_an_end() -> None:
    part = b"Content-Type: text/calendar\r\n\r\nx"
    for n in range(200):
        kind = f"Content-Type: multipart/mixed; boundary=b{n}.\r\n\r\n".encode()
        part = kind + b"--b%d.\r\n" % n + part + b"\r\n--b%d.--\r\n" % n
    assert not is_calendar(Message(part))
