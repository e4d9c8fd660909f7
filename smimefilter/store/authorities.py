"""CAs of ours and what they issued: `ports.requests.Authorities`, and handlers' settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from smimefilter.pki.certificate import Certificate
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.requests import (
    IssuedCertificate,
    NewCrl,
    StoredAuthority,
)
from smimefilter.ports.stores import Shelf, WrappedKey

from .audit import note, tell
from .certs import add_certificates, add_keys
from .engine import Sessions, Transaction
from .tables import authorities, crls, handlers, issued, moment, private_keys, seconds
from .together import Together

_a: Final = authorities.c
_i: Final = issued.c


class SqlAuthorities:
    """`ports.requests.Authorities` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions
        self._books: Final = Together(sessions.keeping_books)

    async def create(
        self,
        found: Sequence[StoredAuthority],
        *,
        roots: Sequence[Certificate],
        certificates: Sequence[Certificate],
        keys: Sequence[WrappedKey],
        crls: Sequence[NewCrl],
        origin: str,
        records: Sequence[AuditRecord],
    ) -> None:
        """Store new CAs with all that belongs to them, at once."""
        async with self._sessions.writing() as transaction:
            await add_certificates(transaction, roots, Shelf.ROOTS, origin)
            await add_certificates(transaction, certificates, Shelf.CERTIFICATES, origin)
            await add_keys(transaction, keys)
            if any(one.is_default for one in found):
                await transaction.write(sa.update(authorities).values(is_default=False))
            rows = [
                {
                    "thumbprint": one.thumbprint,
                    "is_default": one.is_default,
                    "crl_number": one.crl_number,
                    "created": seconds(one.created),
                }
                for one in found
            ]
            await transaction.write(sa.insert(authorities), rows)
            for crl in crls:
                await _store(transaction, crl)
            await note(transaction, records)

    async def all(self) -> list[StoredAuthority]:
        """All, oldest first."""
        these = sa.select(authorities).order_by(_a.created, _a.thumbprint)
        async with self._sessions.reading() as connection:
            return [
                StoredAuthority(
                    row.thumbprint, row.is_default, row.crl_number, moment(row.created)
                )
                for row in await connection.execute(these)
            ]

    async def make_default(self, thumbprint: str, records: Sequence[AuditRecord]) -> bool:
        """Whether there is such a CA."""
        this = _a.thumbprint == thumbprint
        async with self._sessions.keeping_books() as transaction:
            if (await transaction.read(sa.select(_a.thumbprint).where(this))).first() is None:
                return False
            await transaction.write(sa.update(authorities).values(is_default=False))
            await transaction.write(sa.update(authorities).where(this).values(is_default=True))
            await note(transaction, records)
            return True

    async def issued_for(self, request: str) -> list[IssuedCertificate]:
        """What was issued for a request already."""
        these = sa.select(issued).where(_i.request == request)
        async with self._sessions.reading() as connection:
            return [_issued(row) for row in await connection.execute(these)]

    async def record(
        self, one: IssuedCertificate, same: Callable[[IssuedCertificate], bool]
    ) -> IssuedCertificate:
        """Note a certificate before anybody gets it; or what was noted for its request
        before and is the `same`, which counts then."""

        async def change(transaction: Transaction) -> IssuedCertificate:
            if one.request:
                before = sa.select(issued).where(_i.request == one.request)
                known = map(_issued, await transaction.read(before))
                if (counts := next(filter(same, known), None)) is not None:
                    return counts
            await transaction.write(sa.insert(issued), [_row(one)])
            return one

        return await self._books.make(change)

    async def find(self, authority: str, serial: int) -> IssuedCertificate | None:
        """One by its serial."""
        this = (_i.authority == authority, _i.serial == f"{serial:x}")
        return await self._one(sa.select(issued).where(*this))

    async def revoked(self, authority: str) -> list[IssuedCertificate]:
        """All that a CA revoked."""
        return await self._of(authority, _i.revoked.is_not(None))

    async def issued(self, authority: str) -> list[IssuedCertificate]:
        """All that a CA issued."""
        return await self._of(authority, _i.der.is_not(None))

    async def revoke(
        self,
        revoked: Sequence[IssuedCertificate],
        crl: NewCrl,
        records: Sequence[AuditRecord],
        *,
        restored: Collection[int] = (),
        fallen: Collection[str] = (),
    ) -> bool:
        """Revoke these and store the CRL that says so, at once; False, and nothing is done,
        where another CRL of that number was made meanwhile."""
        async with self._sessions.writing() as transaction:
            this = sa.update(authorities).where(
                _a.thumbprint == crl.authority, _a.crl_number == crl.number - 1
            )
            if not await transaction.write(this.values(crl_number=crl.number)):
                return False
            for serial in restored:
                await _restore(transaction, crl.authority, serial)
            for thumbprint in fallen:
                ca = sa.update(authorities).where(_a.thumbprint == thumbprint)
                await transaction.write(ca.values(is_default=False))
            for one in revoked:
                await _revoke(transaction, one)
            await _store(transaction, crl)
            await note(transaction, records)
            return True

    async def forget_key(self, thumbprint: str, records: Sequence[AuditRecord]) -> bool:
        """Whether it was there."""
        async with self._sessions.writing() as transaction:
            this = private_keys.c.thumbprint == thumbprint
            if not await transaction.write(sa.delete(private_keys).where(this)):
                return False
            await note(transaction, records)
            return True

    async def _one(self, query: sa.Select[Any]) -> IssuedCertificate | None:
        async with self._sessions.reading() as connection:
            row = (await connection.execute(query)).first()
            return None if row is None else _issued(row)

    async def _of(
        self, authority: str, wanted: sa.ColumnElement[bool]
    ) -> list[IssuedCertificate]:
        these = sa.select(issued).where(_i.authority == authority, wanted)
        async with self._sessions.reading() as connection:
            rows = await connection.execute(these.order_by(_i.serial))
            return [_issued(row) for row in rows]


class SqlHandlerSettings:
    """`ports.requests.HandlerSettings` over the table."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def put(self, name: str, settings: bytes, records: Sequence[AuditRecord]) -> None:
        """Set or replace."""
        async with self._sessions.keeping_books() as transaction:
            await transaction.put(handlers, {"name": name, "settings": settings})
            await note(transaction, records)

    async def get(self, name: str) -> bytes | None:
        """Those of one handler."""
        async with self._sessions.reading() as connection:
            this = sa.select(handlers.c.settings).where(handlers.c.name == name)
            return await connection.scalar(this)

    async def all(self) -> dict[str, bytes]:
        """All, by name."""
        async with self._sessions.reading() as connection:
            rows = await connection.execute(sa.select(handlers))
            return {row.name: row.settings for row in rows}

    async def add(self, name: str, settings: bytes) -> bytes:
        """Set what is not set yet; what is set then."""
        async with self._sessions.keeping_books() as transaction:
            this = sa.select(handlers.c.settings).where(handlers.c.name == name)
            found: bytes | None = (await transaction.read(this)).scalar()
            if found is None:
                row = {"name": name, "settings": settings}
                await transaction.write(sa.insert(handlers), [row])
                await tell(transaction, "secret of a handler made", name)
        return found or settings


async def _revoke(transaction: Transaction, one: IssuedCertificate) -> None:
    this = (_i.authority == one.authority, _i.serial == f"{one.serial:x}")
    values = {"revoked": seconds(one.revoked or datetime.now(UTC)), "reason": one.reason}
    if not await transaction.write(sa.update(issued).where(*this).values(values)):
        await transaction.write(sa.insert(issued), [_row(one)])


async def _restore(transaction: Transaction, authority: str, serial: int) -> None:
    this = (_i.authority == authority, _i.serial == f"{serial:x}")
    await transaction.write(sa.update(issued).where(*this).values(revoked=None, reason=""))


async def _store(transaction: Transaction, crl: NewCrl) -> None:
    old = crls.c.sha256.in_(list(crl.superseded))
    await transaction.write(sa.delete(crls).where(old))
    row = {
        "sha256": hashlib.sha256(crl.der).hexdigest(),
        "der": crl.der,
        "origin": crl.origin,
        "added": seconds(datetime.now(UTC)),
    }
    await transaction.write(sa.insert(crls), [row])


def _row(one: IssuedCertificate) -> dict[str, Any]:
    return {
        "authority": one.authority,
        "serial": f"{one.serial:x}",
        "request": one.request,
        "der": one.der,
        "revoked": None if one.revoked is None else seconds(one.revoked),
        "reason": one.reason,
    }


def _issued(row: sa.Row[Any]) -> IssuedCertificate:
    return IssuedCertificate(
        row.authority,
        int(row.serial, 16),
        row.request,
        row.der,
        None if row.revoked is None else moment(row.revoked),
        row.reason,
    )
