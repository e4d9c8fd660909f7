"""Encoded words: pieces keep their bytes, text comes back as it went in."""

from __future__ import annotations

import email.header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message.words import LONGEST_READ, encode, fold, pieces

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


@given(st.binary(max_size=200), st.sampled_from([b"\r\n", b"\n"]))
def test_fold_breaks_lines_at_blanks_alone(value: bytes, newline: bytes) -> None:
    value = value.translate(None, b"\r\n").strip()
    lines = fold(value, newline).split(newline)
    assert b"".join(lines) == value
    assert all(line[:1] in {b" ", b"\t"} for line in lines[1:])
    assert all(line.strip(b" \t") for line in lines if value)


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "unicode_escape", "no-such"])
def test_words_in_what_is_no_charset_of_mail_stay(charset: str) -> None:
    value = f"=?{charset}?q?-aa?= =?utf-8?q?b?=".encode()
    assert [piece.text for piece in pieces(value)] == [value.decode()]


def test_words_far_behind_are_text() -> None:
    word = b"=?utf-8?q?=C3=BC?="
    value = word + b" x" * LONGEST_READ + b" " + word
    first, rest = pieces(value)
    assert (first.text, rest.raw) == ("ü", value[len(word) :])


@pytest.mark.parametrize(
    "unit",
    [b"=?utf-8?q?a?= ", b"=?utf-8?q?a?=", b"=?utf-8?q?", b" =?utf-8?q?a", b"=?punycode?q?-a",
     b"=?a*b?q?c?= ", b" ", b"=?utf-8?b?w7w=?= \t", b"?", b"=?gb18030?q?=81=30?= "],
)  # fmt: skip
def test_a_value_without_end_is_quick(unit: bytes) -> None:
    value = unit * (1_000_000 // len(unit))
    assert b"".join(piece.raw for piece in pieces(value)) == value
