"""The CRL store: `ports.Crls`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from smimefilter.ports.stores import CrlEntry

from .audit import tell
from .engine import Sessions
from .rows import CRLS, crl
from .tables import crls, seconds


class SqlCrls:
    """`ports.Crls` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def add(self, found: Sequence[bytes], origin: str) -> list[bool]:
        """Store those (DER) not there yet; for each whether it is new. All or nothing."""
        now = seconds(_now())
        async with self._sessions.writing() as transaction:
            there = set((await transaction.read(sa.select(crls.c.sha256))).scalars())
            new: list[bool] = []
            for der in found:
                sha256 = hashlib.sha256(der).hexdigest()
                new.append(sha256 not in there)
                if new[-1]:
                    there.add(sha256)
                    row = {"sha256": sha256, "der": der, "origin": origin, "added": now}
                    await transaction.write(sa.insert(crls), [row])
                    await tell(transaction, "CRL added", sha256, origin)
            return new

    async def replace(self, new: bytes, superseded: Collection[str], origin: str) -> bool:
        """Store one (DER) and remove those with these SHA-256, at once; whether it is new."""
        sha256 = hashlib.sha256(new).hexdigest()
        row = {"sha256": sha256, "der": new, "origin": origin, "added": seconds(_now())}
        async with self._sessions.writing() as transaction:
            this = sa.select(crls.c.sha256).where(crls.c.sha256 == sha256)
            is_new = (await transaction.read(this)).first() is None
            if is_new:
                await transaction.write(sa.insert(crls), [row])
            old = crls.c.sha256.in_([other for other in superseded if other != sha256])
            await transaction.write(sa.delete(crls).where(old))
            return is_new

    async def remove(self, sha256: str) -> bool:
        """Whether it was there."""
        async with self._sessions.writing() as transaction:
            if not await transaction.write(sa.delete(crls).where(crls.c.sha256 == sha256)):
                return False
            await tell(transaction, "CRL removed", sha256)
            return True

    async def all(self, origin: str | None = None) -> list[CrlEntry]:
        """All CRLs, or those of one origin, oldest first."""
        these = CRLS if origin is None else CRLS.where(crls.c.origin == origin)
        async with self._sessions.reading() as connection:
            return [crl(row) for row in await connection.execute(these)]


def _now() -> datetime:
    return datetime.now(UTC)
