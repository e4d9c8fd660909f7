"""Distribution points: where a certificate's CRLs are, and which of them a CRL is.

The same names stand on both sides, in a certificate's cRLDistributionPoints and in a CRL's
issuingDistributionPoint; here they are read, not compared. Names stay DER: GeneralNames as
whole elements, a nameRelativeToCRLIssuer as the content of its SET.

Leaves comparing to `trust/scopes.py`. RFC 5280 §4.2.1.13 and §5.2.5. Raises `BadDer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import tlv

ALL_REASONS: Final = 0b1_1111_1110
"""keyCompromise (bit 1) to aACompromise (bit 8) of ReasonFlags; bit 0 is not used."""

_DIRECTORY_NAME: Final = 0xA4


@dataclass(frozen=True, slots=True)
class PointName:
    """A DistributionPointName: full names, or one relative to the CRL's issuer."""

    full: tuple[bytes, ...] = ()
    relative: bytes = b""


@dataclass(frozen=True, slots=True)
class Point:
    """One distribution point of a certificate."""

    name: PointName | None
    reasons: int  # bits of ReasonFlags
    issuers: tuple[bytes, ...]  # names of who issues its CRLs, DER; none: the certificate's own


@dataclass(frozen=True, slots=True)
class Scope:
    """What part of the certificates a CRL speaks for (issuingDistributionPoint)."""

    der: bytes  # as it stands: two CRLs of one scope have it alike
    point: PointName | None
    users_only: bool
    authorities_only: bool
    reasons: int  # bits of ReasonFlags
    indirect: bool
    attributes_only: bool


def read_points(der: bytes) -> tuple[Point, ...]:
    """The points of a cRLDistributionPoints extension."""
    found = []
    for tag, start, end in tlv.elements(der, *tlv.whole(der, tlv.SEQUENCE)):
        if tag != tlv.SEQUENCE:
            raise tlv.BadDer("a distribution point is malformed")
        fields = tlv.Cursor(der, start, end)
        name = _point_name(der, fields)
        reasons = _reasons(der, fields, 0x81)
        issuers: tuple[bytes, ...] = ()
        if fields.at(0xA2):
            issuers = directory_names(der, *fields.take(0xA2))
            if not issuers:
                raise tlv.BadDer("a CRL issuer has no directory name")
        fields.finish()
        found.append(Point(name, reasons, issuers))
    return tuple(found)


def read_scope(der: bytes) -> Scope:
    """An issuingDistributionPoint extension."""
    fields = tlv.Cursor(der, *tlv.whole(der, tlv.SEQUENCE))
    scope = Scope(  # in the order of the fields
        der=der,
        point=_point_name(der, fields),
        users_only=_flag(der, fields, 0x81),
        authorities_only=_flag(der, fields, 0x82),
        reasons=_reasons(der, fields, 0x83),
        indirect=_flag(der, fields, 0x84),
        attributes_only=_flag(der, fields, 0x85),
    )
    fields.finish()
    return scope


def directory_names(der: bytes, start: int, end: int) -> tuple[bytes, ...]:
    """The directoryNames among the GeneralNames that fill `der[start:end]`, DER."""
    return tuple(
        der[at:stop]
        for tag, at, stop in tlv.elements(der, start, end)
        if tag == _DIRECTORY_NAME
    )


def _point_name(der: bytes, fields: tlv.Cursor) -> PointName | None:
    if not fields.at(tlv.CONTEXT_0):
        return None
    start, end = fields.take(tlv.CONTEXT_0)
    tag, names, stop = tlv.element(der, start, end)
    if stop != end or tag not in {0xA0, 0xA1}:
        raise tlv.BadDer("the name of a distribution point is malformed")
    if tag == 0xA1:
        return PointName(relative=der[names:stop])
    whole, position = [], names
    for _, _, after in tlv.elements(der, names, stop):
        whole.append(der[position:after])
        position = after
    return PointName(full=tuple(whole))


def _reasons(der: bytes, fields: tlv.Cursor, tag: int) -> int:
    """ReasonFlags, bit n of the mask for the named bit n; all of them where it is absent."""
    if not fields.at(tag):
        return ALL_REASONS
    start, end = fields.take(tag)
    if end == start:
        raise tlv.BadDer("reason flags are malformed")
    bits = "".join(f"{octet:08b}" for octet in der[start + 1 : end])
    return sum(1 << at for at, bit in enumerate(bits) if bit == "1") & ALL_REASONS


def _flag(der: bytes, fields: tlv.Cursor, tag: int) -> bool:
    if not fields.at(tag):
        return False
    start, end = fields.take(tag)
    return der[start:end] != b"\0"
