"""The receiving half of the stream: any chunking, and no end but CRLF.CRLF."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.smtp.wire import ContentSwallowed, ContentTooLarge, Incoming, LineTooLong

SMUGGLED = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\r\r\n",
    b"\n\n.\r\n", b"\r\r\n.\n\r\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n. \r\n",
]  # fmt: skip
ODD = [b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n."]
OCTETS = st.builds(  # dots that are many, and dots that are few
    lambda dots, octets, padding: [dots, *octets, padding],
    st.sampled_from([b"", b"a.b" * 12]),
    st.lists(st.sampled_from(ODD), max_size=40),
    st.sampled_from([b"", b"x" * 6000]),
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(edges)]


def events(
    pieces: list[bytes], *, line_limit: int = 40, content_limit: int = 60
) -> list[object]:
    """What a session would take: lines, and after a line `DATA` a content."""
    incoming = Incoming(line_limit, content_limit)
    taken: list[object] = []
    in_content = False

    def take() -> bool:
        nonlocal in_content
        try:
            got = incoming.content() if in_content else incoming.line()
        except (LineTooLong, ContentTooLarge) as trouble:
            taken.append(type(trouble))
            in_content = False
            return True
        if got is None:
            return False
        taken.append(("content" if in_content else "line", got))
        in_content = not in_content and got == b"DATA"
        if in_content:
            incoming.expect_content()
        return True

    for piece in pieces:
        incoming.feed(piece)
        while take():
            pass
    return taken


def wired(content: bytes) -> bytes:
    """A content as a client sends it."""
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    return stuffed + (b".\r\n" if content.endswith(b"\r\n") or not content else b"\r\n.\r\n")


@given(OCTETS, OCTETS, st.lists(st.integers(0, 7000), max_size=12), st.sampled_from([60, 9000]))
def test_any_chunking_gives_the_same_events(
    lines: list[bytes], content: list[bytes], places: list[int], limit: int
) -> None:
    stream = b"".join(lines) + b"\r\nDATA\r\n" + wired(b"".join(content)) + b"NOOP\r\nDATA\r\n"
    whole = events([stream], content_limit=limit)
    assert events(cut(stream, places), content_limit=limit) == whole
    octets = [stream[n : n + 1] for n in range(300)] + [stream[300:]]
    assert events(octets, content_limit=limit) == whole


@given(OCTETS, st.lists(st.integers(0, 7000), max_size=12))
def test_contents_come_out_as_they_went_in(content: list[bytes], places: list[int]) -> None:
    sent = b"".join(content)
    stream = b"DATA\r\n" + wired(sent) + b"QUIT\r\n"
    got = events(cut(stream, places), content_limit=9000)
    ended = sent if sent.endswith(b"\r\n") or not sent else sent + b"\r\n"
    assert got == [("line", b"DATA"), ("content", ended), ("line", b"QUIT")]


@pytest.mark.parametrize("sequence", SMUGGLED)
@pytest.mark.parametrize("padding", [b"", b"x" * 2000, b"x." * 1000])
def test_only_crlf_dot_crlf_ends_a_content(sequence: bytes, padding: bytes) -> None:
    stream = b"DATA\r\na" + padding + sequence + b"MAIL FROM:<evil@x.test>\r\n.\r\nNOOP\r\n"
    got = events([stream], content_limit=5000)
    assert [kind for kind, _ in got] == ["line", "content", "line"]  # type: ignore[misc]
    assert got[-1] == ("line", b"NOOP")
    assert b"MAIL FROM" in got[1][1]  # type: ignore[index]


@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\n\r"])
def test_only_crlf_ends_a_line(ending: bytes) -> None:
    assert events([b"NOOP" + ending + b"RSET\r\n"]) == [("line", b"NOOP" + ending + b"RSET")]


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b"x" * 999 + b"\r\n..\r\n.\r\n", b"x" * 999 + b"\r\n.\r\n"),
        (b".." + b"x" * 999 + b"\r\n.\r\n", b"." + b"x" * 999 + b"\r\n"),
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n"),
    ],
)
def test_dots_are_unstuffed(wire: bytes, content: bytes) -> None:
    assert events([b"DATA\r\n" + wire], content_limit=2000)[1] == ("content", content)


@pytest.mark.parametrize("size", [0, 57, 58, 59, 60, 61, 65, 66, 500])
def test_contents_up_to_the_limit(size: int) -> None:
    body = b"x" * size + b"\r\n"
    got = events([b"DATA\r\n", body, b".\r\nNOOP\r\n"], content_limit=60)
    expected = ("content", body) if len(body) <= 60 else ContentTooLarge
    assert got == [("line", b"DATA"), expected, ("line", b"NOOP")]


@pytest.mark.parametrize("size", [37, 38, 39, 40, 80, 1000])
def test_lines_up_to_the_limit(size: int) -> None:
    got = events([b"x" * size + b"\r\nNOOP\r\n"], line_limit=40)
    assert got == [("line", b"x" * size) if size + 2 <= 40 else LineTooLong, ("line", b"NOOP")]


def test_what_is_too_long_is_not_kept() -> None:
    incoming = Incoming(40, 1000)
    for _ in range(100):
        incoming.feed(b"x" * 100)
        assert incoming.line() is None
        assert incoming.waiting <= 1
    incoming.feed(b"\r\n")
    with pytest.raises(LineTooLong):
        incoming.line()
    incoming.expect_content()
    for _ in range(100):
        incoming.feed(b"x" * 100)
        assert incoming.held <= 1200
    incoming.feed(b"\r\n.\r\n")
    with pytest.raises(ContentTooLarge):
        incoming.content()


def test_the_end_is_found_in_what_is_swallowed() -> None:
    for kept in (b".\r\nX", b"X.\r\n", b"\r\n.X", b"X\r\n.", b"\r\n.\r"):
        for last in (b"y" * 500 + b"\r\n.\r\n", b"\r\n.\r\n", b"\r\n\r\n.\r\n"):
            incoming = Incoming(40, 60)
            incoming.expect_content()
            incoming.feed(b"x" * 100 + kept)
            assert incoming.feed(last), (kept, last)
            with pytest.raises(ContentTooLarge):
                incoming.content()


def test_a_content_can_be_swallowed() -> None:
    incoming = Incoming(40, 1000)
    incoming.expect_content()
    incoming.feed(b"x" * 100)
    incoming.swallow()
    incoming.feed(b"x" * 100)
    assert incoming.held <= 4
    assert incoming.feed(b"\r\n.\r\nNOOP\r\n")
    with pytest.raises(ContentSwallowed):
        incoming.content()
    assert incoming.line() == b"NOOP"


def test_what_was_dropped_is_not_heard() -> None:
    incoming = Incoming(40, 1000)
    incoming.feed(b"STARTTLS\r\nMAIL FROM:<evil@x.test>\r\nRCP")
    assert incoming.line() == b"STARTTLS"
    assert incoming.drop() == b"MAIL FROM:<evil@x.test>\r\nRCP"
    incoming.feed(b"EHLO c.test\r\n")
    assert incoming.line() == b"EHLO c.test"
