"""Bytes survive: reading changes nothing, an edit changes its field."""

from __future__ import annotations

import pytest
from hypothesis import given

from smimefilter.base.errors import Status
from smimefilter.message.wire import LARGEST_HEADER, MOST_FIELDS, HeaderTooLarge, Message
from tests.support.odd_mail import RAW

MAIL = (
    b"Received: by gw.example.com;\r\n\tMon, 1 Jun 2026 12:00:00 +0000\r\n"
    b"from: alice@example.com\r\n"
    b"Subject:  folded\r\n  subject \r\n"
    b"X-Two: 1\r\n"
    b"X-TWO : 2\r\n"
    b"\r\n"
    b"Body: not a field\r\n\r\nend"
)


@given(RAW)
def test_unedited_is_what_came(raw: bytes) -> None:
    message = Message(raw)
    assert message.raw is raw
    assert message.chunks == [raw]
    assert len(message) == len(raw)
    whole = b"".join((*message.lines, message.border, message.body))
    assert whole == raw
    assert len(message.lines) == len(message.names)


@given(RAW)
def test_a_header_never_holds_a_blank_line(raw: bytes) -> None:
    message = Message(raw)
    assert all(line.strip(b"\r\n") for line in message.lines)
    assert message.border in {b"", b"\n", b"\r\n"}
    assert all(
        name or line.startswith(b"From ")
        for name, line in zip(message.names, message.lines, strict=True)
    )


def test_fields() -> None:
    message = Message(MAIL)
    assert message.names == [b"received", b"from", b"subject", b"x-two", b"x-two"]
    assert message.get("FROM") == b"alice@example.com"
    assert message.get("Subject") == b"folded  subject"
    assert message.all("x-two") == [b"1", b"2"]
    assert message.get("Date") is None
    assert message.all("Date") == []
    assert bytes(message.body) == b"Body: not a field\r\n\r\nend"


@pytest.mark.parametrize(
    ("raw", "names", "border", "body"),
    [
        (b"", [], b"", b""),
        (b"\r\n", [], b"\r\n", b""),
        (b"\nbody", [], b"\n", b"body"),
        (b"\r\nA: b\r\n", [], b"\r\n", b"A: b\r\n"),
        (b"A: b", [b"a"], b"", b""),
        (b"A: b\r\n", [b"a"], b"", b""),
        (b"A: b\nC: d\n\nbody", [b"a", b"c"], b"\n", b"body"),
        (b"A: b\nC: d\n\r\nbody", [b"a", b"c"], b"\r\n", b"body"),
        (b"A: b\r\n\nbody\r\n\r\n", [b"a"], b"\n", b"body\r\n\r\n"),
        (b"A: b\r\nno field\r\nC: d\r\n\r\nx", [b"a"], b"", b"no field\r\nC: d\r\n\r\nx"),
        (b"A: b\r\n: d\r\n\r\nx", [b"a"], b"", b": d\r\n\r\nx"),
        (b"just text\r\n\r\nmore", [], b"", b"just text\r\n\r\nmore"),
        (b" leading\r\nA: b\r\n\r\n", [], b"", b" leading\r\nA: b\r\n\r\n"),
        (b"From a@b Mon Jun  1\nA: b\n\nx", [b"", b"a"], b"\n", b"x"),
        (b"From a@b", [b""], b"", b""),
        (b"From: a@b\r\n\r\n", [b"from"], b"\r\n", b""),
        (b"A: b\r\n \r\nC: d\r\n\r\nx", [b"a", b"c"], b"\r\n", b"x"),
        (b"A:\r\nB:\r\n\r\n", [b"a", b"b"], b"\r\n", b""),
        (b"A: b\rC: d\r\n\r\nx", [b"a"], b"\r\n", b"x"),
        (b"A: b\r\n\r\r\nx", [b"a"], b"", b"\r\r\nx"),
    ],
)
def test_where_the_header_ends(
    raw: bytes, names: list[bytes], border: bytes, body: bytes
) -> None:
    message = Message(raw)
    assert (message.names, message.border, bytes(message.body)) == (names, border, body)


def test_newline_is_that_of_the_header() -> None:
    assert Message(b"A: b\r\n\r\n").newline == b"\r\n"
    assert Message(b"A: b\nC: d\r\n\r\n").newline == b"\n"
    assert Message(b"").newline == b"\r\n"
    assert Message(b"A: b").newline == b"\r\n"


# edits


def test_rewritten_touches_only_its_field() -> None:
    edited = Message(MAIL).rewritten("subject", lambda _: b"new")
    assert edited.raw == MAIL.replace(
        b"Subject:  folded\r\n  subject \r\n", b"Subject: new\r\n"
    )
    assert edited.get("Subject") == b"new"


def test_rewritten_gives_each_field_its_value() -> None:
    edited = Message(MAIL).rewritten("X-Two", lambda value: value + b"!" * int(value == b"2"))
    assert edited.raw == MAIL.replace(b"X-TWO : 2", b"X-TWO : 2!")


@given(RAW)
def test_rewritten_leaves_all_other_bytes(raw: bytes) -> None:
    rest = b"X-Next: 1\r\n" + raw
    message = Message(b"X-Here: old\r\n" + rest)
    assert message.rewritten("x-here", lambda _: b"new").raw == b"X-Here: new\r\n" + rest


def test_rewriting_nothing_is_the_same_message() -> None:
    message = Message(MAIL)
    assert message.rewritten("Date", lambda _: b"now") is message
    assert message.rewritten("Subject", lambda value: value) is message


@given(RAW)
def test_without_takes_whole_fields(raw: bytes) -> None:
    message = Message(raw)
    edited = message.without("from", "X-A")
    kept = [
        line
        for name, line in zip(message.names, message.lines, strict=True)
        if name not in {b"from", b"x-a"}
    ]
    assert edited.raw == b"".join((*kept, message.border, message.body))
    assert edited.get("From") is None


def test_without_nothing_is_the_same_message() -> None:
    message = Message(MAIL)
    assert message.without("Date") is message


def test_prepended_stands_first() -> None:
    edited = Message(MAIL).prepended(b"Received: x;\r\n\ty\r\n")
    assert edited.raw == b"Received: x;\r\n\ty\r\n" + MAIL
    assert edited.all("received")[0] == b"x;\ty"


def test_prepended_stands_behind_an_mbox_line() -> None:
    edited = Message(b"From a@b Mon\nA: b\n\nx").prepended(b"N: 1\n")
    assert edited.raw == b"From a@b Mon\nN: 1\nA: b\n\nx"


def test_emptied_is_the_header() -> None:
    emptied = Message(MAIL).emptied()
    assert emptied.raw == MAIL.removesuffix(b"Body: not a field\r\n\r\nend")
    assert emptied.data == b""


def test_edits_follow_one_another() -> None:
    edited = (
        Message(MAIL)
        .without("X-Two")
        .rewritten("From", lambda _: b"b@c")
        .prepended(b"N: 1\r\n")
    )
    assert edited.names == [b"n", b"received", b"from", b"subject"]
    assert edited.raw.endswith(b"\r\n\r\nBody: not a field\r\n\r\nend")
    assert edited.raw == b"".join(edited.chunks)
    assert len(edited) == len(edited.raw)


def test_an_edit_shares_the_body() -> None:
    message = Message(MAIL)
    assert message.without("From").body.obj is message.body.obj


@pytest.mark.parametrize("value", [b"a\r\nBcc: x", b"a\nb", b"a\rb", b"a\r\n", b"a\n\n b"])
def test_a_value_cannot_break_out(value: bytes) -> None:
    with pytest.raises(ValueError, match="continue"):
        Message(MAIL).rewritten("Subject", lambda _: value)


def test_a_folded_value_is_taken() -> None:
    edited = Message(MAIL).rewritten("Subject", lambda _: b"a\r\n b")
    assert edited.get("Subject") == b"a b"


@pytest.mark.parametrize(
    "line", [b"", b"A: b", b"A: b\r\nB: c\r\n", b"A: b\r\n\r\n", b"no field\r\n", b" A: b\r\n"]
)
def test_only_whole_fields_are_prepended(line: bytes) -> None:
    with pytest.raises(ValueError, match="whole field"):
        Message(MAIL).prepended(line)


def test_a_header_of_thousands_of_fields() -> None:
    raw = b"A: b\r\n" * MOST_FIELDS + b"\r\nbody"
    assert len(Message(raw).names) == MOST_FIELDS


def test_lines_that_continue_a_field_are_no_fields() -> None:
    raw = b"To: a@b.test" + b",\r\n c@d.test" * (2 * MOST_FIELDS) + b"\r\n\r\nbody"
    assert Message(raw).names == [b"to"]


def sized(size: int, newline: bytes = b"\r\n") -> bytes:
    """A header block of so many bytes."""
    return b"A: " + b"x" * (size - 3 - len(newline)) + newline


@pytest.mark.parametrize(
    "raw",
    [
        sized(LARGEST_HEADER) + b"\r\nbody",
        sized(LARGEST_HEADER, b"\n") + b"\nbody",
        sized(LARGEST_HEADER),
        b"A: b\r\n" * MOST_FIELDS + b"no field\r\n" * 9,
    ],
)
def test_the_largest_header_that_is_read(raw: bytes) -> None:
    message = Message(raw)
    assert b"".join((*message.lines, message.border, message.body)) == raw
    assert set(message.names) == {b"a"}


@pytest.mark.parametrize(
    "raw",
    [
        b"A:\n" * 3_000_000 + b"\n",
        b"A:\n" * (MOST_FIELDS + 1) + b"\nbody",
        b"From a@b\n" + b"A:\n" * (MOST_FIELDS + 1) + b"\nbody",
        b"A: b\n" + b" c\n" * 3_000_000 + b"\n",
        sized(LARGEST_HEADER + 1) + b"\r\nbody",
        sized(LARGEST_HEADER + 1, b"\n") + b"\nbody",
        sized(LARGEST_HEADER + 1),
        sized(LARGEST_HEADER) + b"B: c\r\n\r\nbody",
        sized(LARGEST_HEADER - 1) + b"B: c\r\n\r\nbody",
        b"A: b\r\n" + b"name" * LARGEST_HEADER + b": c\r\n\r\nbody",
    ],
)
def test_a_header_that_is_too_large_is_not_read(raw: bytes) -> None:
    message = Message(raw)
    assert message.raw is raw
    assert message.chunks == [raw]
    assert len(message) == len(raw)
    for ask in (
        lambda: message.get("A"),
        lambda: message.all("A"),
        lambda: message.lines,
        lambda: message.body,
        lambda: message.newline,
        lambda: message.without("A"),
        lambda: message.prepended(b"B: c\r\n"),
    ):
        with pytest.raises(HeaderTooLarge) as refused:
            ask()
        assert refused.value.status == Status(5, "3.4")


def test_what_is_no_attribute_is_none() -> None:
    assert not hasattr(Message(MAIL), "subject")


def test_no_header_in_a_large_body_is_quick() -> None:
    raw = b"no field here " * 1_000_000
    assert Message(raw).names == []
