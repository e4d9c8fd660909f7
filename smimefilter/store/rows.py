"""Rows of the tables as the values of `ports/stores.py`, without parsing a certificate."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Final

import sqlalchemy as sa

from smimefilter.pki.certificate import Certificate
from smimefilter.ports.stores import CertificateEntry, CrlEntry, Shelf, StoredPreference
from smimefilter.trust.ctl import Listing, TrustListEntry

from .tables import certificates, crls, moment, preferences, trust_list

_c: Final = certificates.c
SNAPSHOT: Final = sa.select(
    _c.der, _c.shelf, _c.origin, _c.added, _c.thumbprint, _c.is_ca, _c.addresses
).order_by(_c.number)
LISTING: Final = SNAPSHOT.add_columns(
    _c.subject, _c.issuer, _c.serial, _c.not_before, _c.not_after
)
CRLS: Final = sa.select(crls.c.der, crls.c.sha256, crls.c.origin, crls.c.added).order_by(
    crls.c.number
)
TRUST_LIST: Final = sa.select(
    trust_list.c.thumbprint, trust_list.c.listing, trust_list.c.allow_expired, trust_list.c.note
).order_by(trust_list.c.thumbprint)
PREFERENCES: Final = sa.select(
    preferences.c.scope, preferences.c.name, preferences.c.value, preferences.c.wrapped
).order_by(preferences.c.scope, preferences.c.name)

_SHELVES: Final = {shelf.value: shelf for shelf in Shelf}


def entry(row: Sequence[Any], with_key: Container[str], **facts: object) -> CertificateEntry:
    """A row of `SNAPSHOT`; `facts` are further ones of the certificate, by attribute."""
    der, shelf, origin, added, thumbprint, is_ca, named = row
    addresses = tuple(named)
    return CertificateEntry(
        certificate=Certificate.known(
            der, thumbprint=thumbprint, is_ca=is_ca, addresses=addresses, **facts
        ),
        shelf=_SHELVES[shelf],
        addresses=addresses,
        has_key=shelf == Shelf.CERTIFICATES and thumbprint in with_key,
        origin=origin,
        added=moment(added),
    )


def listed(row: Sequence[Any], with_key: Container[str]) -> CertificateEntry:
    """A row of `LISTING`."""
    *snapshot, subject, issuer, serial, not_before, not_after = row
    return entry(
        snapshot,
        with_key,
        subject=subject,
        issuer=issuer,
        serial=int(serial, 16),
        validity=(moment(not_before), moment(not_after)),
    )


def crl(row: Sequence[Any]) -> CrlEntry:
    """A row of `CRLS`."""
    der, sha256, origin, added = row
    return CrlEntry(der, sha256, origin, moment(added))


def listing(row: Sequence[Any]) -> TrustListEntry:
    """A row of `TRUST_LIST`."""
    thumbprint, judged, allow_expired, note = row
    return TrustListEntry(thumbprint, Listing(judged), allow_expired, note)


def preference(row: Sequence[Any]) -> StoredPreference:
    """A row of `PREFERENCES`."""
    return StoredPreference(*row)
