"""Both certificate stores and the wrapped keys: `ports.Certificates`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from smimefilter.pki.certificate import Certificate
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.keys import Sealer
from smimefilter.ports.requests import HANDLER_SETTINGS, REQUEST_SECRETS
from smimefilter.ports.stores import CertificateEntry, Shelf, StoredPreference, WrappedKey

from .audit import note, tell
from .engine import Row, Sessions, Transaction
from .rows import LISTING, listed
from .tables import (
    certificates,
    handlers,
    preferences,
    private_keys,
    requests,
    seconds,
    state,
)

_CALLED: Final = {Shelf.CERTIFICATES: "certificate", Shelf.ROOTS: "root"}
_AT_ONCE: Final = 1000  # thumbprints asked for in one statement

_REWRAP_KEY: Final = (
    sa.update(private_keys)
    .where(private_keys.c.thumbprint == sa.bindparam("of"))
    .values(blob=sa.bindparam("to"))
)
_REWRAP_PREFERENCE: Final = (
    sa.update(preferences)
    .where(preferences.c.scope == sa.bindparam("at"))
    .where(preferences.c.name == sa.bindparam("of"))
    .values(wrapped=sa.bindparam("to"))
)


_OTHERS: Final = {
    REQUEST_SECRETS: (requests.c.id, requests.c.secrets),
    HANDLER_SETTINGS: (handlers.c.name, handlers.c.settings),
}


class SqlCertificates:
    """`ports.Certificates` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def add(
        self, certificates: Sequence[Certificate], shelf: Shelf, origin: str
    ) -> list[bool]:
        """Store those not there yet; per certificate whether it is new. All or nothing."""
        async with self._sessions.writing() as transaction:
            new = await add_certificates(transaction, certificates, shelf, origin)
            await note(transaction, _added(certificates, new, shelf, origin))
            return new

    async def add_with_keys(
        self,
        certificates: Sequence[Certificate],
        keys: Sequence[WrappedKey],
        origin: str,
        instead_of: Sequence[WrappedKey] = (),
    ) -> list[bool]:
        """The same, together with wrapped keys, in one transaction; `instead_of` go."""
        async with self._sessions.writing() as transaction:
            new = await add_certificates(transaction, certificates, Shelf.CERTIFICATES, origin)
            await note(transaction, _added(certificates, new, Shelf.CERTIFICATES, origin))
            replaced = set()
            for old in instead_of:
                this = private_keys.c.thumbprint == old.thumbprint
                still = private_keys.c.blob == old.blob
                if await transaction.write(sa.delete(private_keys).where(this, still)):
                    replaced.add(old.thumbprint)
            records = [
                AuditRecord(
                    datetime.now(UTC), one,
                    f"private key {'replaced' if one in replaced else 'added'}", origin,
                )
                for one in await add_keys(transaction, keys)
            ]  # fmt: skip
            await note(transaction, records)
            return new

    async def remove(self, thumbprint: str, shelf: Shelf) -> bool:
        """Take a certificate (and its key) away; whether it was there."""
        async with self._sessions.writing() as transaction:
            with_key = False
            if shelf is Shelf.CERTIFICATES:
                this_key = private_keys.c.thumbprint == thumbprint
                with_key = await transaction.write(sa.delete(private_keys).where(this_key))
            this = (
                certificates.c.shelf == shelf.value,
                certificates.c.thumbprint == thumbprint,
            )
            found = await transaction.read(sa.select(certificates.c.subject).where(*this))
            subject = found.scalar() or ""
            gone = await transaction.write(sa.delete(certificates).where(*this))
            if gone or with_key:
                detail = f"{subject}{', with its private key' if with_key else ''}"
                await tell(transaction, f"{_CALLED[shelf]} removed", thumbprint, detail)
            return gone

    async def all(self, shelf: Shelf) -> list[CertificateEntry]:
        """All of a shelf, oldest first; what lists show of them is at hand without parsing."""
        async with self._sessions.reading() as connection:
            with_key = set(await connection.scalars(sa.select(private_keys.c.thumbprint)))
            rows = await connection.execute(LISTING.where(certificates.c.shelf == shelf.value))
            return [listed(row, with_key) for row in rows]

    async def these(self, thumbprints: Collection[str]) -> list[CertificateEntry]:
        """Those of these that are on either shelf, oldest first."""
        shelves = certificates.c.shelf.in_([shelf.value for shelf in Shelf])
        wanted = list(thumbprints)
        async with self._sessions.reading() as connection:
            keyed = private_keys.c.thumbprint
            with_key = set(await connection.scalars(sa.select(keyed).where(keyed.in_(wanted))))
            found = LISTING.where(shelves, certificates.c.thumbprint.in_(wanted))
            return [listed(row, with_key) for row in await connection.execute(found)]

    async def key(self, thumbprint: str) -> WrappedKey | None:
        """The wrapped key of one certificate."""
        async with self._sessions.reading() as connection:
            this = private_keys.c.thumbprint == thumbprint
            blob = await connection.scalar(sa.select(private_keys.c.blob).where(this))
            return None if blob is None else WrappedKey(thumbprint, blob)

    async def keys(self) -> list[WrappedKey]:
        """All wrapped keys."""
        async with self._sessions.reading() as connection:
            rows = await connection.execute(sa.select(private_keys))
            return [WrappedKey(row.thumbprint, row.blob) for row in rows]

    async def rewrap(
        self,
        keys: Sequence[WrappedKey],
        preferences: Sequence[StoredPreference],
        others: Mapping[str, Mapping[str, tuple[bytes, bytes]]],
        check: bytes,
        revision: int,
        sealer: Sealer,
    ) -> bool:
        """Replace everything that is wrapped, unless the store has moved on from `revision`, or
        `others` (of requests and handlers, old and new by name) from what they were."""
        async with self._sessions.writing() as transaction:
            found = await transaction.read(sa.select(state.c.revision))
            if found.scalar_one() != revision:
                return False
            for kind, (name, blob) in _OTHERS.items():
                rows = await transaction.read(sa.select(name, blob).where(blob.is_not(None)))
                wrapped = others.get(kind, {})
                if dict(map(tuple, rows)) != {one: old for one, (old, _) in wrapped.items()}:
                    return False
                again = sa.update(name.table).where(name == sa.bindparam("of"))
                await transaction.write(
                    again.values({blob.name: sa.bindparam("to")}),
                    [{"of": one, "to": new} for one, (_, new) in wrapped.items()],
                )
            await transaction.write(
                _REWRAP_KEY, [{"of": key.thumbprint, "to": key.blob} for key in keys]
            )
            await transaction.write(
                _REWRAP_PREFERENCE,
                [{"at": one.scope, "of": one.name, "to": one.wrapped} for one in preferences],
            )
            await transaction.write(sa.update(state).values(check_value=check))
            told = f"{len(keys)} private keys, {len(preferences)} preferences"
            changed = AuditRecord(datetime.now(UTC), "master key", "master key changed", told)
            await note(transaction, [changed], sealer)
        self._sessions.hold(check)
        self._sessions.scribe = replace(self._sessions.scribe, sealer=sealer)
        return True


async def add_certificates(
    transaction: Transaction, found: Sequence[Certificate], shelf: Shelf, origin: str
) -> list[bool]:
    stored = sa.select(certificates.c.thumbprint).where(certificates.c.shelf == shelf.value)
    there = await _present(transaction, stored, [one.thumbprint for one in found])
    now = seconds(datetime.now(UTC))
    new: list[bool] = []
    rows: list[Row] = []
    for certificate in found:
        new.append(certificate.thumbprint not in there)
        if new[-1]:
            there.add(certificate.thumbprint)
            rows.append(_row(certificate) | {"shelf": shelf, "origin": origin, "added": now})
    await transaction.write(sa.insert(certificates), rows)
    return new


async def add_keys(transaction: Transaction, keys: Sequence[WrappedKey]) -> list[str]:
    """Those that were added. A key that is there already stays: a certificate has but one."""
    stored = sa.select(private_keys.c.thumbprint)
    there = await _present(transaction, stored, [key.thumbprint for key in keys])
    rows = {key.thumbprint: key.blob for key in keys if key.thumbprint not in there}
    await transaction.write(
        sa.insert(private_keys),
        [{"thumbprint": thumbprint, "blob": blob} for thumbprint, blob in rows.items()],
    )
    return list(rows)


def _added(
    found: Sequence[Certificate], new: Sequence[bool], shelf: Shelf, origin: str
) -> list[AuditRecord]:
    now, event = datetime.now(UTC), f"{_CALLED[shelf]} added"
    return [
        AuditRecord(now, one.thumbprint, event, f"{one.subject}; {origin}")
        for one, is_new in zip(found, new, strict=True)
        if is_new
    ]


async def _present(
    transaction: Transaction, stored: sa.Select[tuple[str]], thumbprints: Sequence[str]
) -> set[str]:
    """Those of the thumbprints that the query `stored` finds."""
    (thumbprint,) = stored.selected_columns
    there: set[str] = set()
    for start in range(0, len(thumbprints), _AT_ONCE):
        some = thumbprints[start : start + _AT_ONCE]
        there.update((await transaction.read(stored.where(thumbprint.in_(some)))).scalars())
    return there


def _row(certificate: Certificate) -> dict[str, object]:
    return {
        "thumbprint": certificate.thumbprint,
        "sha256": certificate.sha256,
        "der": certificate.der,
        "addresses": list(certificate.addresses),
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial_hex,
        "not_before": seconds(certificate.not_before),
        "not_after": seconds(certificate.not_after),
        "is_ca": certificate.is_ca,
    }
