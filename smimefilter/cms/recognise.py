"""What CMS a body is: encrypted, signed, or neither, by its whole structure.

Walks over the elements as they stand, DER or BER, definite or indefinite lengths: content type,
recipients or signers at their places, encrypted content that is there, every length fitting
into the one around it, and nothing behind the end but a line end. No object is made and no
content copied; the number of elements looked at has a limit, so that the time has one.

Nothing is decrypted or verified: who would make a mail look encrypted can encrypt it to
himself just as well. RFC 5652 §3, §5.1, §6.1, RFC 5083 §2.1, ITU-T X.690 §8.1. Raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

from .algorithms import AUTH_ENVELOPED_DATA, COMPRESSED_DATA, ENVELOPED_DATA, SIGNED_DATA

MOST_ELEMENTS: Final = 100_000  # content in pieces of a few hundred bytes, at 25 MB

_INTEGER: Final = 0x02
_OCTET_STRING: Final = 0x04
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_CONSTRUCTED: Final = 0x20
_IMPLICIT_0: Final = 0x80
_CONTEXT_0: Final = 0xA0
_CONTEXT_1: Final = 0xA1
_CONTEXT_2: Final = 0xA2
_RECIPIENTS: Final = frozenset({_SEQUENCE, 0xA1, 0xA2, 0xA3, 0xA4})
_END_OF_CONTENTS: Final = b"\0\0"
_LINE_ENDS: Final = b"\r\n"
_OPEN: Final = -1  # the end of an element of indefinite length
_MOST_LENGTH_OCTETS: Final = 8


class Kind(Enum):
    """What a ContentInfo protects its content with."""

    SIGNED = auto()
    ENCRYPTED = auto()  # EnvelopedData or AuthEnvelopedData


class Content(Enum):
    """What a ContentInfo says to hold."""

    SIGNED = auto()
    ENCRYPTED = auto()
    COMPRESSED = auto()


_CONTENTS: Final = {
    SIGNED_DATA: Content.SIGNED,
    ENVELOPED_DATA: Content.ENCRYPTED,
    AUTH_ENVELOPED_DATA: Content.ENCRYPTED,
    COMPRESSED_DATA: Content.COMPRESSED,
}


def content_of(cms: memoryview) -> Content | None:
    """What the ContentInfo that begins `cms` says to hold; nothing else of it is looked at."""
    walk = _Walk(cms)
    try:
        tag, _ = walk.header()
        content_type = bytes(walk.take(_OID)) if tag == _SEQUENCE else b""
    except _NotCms:
        return None
    return _CONTENTS.get(content_type)


def kind_of(cms: memoryview) -> Kind | None:
    """What the ContentInfo that fills `cms` is. None where it is something else (such as
    certificates alone, which nobody signed), has a flaw, or does not fill it."""
    walk = _Walk(cms)
    try:
        kind = _content_info(walk)
    except _NotCms:
        return None
    rest = walk.data[walk.at :]
    return kind if len(rest) <= len(_LINE_ENDS) and not bytes(rest).strip(_LINE_ENDS) else None


class _NotCms(ValueError):
    """Not the structure it should be."""


class _Walk:
    """A way through nested elements, one after the other."""

    __slots__ = ("at", "data", "left", "limit")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0
        self.limit = len(data)  # where the innermost element of definite length ends
        self.left = MOST_ELEMENTS

    def header(self) -> tuple[int, int]:
        """Tag and end of the element here; its content comes next."""
        self.left -= 1
        start = self.at + 2
        if self.left < 0 or start > self.limit:
            raise _NotCms
        tag, length = self.data[self.at], self.data[self.at + 1]
        if length == 0x80 and tag & _CONSTRUCTED:
            self.at = start
            return tag, _OPEN
        if length >= 0x80:
            octets = length & 0x7F
            length = int.from_bytes(self.data[start : start + octets], "big")
            start += octets
            if not 0 < octets <= _MOST_LENGTH_OCTETS:
                raise _NotCms
        if tag & 0x1F == 0x1F or start + length > self.limit:
            raise _NotCms
        self.at = start
        return tag, start + length

    @contextmanager
    def inside(self, tag: int) -> Iterator[None]:
        """Within the element here, which has this tag, and is to be walked to its end."""
        found, end = self.header()
        if found != tag:
            raise _NotCms
        around = self.limit
        if end != _OPEN:
            self.limit = end
        yield
        if end == _OPEN:
            if not self._ends():
                raise _NotCms
            self.at += len(_END_OF_CONTENTS)
        elif self.at != end:
            raise _NotCms
        self.limit = around

    def is_at(self, *tags: int) -> bool:
        """Whether an element with one of these tags comes next."""
        return self.at < self.limit and self.data[self.at] in tags

    def has_more(self) -> bool:
        """Whether the element that the walk is inside of goes on."""
        return self.at < self.limit and not self._ends()

    def take(self, *tags: int) -> memoryview:
        """The element here, whole and of definite length, with one of these tags."""
        start = self.at
        tag, end = self.header()
        if tag not in tags or end == _OPEN:
            raise _NotCms
        self.at = end
        return self.data[start:end]

    def skip(self, *tags: int) -> None:
        """Past the element here, which has one of these tags, and all that is in it."""
        if not self.is_at(*tags):
            raise _NotCms
        depth = 0
        while True:
            if depth and self._ends():
                self.at += len(_END_OF_CONTENTS)
                depth -= 1
            else:
                _, end = self.header()
                if end == _OPEN:
                    depth += 1
                else:
                    self.at = end
            if not depth:
                return

    def skip_any(self, tag: int) -> None:
        """Past the element here if it has this tag."""
        if self.is_at(tag):
            self.skip(tag)

    def _ends(self) -> bool:
        return bytes(self.data[self.at : min(self.at + 2, self.limit)]) == _END_OF_CONTENTS


def _content_info(walk: _Walk) -> Kind | None:
    with walk.inside(_SEQUENCE):
        content_type = walk.take(_OID)
        with walk.inside(_CONTEXT_0):
            if content_type == SIGNED_DATA:
                return _signed_data(walk)
            if content_type == ENVELOPED_DATA:
                return _enveloped_data(walk, authenticated=False)
            if content_type == AUTH_ENVELOPED_DATA:
                return _enveloped_data(walk, authenticated=True)
            raise _NotCms


def _signed_data(walk: _Walk) -> Kind:
    with walk.inside(_SEQUENCE):
        walk.take(_INTEGER)
        walk.skip(_SET)  # digestAlgorithms
        walk.skip(_SEQUENCE)  # encapContentInfo
        walk.skip_any(_CONTEXT_0)  # certificates
        walk.skip_any(_CONTEXT_1)  # crls
        _members(walk, frozenset({_SEQUENCE}))  # signerInfos
    return Kind.SIGNED


def _enveloped_data(walk: _Walk, *, authenticated: bool) -> Kind:
    with walk.inside(_SEQUENCE):
        walk.take(_INTEGER)
        walk.skip_any(_CONTEXT_0)  # originatorInfo
        _members(walk, _RECIPIENTS)
        _encrypted_content_info(walk)
        walk.skip_any(_CONTEXT_1)  # unprotectedAttrs, or authAttrs
        if authenticated:
            if len(walk.take(_OCTET_STRING)) <= 2:  # mac
                raise _NotCms
            walk.skip_any(_CONTEXT_2)  # unauthAttrs
    return Kind.ENCRYPTED


def _members(walk: _Walk, tags: frozenset[int]) -> None:
    """A SET of at least one element with one of these tags."""
    with walk.inside(_SET):
        walk.skip(*tags)
        while walk.has_more():
            walk.skip(*tags)


def _encrypted_content_info(walk: _Walk) -> None:
    """An EncryptedContentInfo whose content is there, in one piece or in several."""
    with walk.inside(_SEQUENCE):
        walk.take(_OID)
        walk.skip(_SEQUENCE)  # contentEncryptionAlgorithm
        if walk.is_at(_IMPLICIT_0):
            size = len(walk.take(_IMPLICIT_0)) - 2
        else:
            size = 0
            with walk.inside(_CONTEXT_0):
                while walk.has_more():
                    size += len(walk.take(_OCTET_STRING)) - 2
        if size <= 0:
            raise _NotCms
