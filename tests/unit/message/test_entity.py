"""What moves inside, what stays outside, and the canonical form."""

from __future__ import annotations

import pytest
from hypothesis import given

from smimefilter.message.entity import Entity, canonical, outer
from smimefilter.message.lines import crlf
from smimefilter.message.wire import Message
from tests.support.odd_mail import RAW

MAIL = (
    b"Received: x\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Subject: hello\r\n"
    b"Content-Type: text/plain;\r\n charset=utf-8\r\n"
    b"content-LANGUAGE: en\r\n"
    b"DKIM-Signature: v=1; h=content-type\r\n"
    b"\r\n"
    b"Hello"
)
NEW = Entity(b"Content-Type: x/y\r\n", (b"new body",))


def entity(raw: bytes) -> bytes:
    return b"".join(canonical(Message(raw)).chunks)


def around(raw: bytes) -> bytes:
    return b"".join(outer(Message(raw)).around(NEW))


def test_only_mime_fields_move() -> None:
    assert entity(MAIL) == (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n"
        b"content-LANGUAGE: en\r\n\r\nHello"
    )
    assert around(MAIL) == (
        b"Received: x\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: x/y\r\n"
        b"Subject: hello\r\n"
        b"DKIM-Signature: v=1; h=content-type\r\n"
        b"\r\n"
        b"new body"
    )


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        (b"A: b\r\n\r\nx", b"A: b\r\n*\r\n"),
        (b"A: b\r\n", b"A: b\r\n*\r\n"),
        (b"A: b", b"A: b\r\n*\r\n"),
        (b"A: b\nC: d\n\nx", b"A: b\nC: d\n*\r\n"),
        (b"\r\nx", b"*\r\n"),
        (b"", b"*\r\n"),
        (b"Content-Type: a/b\r\nA: b", b"*A: b\r\n\r\n"),
        (b"From a@b\nA: b\n\nx", b"From a@b\nA: b\n*\r\n"),
        (b"A: b\r\nno field\r\n\r\nx", b"A: b\r\n*\r\n"),
    ],
)
def test_new_fields_stand_in_the_header(raw: bytes, written: bytes) -> None:
    fields = b"MIME-Version: 1.0\r\nContent-Type: x/y\r\n"
    assert around(raw) == written.replace(b"*", fields) + b"new body"


@given(RAW)
def test_fields_that_stay_are_untouched(raw: bytes) -> None:
    message = Message(raw)
    written = Message(around(raw))
    assert bytes(written.body) == b"new body"
    mime = (b"mime-version", b"content-")
    stayed = [
        line
        for name, line in zip(message.names, message.lines, strict=True)
        if not name.startswith(mime)
    ]
    kept = [
        line
        for name, line in zip(written.names, written.lines, strict=True)
        if not name.startswith(mime)
    ]
    assert b"".join(kept).rstrip(b"\r\n") == b"".join(stayed).rstrip(b"\r\n")
    assert written.all("Content-Type") == [b"x/y"]


@given(RAW)
def test_canonical_body_is_the_body(raw: bytes) -> None:
    message = Message(raw)
    found = b"".join(canonical(message).body)
    assert found in {bytes(message.body), crlf(bytes(message.body))}


def test_a_canonical_body_is_not_copied() -> None:
    message = Message(MAIL)
    (body,) = canonical(message).body
    assert isinstance(body, memoryview)
    assert body.obj is MAIL


def test_a_whole_mail_is_bytes() -> None:
    message = Message(MAIL)
    chunks = outer(message).around(canonical(message))
    assert all(type(chunk) is bytes for chunk in chunks)
    assert b"".join(chunks).endswith(b"\r\n\r\nHello")


def test_bare_line_feeds_become_line_ends() -> None:
    raw = b"A: b\nContent-Type: text/plain\nMIME-Version: 1.0\n\none\ntwo\r\nthree\rfour"
    assert entity(raw) == (
        b"Content-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\none\r\ntwo\r\nthree\rfour"
    )


def test_a_binary_body_is_left() -> None:
    fields = b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n"
    raw = b"MIME-Version: 1.0\r\n" + fields + b"\r\na\nb"
    assert entity(raw).endswith(b"\r\n\r\na\nb")


@pytest.mark.parametrize(
    ("body", "charset", "encoding"),
    [
        (b"Hello\r\n", b"us-ascii", b"7bit"),
        (b"", b"us-ascii", b"7bit"),
        ("Grüße\r\n".encode(), b"utf-8", b"8bit"),
        (b"Gr\xfc\xdfe\r\n", b"unknown-8bit", b"8bit"),
    ],
)
def test_missing_fields_are_supplied(body: bytes, charset: bytes, encoding: bytes) -> None:
    assert entity(b"Subject: x\r\n\r\n" + body) == (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=" + charset + b"\r\n"
        b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body
    )


def test_a_type_without_version_gets_the_version_only() -> None:
    assert entity(b"Content-Type: text/html\r\n\r\nx") == (
        b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\nx"
    )


def test_an_encoding_without_type_is_kept() -> None:
    found = entity(b"Content-Transfer-Encoding: base64\r\n\r\neA==")
    assert found.count(b"Content-Transfer-Encoding") == 1
    assert b"Content-Transfer-Encoding: base64\r\n" in found
