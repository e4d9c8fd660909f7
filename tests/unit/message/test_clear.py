"""7-bit form: nothing but what has to change changes, and it means the same as before."""

from __future__ import annotations

import email
import email.message
import tracemalloc

import pytest
from hypothesis import given

from smimefilter.message.clear import DEEPEST, NotClearable, cleared, quoted_printable
from smimefilter.message.entity import canonical
from smimefilter.message.lines import is_clear
from smimefilter.message.wire import LARGEST_HEADER, Message
from tests.support.odd_mail import MAIL, RAW, TYPED

HEAD = b"From: a@b.test\r\nMIME-Version: 1.0\r\n"


def clear(raw: bytes) -> bytes:
    return b"".join(cleared(Message(raw)).chunks)


def leaves(raw: bytes) -> list[tuple[str, bytes]]:
    return [
        (part.get_content_type(), content(part))
        for part in email.message_from_bytes(raw).walk()
        if not part.is_multipart()
    ]


def content(part: email.message.Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.replace(b"\r\n", b"\n").rstrip(b"\n")


@given(MAIL)
def test_cleared_mail_is_7bit_and_means_the_same(raw: bytes) -> None:
    try:
        found = clear(raw)
    except NotClearable:
        return
    assert is_clear(found)
    assert leaves(found) == leaves(raw)


@given(RAW | TYPED)
def test_any_bytes_are_cleared_or_refused(raw: bytes) -> None:
    try:
        found = clear(raw)
    except NotClearable:
        return
    assert is_clear(found)


@given(MAIL)
def test_what_is_7bit_stays_byte_for_byte(raw: bytes) -> None:
    message = Message(raw)
    entity = canonical(message)
    if is_clear(b"".join(entity.chunks)):
        found = cleared(message)
        assert found.chunks == entity.chunks
        assert all(isinstance(chunk, memoryview) for chunk in found.body)


def test_what_is_cleared_once_stays() -> None:
    raw = HEAD + b"Content-Type: text/plain\r\n\r\n" + "Grüße\r\n".encode()
    assert clear(clear(raw)) == clear(raw)


@pytest.mark.parametrize(
    ("fields", "body", "found_fields", "found_body"),
    [
        (
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
            "Grüße = x \r\n.\r\n".encode(),
            (
                b"Content-Type: text/plain; charset=utf-8\r\n"
                b"Content-Transfer-Encoding: quoted-printable\r\n"
            ),
            b"Gr=C3=BC=C3=9Fe =3D x=20\r\n=2E\r\n",
        ),
        (
            b"Content-Type: text/plain\r\nContent-Language: de\r\n",
            b"one\rtwo\r\n",
            (
                b"Content-Type: text/plain\r\nContent-Language: de\r\n"
                b"Content-Transfer-Encoding: quoted-printable\r\n"
            ),
            b"one=0Dtwo\r\n",
        ),
        (
            b"Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n",
            b"\x00\r\n\n\xff",
            b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n",
            b"AA0KCv8=\r\n",
        ),
        (
            b"Content-Type: text/x\r\nContent-Transfer-Encoding: binary\r\n",
            b"a\nb",
            b"Content-Type: text/x\r\nContent-Transfer-Encoding: base64\r\n",
            b"YQpi\r\n",
        ),
        (
            b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n",
            b"QUJD" * 300 + b"\n",
            b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n",
            (b"QUJD" * 19 + b"\r\n") * 15 + b"QUJD" * 15 + b"\r\n",
        ),
        (
            b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"a=20\xe9=\r\nb",
            b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n",
            b"YSDpYg==\r\n",
        ),
        (
            b"Content-Type: message/global\r\n",
            b"A: \xc3\xa9\r\n\r\nx",
            b"Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n",
            b"QTogw6kNCg0KeA==\r\n",
        ),
    ],
)
def test_leaves(fields: bytes, body: bytes, found_fields: bytes, found_body: bytes) -> None:
    version = b"MIME-Version: 1.0\r\n"
    assert clear(HEAD + fields + b"\r\n" + body) == (
        version + found_fields + b"\r\n" + found_body
    )


EUROPEAN = (
    "Größere Änderungen müssen wir natürlich zuerst prüfen, bevor wir darüber entscheiden. ",
    "L'été dernier, la société a préféré prévenir ses clients des délais, longs en août. ",
    "Proszę o przesłanie dokumentów, które zostały podpisane w zeszły piątek po południu. ",
)


@pytest.mark.parametrize("text", EUROPEAN)
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-15"])
def test_european_text_stays_legible(text: str, charset: str) -> None:
    body = text.encode(charset, "replace") * 100
    assert b"quoted-printable" in clear(HEAD + b"Content-Type: text/plain\r\n\r\n" + body)


@pytest.mark.parametrize("body", [bytes(range(128, 256)) * 400, "Привет, мир! ".encode() * 400])
def test_what_would_not_be_legible_grows_by_little_more_than_a_third(body: bytes) -> None:
    found = clear(HEAD + b"Content-Type: text/plain\r\n\r\n" + body)
    assert b"base64" in found
    assert len(found) < 1.4 * len(body)


def test_only_the_part_that_needs_it_changes() -> None:
    raw = (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n"
        b"pre\r\n--b\r\nContent-Type: text/plain\r\n\r\nfine  \r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n"
        b"X-Field:  kept\r\n\r\n\xe9\r\n"
        b"--b-- \r\nepi"
    )
    wanted = raw.removeprefix(b"From: a@b.test\r\n")
    wanted = wanted.replace(
        b"boundary=b\r\nContent-Transfer-Encoding: 8bit",
        b"boundary=b\r\nContent-Transfer-Encoding: 7bit",
    ).replace(
        b"Content-Transfer-Encoding: 8bit\r\nX-Field:  kept\r\n\r\n\xe9",
        b"X-Field:  kept\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9",
    )
    assert clear(raw) == wanted


def test_an_attached_mail_is_cleared_inside() -> None:
    raw = (
        HEAD + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"Subject: inner\r\nContent-Type: text/plain\r\n\r\n\xe9\r\n"
    )
    found = clear(raw)
    assert b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n" in found
    assert found.endswith(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9\r\n")


def test_a_digest_holds_mails() -> None:
    raw = (
        HEAD + b"Content-Type: multipart/digest; boundary=b\r\n\r\n"
        b"--b\r\n\r\nSubject: inner\r\nContent-Type: text/plain\r\n\r\n\xe9\r\n--b--\r\n"
    )
    assert b"Subject: inner\r\nContent-Type: text/plain\r\nContent-Tr" in clear(raw)


def test_bare_line_feeds_alone_change_no_encoding() -> None:
    raw = (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--"
    ).replace(b"\r\n", b"\n")
    assert clear(raw) == raw.replace(b"\n", b"\r\n").removeprefix(b"From: a@b.test\r\n")


def test_a_signature_inside_is_not_broken() -> None:
    signed = (
        HEAD + b"Content-Type: multipart/signed; boundary=b; protocol=x/y\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\n%b\r\n"
        b"--b\r\nContent-Type: x/y\r\n\r\ns\r\n--b--"
    )
    assert clear((signed % b"fine").replace(b"\r\n", b"\n")).endswith(b"\r\n--b--")
    with pytest.raises(NotClearable):
        clear(signed % b"\xe9")


@pytest.mark.parametrize(
    "entity",
    [
        b'Content-Type: text/plain; name="\xc3\xa9"\r\n\r\nx',
        b"Content-Type: text/plain\r\nContent-X: " + b"x" * 1000 + b"\r\n\r\nx",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n\xe9",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n\xe9",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==QQ==\xe9",
        b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\n\xe9\r\n--b--",
        b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--b\r\n\r\n\xe9\r\n--b--",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n\xe9\r\n--b\r\n\r\nx\r\n--b--",
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n--b\r\n\r\n\xe9\r\n--b--"
        ),
        b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\n\xe9\r\n--b--",
        b"Content-Type: message/partial\r\n\r\n\xe9",
        b"Content-Type: message/rfc822\r\n\r\nSubject: \xe9\r\n\r\nx",
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n\xe9",
    ],
)
def test_what_cannot_be_cleared_is_refused(entity: bytes) -> None:
    with pytest.raises(NotClearable):
        clear(HEAD + entity)


def nested(raw: bytes, levels: int) -> bytes:
    for level in range(levels):
        raw = (
            b"Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%d.\r\n%b\r\n--b%d.--\r\n"
            % (level, level, raw, level)
        )
    return raw


def test_bodies_deep_inside_are_not_copied_at_each_level() -> None:
    line = "ä".encode() * 500 + b"\r\n"
    part = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    flat, deep = (Message(nested(part + line * 600, n)) for n in (1, DEEPEST - 1))
    peaks = []
    for message in (flat, deep):
        tracemalloc.start()
        cleared(message)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize("unit", [b"--b\r\n\r\n\xe9\r\n", b"--b\n", b"--b\r\nA: b\r\n\r\n\r\n"])
def test_the_number_of_parts_has_an_end(unit: bytes) -> None:
    body = unit * (1_000_000 // len(unit)) + b"--b\r\n\r\n\xe9\r\n--b--"
    with pytest.raises(NotClearable):
        clear(HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body)


def test_a_header_that_grows_too_large_is_refused() -> None:
    field = b"Content-X: " + b"x" * 900 + b"\n"
    header = field * (LARGEST_HEADER // len(field))
    with pytest.raises(NotClearable):
        clear(header + b"\n\xe9\n")


def test_a_part_with_too_large_a_header_is_refused() -> None:
    part = b"--b\r\n" + b"A:\r\n" * 1_000_000 + b"\r\n\xe9\r\n--b--"
    with pytest.raises(NotClearable):
        clear(HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part)


def test_nesting_has_an_end() -> None:
    assert is_clear(clear(HEAD + nested(b"\r\n\xe9", DEEPEST - 1)))
    with pytest.raises(NotClearable):
        clear(HEAD + nested(b"\r\n\xe9", DEEPEST))
    body = b"\xe9"
    for _ in range(60):
        body = b"Content-Type: message/rfc822\r\n\r\n" + body
    with pytest.raises(NotClearable):
        clear(HEAD + body)


@pytest.mark.parametrize("text", [b"x" * 200, b"x" * 200 + b"\xe9", b"\xe9 " * 90 + b"\r\n"])
def test_quoted_printable_lines_end_well(text: bytes) -> None:
    encoded = quoted_printable(text)
    assert is_clear(encoded)
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
