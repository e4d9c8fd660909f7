"""Which CRLs speak for a certificate: the places it names, as keys to compare.

A certificate says where its CRLs are (cRLDistributionPoints), a CRL which of these it is
(issuingDistributionPoint); they meet where they have a name in common. Besides the points it
names, every certificate has one more: the CRLs of its issuer that name no point at all.

Leaves reading the extensions to `pki/points.py`, asking the CRLs to `revocation.py`.
RFC 5280 §6.3.3 (b). Raises `UnreadableCertificate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smimefilter.pki import tlv
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.names import NameKey, name_key, relative_key
from smimefilter.pki.points import ALL_REASONS, Point, PointName, read_points

from .outline import CRL_POINTS, extension_of

_DIRECTORY_NAME = 0xA4

PlaceName = NameKey | bytes
"""A distinguished name as its key; other kinds of names as their DER."""


@dataclass(frozen=True, slots=True)
class Place:
    """One distribution point of a certificate."""

    names: frozenset[PlaceName]
    reasons: int  # bits of ReasonFlags
    issuers: frozenset[NameKey]  # who issues its CRLs; none: who issued the certificate


def places(certificate: Certificate, issuer: NameKey) -> tuple[Place, ...]:
    """The places of a certificate, the implied one last. `issuer`: the key of its issuer."""
    implied = Place(frozenset((issuer,)), ALL_REASONS, frozenset())
    try:
        extension = extension_of(certificate.der, CRL_POINTS)
        points = read_points(extension) if extension else ()
    except tlv.BadDer as error:
        raise UnreadableCertificate(f"its distribution points: {error}") from None
    return (*(_place(point, issuer) for point in points), implied)


def place_names(name: PointName, bases: Iterable[NameKey]) -> frozenset[PlaceName]:
    """The keys of a point's names; a relative one is below each of `bases`."""
    if name.relative:
        return frozenset(relative_key(base, name.relative) for base in bases)
    return frozenset(map(_general_name, name.full))


def _place(point: Point, issuer: NameKey) -> Place:
    issuers = frozenset(map(name_key, point.issuers))
    # a point without a name is named by whoever issues its CRLs
    names = place_names(point.name, issuers or (issuer,)) if point.name else issuers
    return Place(frozenset(names), point.reasons, issuers)


def _general_name(der: bytes) -> PlaceName:
    if der[0] != _DIRECTORY_NAME:
        return der
    return name_key(der[slice(*tlv.whole(der, _DIRECTORY_NAME))])
