"""Where parts lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message.parts import BadParts, Part, Span, part_spans
from smimefilter.message.wire import LARGEST_HEADER, Message


def whole(body: bytes) -> Span:
    return Span(0, len(body))


def parts(body: bytes, boundary: str = "b") -> list[bytes]:
    return [body[start:end] for start, end in part_spans(body, whole(body), boundary)]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"--b\r\none\r\n--b\r\ntwo\r\n--b--\r\n", [b"one", b"two"]),
        (b"pre\r\n--b\r\none\r\n--b--\r\nepi\r\n--b\r\nno\r\n", [b"one"]),
        (b"--b\none\n--b--", [b"one"]),
        (b"--b \t\r\none\r\n--b-- \r\n", [b"one"]),
        (b"--b\r\none", [b"one"]),
        (b"--b\r\none\r\n", [b"one\r\n"]),
        (b"--b\r\n--b\r\n\r\n--b--", [b"", b""]),
        (b"--b\r\n\r\n\r\n--b--", [b"\r\n"]),
        (b"--bb\r\none\r\n--bb--", []),
        (b"x--b\r\none\r\n--b--\r\n", []),
        (b"--b\r\nx --b\r\none\r\n--b--", [b"x --b\r\none"]),
        (b"--b\r\none\r\n--bc\r\ntwo\r\n--b--", [b"one\r\n--bc\r\ntwo"]),
        (b"--b--\r\n", []),
        (b"", []),
        (b"--b", [b""]),
    ],
)
def test_spans(body: bytes, found: list[bytes]) -> None:
    assert parts(body) == found


def test_no_boundary_no_parts() -> None:
    assert parts(b"--\r\na\r\n----", "") == []


@given(st.lists(st.sampled_from([b"--b", b"--b--", b"\r\n", b"\n", b"x", b"-", b" "])))
def test_spans_are_in_order_and_apart(tokens: list[bytes]) -> None:
    body = b"".join(tokens)
    at = 0
    for start, end in part_spans(body, whole(body), "b"):
        assert at <= start <= end <= len(body)
        assert start == len(body) or body[:start].endswith(b"\n")
        at = end


def test_parts_end_with_the_body_they_are_in() -> None:
    data = b"--b\r\n--b\r\none\r\n--b--\r\n--b\r\ntwo"
    assert list(part_spans(data, Span(5, 22), "b")) == [Span(10, 13)]
    assert list(part_spans(data, Span(5, 15), "b")) == [Span(10, 15)]


def test_a_part_is_its_header_and_the_place_of_its_body() -> None:
    data = b"before--Content-Type: a/b\r\nX: y\r\n\r\nbody--after"
    part = Part.at(data, Span(8, len(data) - 7))
    assert part.head.names == [b"content-type", b"x"]
    assert bytes(part.content) == b"body"
    assert part.content.obj is data


@pytest.mark.parametrize("raw", [b"", b"A: b", b"A: b\r\n\r\n", b"no field\r\nA: b\r\n\r\nx"])
def test_a_part_is_read_like_a_mail(raw: bytes) -> None:
    part, message = Part.at(b"xx" + raw + b"yy", Span(2, 2 + len(raw))), Message(raw)
    assert part.head.lines == message.lines
    assert part.content == message.body == Part.of(message).content


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_the_largest_header_of_a_part_is_that_of_a_mail(newline: bytes) -> None:
    field = b"A: " + b"x" * (LARGEST_HEADER - 3 - len(newline)) + newline
    raw = field + newline + b"body"
    part = Part.at(b"xx" + raw, Span(2, 2 + len(raw)))
    assert bytes(part.content) == bytes(Message(raw).body) == b"body"
    with pytest.raises(BadParts):
        Part.at(b"x" + raw, Span(0, 1 + len(raw)))


@pytest.mark.parametrize("line", [b"--b\n", b"--bx\n", b"--b--x\n"])
def test_boundary_lines_without_end_are_refused(line: bytes) -> None:
    with pytest.raises(BadParts):
        parts(line * 1_000_000)


def test_a_boundary_all_over_a_line_is_quick() -> None:
    assert parts(b"--b--b" * 1_000_000) == []
