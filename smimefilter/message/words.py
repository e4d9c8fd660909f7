"""Encoded words: how text beyond ASCII stands in an unstructured header value.

A value is read as pieces, each with its bytes and its text, so that an edit of the text can
leave the bytes of all other pieces alone. Text outside of encoded words may be UTF-8, or of no
known encoding (kept as surrogates). Encoded words are looked for in the first `LONGEST_READ`
bytes, which is many times what triggers are matched against.

Leaves charsets to `charsets.py`. RFC 2047 §2 and §6.2 (blanks between two encoded words are no
text), RFC 2231 §5 (languages), RFC 6532. Raises nothing: what cannot be read stands for itself.
"""

from __future__ import annotations

import binascii
import re
from itertools import groupby
from typing import Final, NamedTuple

from .charsets import text_in

LONGEST_READ: Final = 1 << 14

_WORD_TEXT: Final = rb"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?="
_WORD: Final = re.compile(_WORD_TEXT)
_NO_GROUPS: Final = re.sub(rb"\((?!\?)", b"(?:", _WORD_TEXT)
_RUN: Final = re.compile(rb"(?<!\S)%b(?:\s+%b)*(?!\S)" % (_NO_GROUPS, _NO_GROUPS))
_FOLDED: Final = re.compile(rb"[ \t]*[^ \t]+")
_LINE: Final = 67  # the name of the field comes to it
_BYTES_A_WORD: Final = 39  # 52 characters of base64, 64 with the frame


class Piece(NamedTuple):
    """A run of encoded words, or the text between two of them."""

    raw: bytes
    text: str
    is_encoded: bool


def pieces(value: bytes) -> list[Piece]:
    """An unfolded value, whole: the pieces' bytes joined are `value`."""
    if b"=?" not in value:
        return [_plain(value)]
    found, at = [], 0
    for run in _RUN.finditer(value, 0, LONGEST_READ):
        text = _read(run[0])
        if text is None:
            continue
        if run.start() > at:
            found.append(_plain(value[at : run.start()]))
        found.append(Piece(run[0], text, is_encoded=True))
        at = run.end()
    if at < len(value):
        found.append(_plain(value[at:]))
    return found


def encode(text: str) -> bytes:
    """Text as it is where that is plain ASCII, else encoded words in UTF-8, each of whole
    characters and short enough for a line (RFC 2047 §2)."""
    if text.isascii() and text.isprintable() and "=?" not in text:
        return text.encode()
    words, word = [], b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(word) + len(octets) > _BYTES_A_WORD:
            words.append(word)
            word = b""
        word += octets
    words.append(word)
    return b" ".join(
        b"=?utf-8?b?" + binascii.b2a_base64(word, newline=False) + b"?=" for word in words
    )


def fold(value: bytes, newline: bytes) -> bytes:
    """A value without line ends, on lines of 67 bytes as far as its blanks allow, never a
    blank line."""
    if len(value) <= _LINE:
        return value
    lines, line = [], b""
    for word in _FOLDED.findall(value.strip(b" \t")):
        if line and len(line) + len(word) > _LINE and word[:1] in {b" ", b"\t"}:
            lines.append(line)
            line = b""
        line += word
    return newline.join((*lines, line))


def _plain(raw: bytes) -> Piece:
    return Piece(raw, raw.decode("utf-8", "surrogateescape"), is_encoded=False)


def _read(run: bytes) -> str | None:
    """The text of a run. Words of one charset are joined before they are decoded, because
    some programs split a character between two."""
    words = [(match[1].lower(), match[2], match[3]) for match in _WORD.finditer(run)]
    text = ""
    try:
        for charset, same in groupby(words, key=lambda word: word[0]):
            octets = b"".join(_octets(encoding, word) for _, encoding, word in same)
            more = text_in(charset.decode("ascii", "replace"), octets)
            if more is None:
                return None
            text += more
    except binascii.Error:
        return None
    return text


def _octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return binascii.a2b_qp(text, header=True)
    return binascii.a2b_base64(text + b"==")
