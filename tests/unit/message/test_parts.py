"""Where parts lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message.parts import part_spans


def parts(body: bytes, boundary: str = "b") -> list[bytes]:
    return [body[start:end] for start, end in part_spans(body, 0, boundary)]


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
    for start, end in part_spans(body, 0, "b"):
        assert at <= start <= end <= len(body)
        assert start == len(body) or body[:start].endswith(b"\n")
        at = end
