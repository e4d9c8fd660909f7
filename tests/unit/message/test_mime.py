"""What a mail is already, as far as MIME tells."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given

from smimefilter.message import mime
from smimefilter.message.mime import (
    MOST_HEADERS,
    MOST_PASSES,
    MOST_TYPES,
    Protected,
    is_calendar,
    is_pgp_encrypted,
    is_pgp_signed,
    is_said_protected,
    pkcs7_body,
    pkcs7_signature,
    protected_parts,
)
from smimefilter.message.parameters import ContentType
from smimefilter.message.parts import Part, Span
from smimefilter.message.wire import Message
from tests.support.odd_mail import RAW, TYPED

CMS = bytes(range(256)) * 2
P7M = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n"
BASE64 = "Content-Transfer-Encoding: base64\r\n"


def mail(head: str, body: bytes) -> Message:
    return Message(head.encode() + b"\r\n" + body)


def typed(content_type: str, body: bytes = b"x") -> Message:
    return mail(f"Content-Type: {content_type}\r\n", body)


def encoded(octets: bytes = CMS) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


# S/MIME, in one body


@pytest.mark.parametrize(
    "message",
    [
        mail(P7M + BASE64, encoded()),
        mail("Content-Type: Application/X-PKCS7-MIME\r\n" + BASE64.upper(), encoded()),
        mail(P7M + BASE64, b"\r\n " + encoded().replace(b"\r\n", b"\n\t") + b"\r\n\r\n"),
        mail(P7M, CMS),
        mail(P7M + "Content-Transfer-Encoding: binary\r\n", CMS),
        mail(P7M + "Content-Transfer-Encoding: quoted-printable\r\n", quopri.encodestring(CMS)),
        mail('Content-Type: application/octet-stream; name="A.P7M"\r\n' + BASE64, encoded()),
        mail(
            "Content-Type: application/octet-stream\r\n"
            'Content-Disposition: attachment; filename="smime.p7m"\r\n' + BASE64,
            encoded(),
        ),
    ],
)
def test_a_pkcs7_body_is_decoded(message: Message) -> None:
    assert pkcs7_body(message) == CMS
    assert pkcs7_signature(message) is None


def test_a_body_that_is_not_encoded_is_not_copied() -> None:
    message = mail(P7M, CMS)
    body = pkcs7_body(message)
    assert body is not None
    assert body.obj is message.data


@pytest.mark.parametrize(
    "message",
    [
        Message(b""),
        typed("text/plain"),
        typed("application/octet-stream; name=x.bin", CMS),
        mail(P7M + BASE64, b"====plain text===="),
        mail(P7M + BASE64, b"Hello! " + encoded()),
        mail(P7M + BASE64, encoded() + b"-- \r\nA footer, plain text\r\n"),
        mail(P7M + BASE64, encoded(b"x") + encoded(b"x")),
        mail(P7M + BASE64, encoded(b"x" * 400_001) + encoded(b"x")),
        mail(P7M + BASE64, encoded()[:-3]),
        mail(P7M + "Content-Transfer-Encoding: x-uuencode\r\n", encoded()),
        mail(P7M + P7M + BASE64, encoded()),
        mail("Content-Type: text/plain\r\n" + P7M + BASE64, encoded()),
        mail(P7M + "Content-Type: text/plain\r\n" + BASE64, encoded()),
        mail(P7M + BASE64 + BASE64, encoded()),
        mail(P7M + BASE64 + "Content-Transfer-Encoding: 7bit\r\n", encoded()),
    ],
)
def test_all_else_is_no_pkcs7_body(message: Message) -> None:
    assert pkcs7_body(message) is None


# clear signatures

SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\r\n\r\nwgF4\r\n-----END PGP SIGNATURE-----\r\n"
TEXT = b"Content-Type: text/plain\r\n\r\nHello\r\n"


def signed(
    protocol: str,
    *,
    kind: str = "",
    signature: bytes = encoded(),
    encoding: str = "Content-Transfer-Encoding: base64",
    head: str = "",
    after: bytes = b"\r\n--b--\r\nepilogue",
) -> Message:
    part = f"Content-Type: {kind or protocol}; name=x\r\n{encoding}\r\n\r\n".encode()
    return mail(
        f'Content-Type: multipart/signed; protocol="{protocol}"; boundary=b\r\n{head}',
        b"preamble\r\n--b\r\n" + TEXT + b"\r\n--b\r\n" + part + signature + after,
    )


PKCS7, X_PKCS7 = "application/pkcs7-signature", "application/x-pkcs7-signature"
PGP = "application/pgp-signature"


@pytest.mark.parametrize(
    "message",
    [
        signed(PKCS7),
        signed(X_PKCS7),
        signed(X_PKCS7, kind="Application/PKCS7-Signature"),
        signed(PKCS7, signature=CMS, encoding="Content-Transfer-Encoding: binary"),
        signed(PKCS7, after=b""),
        signed(PKCS7, head="Content-Transfer-Encoding: 8bit\r\n"),
    ],
)
def test_a_pkcs7_signature_is_decoded(message: Message) -> None:
    assert pkcs7_signature(message) == CMS
    assert pkcs7_body(message) is None
    assert not is_pgp_signed(message)


def test_a_pgp_signature() -> None:
    message = signed(PGP, signature=SIGNATURE, encoding="Content-Description: OpenPGP")
    assert is_pgp_signed(message)
    assert not is_pgp_encrypted(message)
    assert pkcs7_signature(message) is None


@pytest.mark.parametrize(
    "message",
    [
        typed("multipart/signed", b"hello"),
        typed(f'multipart/signed; protocol="{PKCS7}"; micalg=sha-256', b"hello"),
        typed(f"multipart/signed; protocol={PKCS7}; boundary=b", b"--b\r\n" + TEXT + b"--b--"),
        signed("x/y", kind=PKCS7),
        signed(PKCS7, kind="text/plain"),
        signed(PKCS7, kind=PGP),
        signed(PGP, kind=PKCS7),
        signed(PGP),
        signed(PGP, signature=SIGNATURE[:-10], encoding="X: y"),
        signed(PKCS7, signature=b"plain text!"),
        signed(PKCS7, encoding="Content-Transfer-Encoding: x-no"),
        signed(PKCS7, encoding=BASE64 + "Content-Transfer-Encoding: 7bit"),
        signed(PKCS7, encoding=BASE64 + "Content-Type: text/plain"),
        signed(PKCS7, head="Content-Type: text/plain\r\n"),
        signed(PKCS7, head=BASE64),
        signed(PKCS7, after=b"\r\n--b\r\n" + TEXT + b"\r\n--b--"),
    ],
)
def test_what_is_not_signed_whatever_the_header_says(message: Message) -> None:
    assert pkcs7_signature(message) is None
    assert not is_pgp_signed(message)


# PGP/MIME, encrypted

ARMOUR = (
    b"-----BEGIN PGP MESSAGE-----\r\n\r\n"
    + base64.b64encode(b"\xc1\x03abc\xd2\x05abcde")
    + b"\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n"
)


def pgp(
    protocol: str = "application/pgp-encrypted",
    *,
    head: str = "",
    before: bytes = b"",
    version: bytes = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n",
    part: str = "Content-Type: application/octet-stream\r\n",
    armour: bytes = ARMOUR,
    after: bytes = b"\r\n--b--\r\n",
) -> Message:
    return mail(
        f'Content-Type: multipart/encrypted; protocol="{protocol}"; boundary=b\r\n{head}',
        before + b"--b\r\n" + version + b"\r\n--b\r\n" + part.encode() + b"\r\n" + armour
        + after,
    )  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        pgp(),
        pgp("Application/PGP-Encrypted"),
        pgp(before=b"\r\n \r\n", after=b"\r\n--b-- \r\n\r\n"),
        pgp(after=b"\r\n--b--"),
        pgp(armour=ARMOUR.replace(b"\r\n", b"\n")),
        pgp(armour=b"\r\n" + ARMOUR + b"\r\n"),
        pgp(
            part="Content-Type: application/octet-stream; name=encrypted.asc\r\n"
            "Content-Disposition: inline\r\nContent-Transfer-Encoding: 7bit\r\n"
        ),
        pgp(
            part="Content-Type: application/octet-stream\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n",
            armour=quopri.encodestring(ARMOUR),
        ),
        pgp(
            version=b"Content-Type: application/pgp-encrypted\r\n"
            b"Content-Description: PGP/MIME version identification\r\n\r\nversion:1"
        ),
    ],
)
def test_pgp_encrypted(message: Message) -> None:
    assert is_pgp_encrypted(message)
    assert not is_pgp_signed(message)


SECRET = b"TOP SECRET plain text\r\n"


@pytest.mark.parametrize(
    "message",
    [
        typed("multipart/encrypted", SECRET + b"ps: -----BEGIN PGP MESSAGE-----\r\n"),
        typed("multipart/encrypted; boundary=b", SECRET + ARMOUR),
        Message(b"Subject: x\r\n\r\n" + ARMOUR),
        pgp("x/y"),
        pgp(before=SECRET),
        pgp(after=b"\r\n--b--\r\n" + SECRET),
        pgp(after=b"\r\n--b\r\n\r\n" + SECRET + b"--b--\r\n"),
        pgp(after=b"\r\n--b--\r\n--b\r\n" + SECRET),
        pgp(after=b""),
        pgp(armour=ARMOUR + SECRET),
        pgp(armour=SECRET + ARMOUR),
        pgp(armour=ARMOUR.replace(b"=abcd", SECRET)),
        pgp(armour=ARMOUR.replace(b"=abcd", b"=abcd\r\n--b\r\n\r\n" + SECRET)),
        pgp(version=b"Content-Type: application/pgp-encrypted\r\n\r\n" + SECRET),
        pgp(version=b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n" + SECRET),
        pgp(version=b"Content-Type: application/pgp-encrypted\r\n\r\n" + b" " * 200),
        pgp(version=b"Content-Type: text/plain\r\n\r\nVersion: 1"),
        pgp(version=b"\r\nVersion: 1"),
        pgp(part="Content-Type: text/plain\r\n"),
        pgp(part="Content-Type: application/octet-stream\r\nSubject: TOP SECRET\r\n"),
        pgp(part="Content-Type: application/octet-stream\r\nTOP SECRET\r\n"),
        pgp(part="Content-Type: application/octet-stream\r\n" + BASE64),
        pgp(part="Content-Type: application/octet-stream\r\nContent-Type: text/plain\r\n"),
        pgp(head="Content-Type: text/plain\r\n"),
        pgp(head=BASE64),
        pgp(head=BASE64 + "Content-Transfer-Encoding: 7bit\r\n"),
    ],
)
def test_pgp_that_is_not_encrypted_as_a_whole(message: Message) -> None:
    assert not is_pgp_encrypted(message)


# calendars

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


def test_the_search_for_a_calendar_has_an_end() -> None:
    many = typed("multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n" * 5000 + INVITATION)
    assert not is_calendar(many)
    endless = typed("multipart/mixed; boundary=b", b"--b\n" * 1_000_000 + INVITATION)
    assert not is_calendar(endless)
    headed = b"--b\r\n" + b"A:\r\n" * 1_000_000 + b"\r\n" + INVITATION + b"--b--"
    assert not is_calendar(typed("multipart/mixed; boundary=b", headed))


# parts that say to be protected

ENCRYPTED = b"--b\r\nContent-Type: application/pkcs7-mime\r\n\r\nx\r\n"
SIGNED = b"--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n"
OPAQUE = b"--b\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nx\r\n"
BOTH = Protected.SIGNED | Protected.ENCRYPTED


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (b"--b\r\n\r\nx\r\n", Protected.NOTHING),
        (ENCRYPTED, Protected.ENCRYPTED),
        (SIGNED, Protected.SIGNED),
        (OPAQUE, Protected.SIGNED),
        (ENCRYPTED + OPAQUE, BOTH),
        (SIGNED + b"--b\r\n\r\nx\r\n" + ENCRYPTED, BOTH),
    ],
)
def test_protected_parts(parts: bytes, found: Protected) -> None:
    assert protected_parts(typed("multipart/mixed; boundary=b", parts + b"--b--")) == found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of Content-Types were read, one after the other."""
    lengths: list[int] = []

    def counting(value: bytes | None) -> ContentType:
        lengths.append(len(value or b""))
        return known(value)

    known = mime.content_type
    monkeypatch.setattr(mime, "content_type", counting)
    return lengths


def test_one_search_tells_all_of_the_protected_parts(read: list[int]) -> None:
    parts = b"--b\r\n\r\nx\r\n" * 100
    protected_parts(typed("multipart/mixed; boundary=b", parts))
    assert len(read) <= 102


def test_a_search_reads_only_so_much_of_content_types(read: list[int]) -> None:
    part = b"--b\r\nContent-Type: text/plain" + b";a=" * 1000 + b"\r\n\r\nx\r\n"
    message = typed("multipart/mixed; boundary=b", part * 900 + ENCRYPTED + INVITATION)
    assert protected_parts(message) is Protected.NOTHING
    assert sum(read) <= MOST_TYPES
    assert not is_calendar(message)


def test_a_search_reads_only_so_much_of_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def counting(data: bytes, span: Span) -> Part:
        part = at(data, span)
        lengths.append(part.body.start - span.start)
        return part

    at = Part.at
    monkeypatch.setattr(Part, "at", counting)
    part = b"--b\r\n" + b"X: y\r\n" * 9000 + b"\r\nx\r\n"
    message = typed("multipart/mixed; boundary=b", part * 100 + ENCRYPTED)
    assert protected_parts(message) is Protected.NOTHING
    assert sum(lengths[:-1]) <= MOST_HEADERS


def test_a_search_looks_at_only_so_many_lines() -> None:
    inner = b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" + b"--cx\r\n" * 600
    few = typed("multipart/mixed; boundary=b", inner * 10 + ENCRYPTED)
    assert protected_parts(few) is Protected.ENCRYPTED
    many = typed("multipart/mixed; boundary=b", inner * 100 + ENCRYPTED)
    assert protected_parts(many) is Protected.NOTHING


@pytest.mark.parametrize(
    ("levels", "is_found"), [(MOST_PASSES - 1, True), (MOST_PASSES, False)]
)
def test_a_search_passes_over_a_mail_only_so_often(levels: int, is_found: bool) -> None:
    opened = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1)
        for n in range(levels)
    )
    last = b"--b%d\r\nContent-Type: text/calendar\r\n\r\n" % levels
    message = typed("multipart/mixed; boundary=b0", opened + last + b"x\r\n" * 100_000)
    assert is_calendar(message) is is_found


@given(RAW | TYPED)
def test_any_mail_is_looked_at(raw: bytes) -> None:
    message = Message(raw)
    is_calendar(message)
    looks = (pkcs7_body, pkcs7_signature, is_pgp_signed, is_pgp_encrypted)
    assert is_said_protected(message) or not any(look(message) for look in looks)


def test_a_type_that_goes_on_and_on_is_in_doubt() -> None:
    from smimefilter.message.parameters import content_type

    long = b"multipart/signed; protocol=x; boundary=b" + b"; a=b" * 4000 + b"; boundary=evil"
    assert {"boundary", "protocol"} <= content_type(long).doubtful
