"""Reading CMS as others write it: BER, definite and indefinite lengths, nothing copied.

Elements are views into the bytes they stand in. How many headers are looked at has a limit
that all readers of one message share (`Effort`), so that the time has one. Whether a body is
CMS at all is `recognise.py`'s; writing is `der.py`'s.

ITU-T X.690 §8.1, §8.7 (strings in pieces). Raises `BadCms`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONSTRUCTED: Final = 0x20
MOST_HEADERS: Final = 400_000  # of one message: 25 MB in pieces of a few hundred bytes

_END: Final = b"\0\0"
_LINE_ENDS: Final = b"\r\n"
_OPEN: Final = -1  # a length that is not given
_MOST_LENGTH_OCTETS: Final = 8
_DEEPEST_STRING: Final = 8


class BadCms(ValueError):
    """Not the structure it should be, or too much of it."""


class Effort:
    """How many headers may still be looked at."""

    __slots__ = ("left",)

    def __init__(self, most: int = MOST_HEADERS) -> None:
        self.left = most

    def spend(self) -> None:
        """One more. Raises `BadCms` when it is one too many."""
        self.left -= 1
        if self.left < 0:
            raise BadCms("too many elements")


class Element(NamedTuple):
    """One element: its tag, its content without header and end mark, and all of it."""

    tag: int
    content: memoryview
    whole: memoryview

    @property
    def der(self) -> bytes:
        """All of it as bytes: DER where it came so."""
        return bytes(self.whole)


class Fields:
    """The elements in a constructed one, taken in turn."""

    __slots__ = ("_at", "_data", "effort")

    def __init__(self, data: memoryview, effort: Effort) -> None:
        self._data: Final = data
        self._at = 0
        self.effort: Final = effort

    @property
    def tag(self) -> int:
        """The tag of what comes next, -1 at the end."""
        return self._data[self._at] if self._at < len(self._data) else -1

    def take(self, *tags: int) -> Element:
        """The next element, which has one of these tags (any, when none is named)."""
        tag, start, length = _header(self._data, self._at, self.effort)
        if tags and tag not in tags:
            raise BadCms(f"tag {tag:#04x} where {tags[0]:#04x} should be")
        at = self._at
        if length == _OPEN:
            stop = _end_of(self._data, start, self.effort)
            self._at = stop + len(_END)
        else:
            stop = self._at = start + length
        return Element(tag, self._data[start:stop], self._data[at : self._at])

    def maybe(self, *tags: int) -> Element | None:
        """The next element if it has one of these tags."""
        return self.take(*tags) if self.tag in tags else None

    def inside(self, *tags: int) -> Fields:
        """The fields of the next element, which has one of these tags."""
        return Fields(self.take(*tags).content, self.effort)

    def of(self, element: Element) -> Fields:
        """The fields of an element that was taken."""
        return Fields(element.content, self.effort)

    def rest(self, *tags: int) -> Iterator[Element]:
        """All that follows; each has one of these tags."""
        while self._at < len(self._data):
            yield self.take(*tags)

    def end(self) -> None:
        """Nothing may follow. Raises `BadCms`."""
        if self._at < len(self._data):
            raise BadCms("more than there should be")


def only(data: memoryview, tag: int, effort: Effort) -> Fields:
    """The fields of the one element that `data` is; a line end may follow it."""
    fields = Fields(data, effort)
    found = fields.take(tag)
    rest = bytes(data[len(found.whole) : len(found.whole) + 3])
    if len(found.whole) + len(rest) < len(data) or rest.strip(_LINE_ENDS):
        raise BadCms("bytes behind the end")
    return fields.of(found)


def octets(element: Element, effort: Effort) -> list[memoryview]:
    """The octets of a string that stands in one piece or in several, tagged in any way."""
    if not element.tag & CONSTRUCTED:
        return [element.content]
    return list(_pieces(element.content, effort, _DEEPEST_STRING))


def _pieces(data: memoryview, effort: Effort, depth: int) -> Iterator[memoryview]:
    if depth == 0:
        raise BadCms("a string in too many layers")
    for piece in Fields(data, effort).rest(OCTET_STRING, OCTET_STRING | CONSTRUCTED):
        if piece.tag == OCTET_STRING:
            yield piece.content
        else:
            yield from _pieces(piece.content, effort, depth - 1)


def joined(element: Element, effort: Effort) -> bytes:
    """The same, as bytes: for short strings."""
    return b"".join(octets(element, effort))


def integer(element: Element) -> int:
    """The value of an INTEGER."""
    if not element.content:
        raise BadCms("an integer without a value")
    return int.from_bytes(element.content, "big", signed=True)


def _header(data: memoryview, at: int, effort: Effort) -> tuple[int, int, int]:
    """Tag, start of the content, length or `_OPEN` of the element at `at`; it fits."""
    effort.spend()
    start = at + 2
    if start > len(data):
        raise BadCms("an element is cut off")
    tag, length = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise BadCms("a tag that CMS does not have")
    if length == 0x80:
        if not tag & CONSTRUCTED:
            raise BadCms("a length that is missing")
        return tag, start, _OPEN
    if length > 0x80:
        count = length & 0x7F
        if count > _MOST_LENGTH_OCTETS or start + count > len(data):
            raise BadCms("a length that is none")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise BadCms("an element reaches past its end")
    return tag, start, length


def _end_of(data: memoryview, start: int, effort: Effort) -> int:
    """Where the end mark stands of the element whose content begins at `start`."""
    at, depth = start, 1
    while True:
        if bytes(data[at : at + 2]) == _END:
            depth -= 1
            if not depth:
                return at
            at += len(_END)
            effort.spend()
            continue
        _, content, length = _header(data, at, effort)
        if length == _OPEN:
            depth += 1
            at = content
        else:
            at = content + length
