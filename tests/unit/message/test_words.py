"""Encoded words: pieces keep their bytes, text comes back as it went in."""

from __future__ import annotations

import email.header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message.words import encode, fold, pieces

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
VALUES = st.binary(max_size=60) | st.text("=?utf-8qbQB_ \t=C3", max_size=60).map(str.encode)


@given(VALUES)
def test_pieces_joined_are_the_value(value: bytes) -> None:
    assert b"".join(piece.raw for piece in pieces(value)) == value


@given(TEXT)
def test_encoded_text_is_read_back(text: str) -> None:
    assert "".join(piece.text for piece in pieces(encode(text))) == text


@given(TEXT)
def test_encoded_text_is_safe_in_a_header(text: str) -> None:
    encoded = encode(text)
    assert encoded.isascii()
    assert encoded.decode().isprintable()
    if encoded != text.encode():
        assert all(len(word) <= 75 for word in encoded.split(b" "))


@given(TEXT.filter(lambda text: text.strip() and not text.isascii()))
def test_other_readers_read_it_too(text: str) -> None:
    parts = email.header.decode_header(encode(text).decode())
    assert "".join(part.decode(charset or "ascii") for part, charset in parts) == text


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@given(
    words=st.lists(st.sampled_from([b"word", b"x" * 70, b"x" * 200, b" ", b"\t"]), max_size=40)
)
def test_fold_keeps_the_text_and_makes_no_blank_line(
    newline: bytes, words: list[bytes]
) -> None:
    value = b" ".join(words).strip()
    folded = fold(value, newline)
    lines = folded.split(newline)
    assert b"".join(lines) == value
    assert all(line.strip() for line in lines if len(lines) > 1)
    assert all(line[:1].isspace() for line in lines[1:])
