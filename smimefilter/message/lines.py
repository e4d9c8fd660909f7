"""Line ends, line lengths, and base64: what a body costs is decided here.

Each function passes over the bytes a constant number of times, in blocks where that saves
memory, and never line by line. RFC 5322 §2.1.1 and §2.3, RFC 2045 §2.7-2.9 and §6.8.
`from_base64` raises `ValueError`, the others nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import pybase64

from .wire import Chunk

LONGEST: Final = 1000  # bytes of a line, its CRLF included
_BLOCK: Final = 1 << 18
_COLUMNS: Final = 76
_ROWS: Final = 256
_STRIP: Final = _ROWS * 57  # bytes that so many rows of 76 characters stand for
_WHITE: Final = b"\r\n\t "


def crlf(data: bytes) -> bytes:
    """The bytes with each bare LF made CRLF. A bare CR stays: it is no line end."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def is_canonical(data: bytes, start: int = 0) -> bool:
    """Whether CR and LF stand together or not at all, from `start` on."""
    while start < len(data):
        end = data.find(b"\n", start + _BLOCK) + 1 or len(data)
        block = data[start:end]
        # Replacing single bytes is several times faster than counting or finding pairs.
        if block.replace(b"\r", b"").replace(b"\n", b"\r\n") != block:
            return False
        start = end
    return True


def is_clear(data: bytes, start: int = 0) -> bool:
    """Whether the bytes from `start` on are 7bit data as RFC 2045 §2.7 has it: canonical line
    ends, no NUL, no octet above 127, no line over 998 octets."""
    return (
        (data.isascii() or (start > 0 and data[start:].isascii()))
        and data.find(b"\0", start) < 0
        and _has_short_lines(data, start)
        and is_canonical(data, start)
    )


def _has_short_lines(data: bytes, start: int) -> bool:
    while len(data) - start > LONGEST:
        last = data.rfind(b"\n", start, start + LONGEST)
        if last < 0:
            return False
        start = last + 1
    unended = len(data) - max(data.rfind(b"\n", start) + 1, start)
    return unended <= LONGEST - len(b"\r\n")


def base64_lines(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Base64 in lines of 76 characters with CRLF, a block at a time, as chunks come in."""
    held: list[Chunk] = []
    size = 0
    for chunk in chunks:
        for piece in _in_blocks(chunk):
            held.append(piece)
            size += len(piece)
            if size >= _BLOCK:
                data = b"".join(held)
                whole = size - size % _STRIP
                for at in range(0, whole, _STRIP):
                    yield _wrapped(data[at : at + _STRIP])
                held, size = [data[whole:]], size - whole
    data = b"".join(held)
    for at in range(0, size, _STRIP):
        yield _wrapped(data[at : at + _STRIP])


def _in_blocks(chunk: Chunk) -> Iterable[Chunk]:
    if len(chunk) <= _BLOCK:
        return (chunk,)
    view = memoryview(chunk)
    return (view[at : at + _BLOCK] for at in range(0, len(view), _BLOCK))


def _wrapped(data: bytes) -> bytes:
    text = pybase64.b64encode(data)
    rows, rest = divmod(len(text), _COLUMNS)
    lines = _cutter(rows).unpack_from(text)
    if rest:
        lines = (*lines, text[-rest:])
    return b"\r\n".join((*lines, b""))


@lru_cache(maxsize=_ROWS + 1)
def _cutter(rows: int) -> struct.Struct:
    return struct.Struct(f"{_COLUMNS}s" * rows)


def from_base64(text: Chunk) -> bytearray:
    """What base64 text with white space anywhere in it stands for. Raises `ValueError` where
    anything else is in it, or behind its padding."""
    view = memoryview(text)
    decoded, left = bytearray(), b""
    for start in range(0, len(view), _BLOCK):
        left += bytes(view[start : start + _BLOCK]).translate(None, _WHITE)
        # The last quantum waits: what goes before it has no padding.
        quanta = left[: max(len(left) - 1, 0) & ~3]
        if quanta.endswith(b"="):
            raise ValueError("base64 that goes on behind its padding")
        decoded += pybase64.b64decode(quanta, validate=True)
        left = left[len(quanta) :]
    decoded += pybase64.b64decode(left, validate=True)
    return decoded
