"""The little of DER that writing needs: joining bytes that are encoded already.

Everything that goes out is built from pre-encoded pieces, so that a mail costs a few joins
and no object tree. What came in is `recognise.py`'s. ITU-T X.690 §8.1, §10.1, §11.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

INTEGER: Final = b"\x02"
BIT_STRING: Final = b"\x03"
OCTET_STRING: Final = b"\x04"
OID: Final = b"\x06"
UTC_TIME: Final = b"\x17"
GENERALIZED_TIME: Final = b"\x18"
SEQUENCE: Final = b"\x30"
SET: Final = b"\x31"
CONTEXT_0: Final = b"\xa0"  # constructed; IMPLICIT of a constructed type, or EXPLICIT
CONTEXT_1: Final = b"\xa1"
CONTEXT_2: Final = b"\xa2"
CONTEXT_0_PRIMITIVE: Final = b"\x80"  # IMPLICIT of a primitive type

NULL: Final = b"\x05\x00"

_OCTET: Final = tuple(bytes([n]) for n in range(0x100))


def header(tag: bytes, length: int) -> bytes:
    """Tag and length octets of a value of `length` bytes."""
    if length < 0x80:
        return tag + _OCTET[length]
    if length < 0x100:
        return tag + b"\x81" + _OCTET[length]
    if length < 0x10000:
        return tag + b"\x82" + length.to_bytes(2, "big")
    octets = (length.bit_length() + 7) // 8
    return tag + (0x80 | octets).to_bytes(1, "big") + length.to_bytes(octets, "big")


def tlv(tag: bytes, *parts: bytes) -> bytes:
    """A whole value: header, then the parts joined."""
    content = b"".join(parts)
    return header(tag, len(content)) + content


def set_of(tag: bytes, members: Iterable[bytes]) -> bytes:
    """A SET OF (or one with an implicit tag): its members in ascending order of encoding."""
    return tlv(tag, *sorted(members))


def integer(value: int) -> bytes:
    """An INTEGER that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    arcs = [first * 40 + second, *rest]
    return tlv(OID, *(_base128(arc) for arc in arcs))


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    """An AlgorithmIdentifier; without parameters the field is absent."""
    return tlv(SEQUENCE, oid(dotted), parameters)


def _base128(arc: int) -> bytes:
    septets = [arc & 0x7F]
    while arc := arc >> 7:
        septets.append(0x80 | (arc & 0x7F))
    return bytes(reversed(septets))
