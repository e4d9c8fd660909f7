"""Reading DER by hand: where an element begins and ends, without an object for it.

For the two places that must not make objects: CRLs of a million entries, and names that are
compared while a mail waits. Everything else is read by `cryptography` or asn1crypto.
ITU-T X.690 §8.1 and §10.1: definite lengths only, in the fewest octets. Raises `BadDer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
ENUMERATED: Final = 0x0A
UTF8_STRING: Final = 0x0C
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0  # constructed


class BadDer(ValueError):
    """Bytes that are not the DER they should be."""


def element(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the element at `position`; it fits before `end`.

    Tags above 30 (more than one octet) are refused: no structure read here has one.
    """
    if position + 2 > end:
        raise BadDer("an element is cut off")
    tag, length = data[position], data[position + 1]
    start = position + 2
    if length >= 0x80:
        octets = length & 0x7F
        length = int.from_bytes(data[start : start + octets], "big")
        if octets == 0 or length < 0x80 or (length >> (8 * (octets - 1))) == 0:
            raise BadDer("a length is not in its shortest form")
        start += octets
    if tag & 0x1F == 0x1F or start + length > end:
        raise BadDer("an element reaches past its end")
    return tag, start, start + length


def expect(data: bytes, position: int, end: int, tag: int) -> tuple[int, int]:
    """Start and end of the content of the element at `position`, which has this tag."""
    found, start, stop = element(data, position, end)
    if found != tag:
        raise BadDer(f"tag {found:#04x} where {tag:#04x} should be")
    return start, stop


def elements(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """All elements that fill `data[position:end]`: tag, start and end of content."""
    while position < end:
        tag, start, position = element(data, position, end)
        yield tag, start, position


class Cursor:
    """Takes the elements of a constructed one in turn, each with the tag it must have."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data: Final = data
        self._end: Final = end
        self.position = start

    def at(self, *tags: int) -> bool:
        """Whether an element with one of these tags comes next."""
        return self.position < self._end and self._data[self.position] in tags

    def take(self, tag: int) -> tuple[int, int]:
        """Start and end of the content of the next element; it has this tag."""
        start, self.position = expect(self._data, self.position, self._end, tag)
        return start, self.position

    def finish(self) -> None:
        """Nothing may be left."""
        if self.position != self._end:
            raise BadDer("there is more than there should be")


def written(tag: int, content: bytes) -> bytes:
    """An element with this content. Messages of many parts are written by `cms/der.py`."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def whole(data: bytes, tag: int) -> tuple[int, int]:
    """Start and end of the content of the one element that `data` is."""
    start, stop = expect(data, 0, len(data), tag)
    if stop != len(data):
        raise BadDer("there is more than there should be")
    return start, stop
