"""Distinguished names as keys to look certificates up by.

Two encodings of one name have one key: attributes are compared by their text, without regard
to case, kind of string and runs of spaces (RFC 5280 §7.1, RFC 4518 in what matters). The key
only finds candidates; validation compares names once more, in full.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from smimefilter.pki import tlv

NameKey = tuple[object, ...]

_ENCODINGS: Final = {
    0x0C: "utf-8",  # UTF8String
    0x12: "latin-1",  # NumericString
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # TeletexString, as everybody uses it
    0x16: "latin-1",  # IA5String
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


_REMEMBERED: Final = 1024  # bytes; longer names are somebody's idea of a joke


def name_key(der: bytes) -> NameKey:
    """The key of a Name, DER. One that cannot be read is like itself only."""
    return _remembered_key(der) if len(der) <= _REMEMBERED else _key(der)


def relative_key(base: NameKey, der: bytes) -> NameKey:
    """The key of a name below `base`, by the content of the SET its last part is."""
    try:
        return (*base, tuple(sorted(_attributes(der, 0, len(der)))))
    except ValueError:
        return (*base, der)


def _key(der: bytes) -> NameKey:
    try:
        return tuple(
            tuple(sorted(_attributes(der, start, end)))
            for _, start, end in tlv.elements(der, *tlv.whole(der, tlv.SEQUENCE))
        )
    except ValueError:
        return (der,)


_remembered_key = lru_cache(maxsize=16384)(_key)


def _attributes(der: bytes, start: int, end: int) -> list[tuple[bytes, str]]:
    found = []
    for _, attribute, stop in tlv.elements(der, start, end):
        oid, value = tlv.expect(der, attribute, stop, tlv.OID)
        tag, text, text_end = tlv.element(der, value, stop)
        found.append((der[oid:value], _folded(tag, der[text:text_end])))
    return found


def _folded(tag: int, value: bytes) -> str:
    encoding = _ENCODINGS.get(tag)
    text = value.decode(encoding) if encoding else f"\0{tag:x} {value.hex()}"
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())
