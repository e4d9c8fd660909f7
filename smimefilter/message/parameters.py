"""Content-Type and its relatives: values, and their parameters.

RFC 2045 §5.1, RFC 2231 §3 and §4 (parameters in pieces and in other charsets). Reading is
lenient and raises nothing: of two parameters of one name the first counts, a piece without a
sensible number is none, and what is no media type at all is text/plain, RFC 2045 §5.2. Of what
is longer than any mail needs only the beginning is read, and all parameters are doubtful.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from .charsets import text_in

TEXT: Final = "text/plain"
LONGEST_READ: Final = 1 << 13  # bytes of a value
MOST_PARAMETERS: Final = 256

_LONGEST_KEPT: Final = 512  # bytes: the cache is no place for what a stranger may swell
_MEDIA_TYPE: Final = re.compile(r"\s*([^\s/;()\"]+)\s*/\s*([^\s/;()\"]+)")
_TOKEN: Final = re.compile(rb"[\w.-]+")
_PARAMETER: Final = re.compile(
    r""";\s*(?:([^\s=;"()]+)\s*=\s*("(?:[^"\\]|\\.)*(?:"|\Z)|[^\s;"()]*))?""", re.DOTALL
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_PIECE: Final = re.compile(r"(?:([0-9]{1,4})(\*)?)?")


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type in lower case, and its parameters by lower-case name."""

    type: str
    parameters: Mapping[str, str]
    doubtful: frozenset[str] = frozenset()  # parameters that another reader may read otherwise

    @property
    def is_multipart(self) -> bool:
        """A type whose body is parts between boundaries."""
        return self.type.startswith("multipart/")

    def parameter(self, name: str) -> str:
        """A parameter in lower case, for those that are compared so; empty when absent."""
        return self.parameters.get(name, "").lower()


def content_type(value: bytes | None) -> ContentType:
    """A Content-Type value; None (no such field) is text/plain."""
    if value is None:
        return PLAIN
    return _kept(value) if len(value) <= _LONGEST_KEPT else _content_type(value)


def _content_type(value: bytes) -> ContentType:
    text = value[:LONGEST_READ].decode("utf-8", "replace")
    match = _MEDIA_TYPE.match(text)
    if match is None:
        return PLAIN
    found, doubtful = _collected(text[match.end() :])
    if len(value) > LONGEST_READ:
        doubtful.update(found)
    return ContentType(
        f"{match[1]}/{match[2]}".lower(), MappingProxyType(found), frozenset(doubtful)
    )


_kept: Final = lru_cache(maxsize=1024)(_content_type)  # a mail is asked more than once
PLAIN: Final = ContentType(TEXT, MappingProxyType({}))


def transfer_encoding(value: bytes | None) -> str:
    """A Content-Transfer-Encoding in lower case; None (no such field) is 7bit."""
    match = _TOKEN.match(value) if value else None
    return match[0].decode().lower() if match else "7bit"


def parameters(text: str) -> dict[str, str]:
    """What follows the first value of a field: `; name=value` and so on."""
    return _collected(text[:LONGEST_READ])[0]


def _collected(text: str) -> tuple[dict[str, str], set[str]]:
    """The parameters, and which of them are there more than once, in whatever spelling, or
    may be among more than are read: what these are depends on who reads them."""
    found: dict[str, str] = {}
    doubtful: set[str] = set()
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    matches = _PARAMETER.finditer(text)
    for match in islice(matches, MOST_PARAMETERS):
        name, value = match[1], match[2]
        if name is None:
            continue
        value = _unquoted(value)
        base, star, rest = name.lower().partition("*")
        if not star:
            if base in found:
                doubtful.add(base)
            found.setdefault(base, value)
        elif piece := _PIECE.fullmatch(rest):
            number, is_extended = int(piece[1] or 0), bool(piece[2]) or not rest
            numbered = pieces.setdefault(base, {})
            if number in numbered:
                doubtful.add(base)
            numbered.setdefault(number, (value, is_extended))
        else:
            doubtful.add(base)
    for base, numbered in pieces.items():
        if base in found or sorted(numbered) != list(range(len(numbered))):
            doubtful.add(base)
        found.setdefault(base, _joined(numbered))
    if next(matches, None) is not None:
        doubtful.update(found)
    return found, doubtful


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _QUOTED_PAIR.sub(r"\1", value[1:].removesuffix('"'))


def _joined(numbered: dict[int, tuple[str, bool]]) -> str:
    """RFC 2231: pieces in order; the first one names the charset, if any piece needs it."""
    charset, octets = "utf-8", b""
    for number, (value, is_extended) in sorted(numbered.items()):
        if not is_extended:
            octets += value.encode()
            continue
        if number == 0 and value.count("'") >= 2:
            charset, _, value = value.split("'", 2)  # noqa: PLW2901 - what is left of it
        octets += unquote_to_bytes(value)
    text = text_in(charset or "utf-8", octets)
    return octets.decode("utf-8", "replace") if text is None else text
