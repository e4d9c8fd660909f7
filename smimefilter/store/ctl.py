"""The certificate trust list: `ports.TrustList`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from smimefilter.trust.ctl import TrustListEntry

from .audit import tell
from .engine import Sessions
from .rows import TRUST_LIST, listing
from .tables import trust_list


class SqlTrustList:
    """`ports.TrustList` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def put(self, entry: TrustListEntry) -> bool:
        """Add or replace; whether there was none before."""
        row = {
            "thumbprint": entry.thumbprint,
            "listing": entry.listing.value,
            "allow_expired": entry.allow_expired,
            "note": entry.note,
        }
        async with self._sessions.writing() as transaction:
            new = await transaction.put(trust_list, row)
            expired = ", although expired" if entry.allow_expired else ""
            said = f"{entry.listing.value}{expired}: {entry.note}".removesuffix(": ")
            await tell(transaction, "trust list entry set", entry.thumbprint, said)
            return new

    async def remove(self, thumbprint: str) -> bool:
        """Whether it was there."""
        this = trust_list.c.thumbprint == thumbprint
        async with self._sessions.writing() as transaction:
            if not await transaction.write(sa.delete(trust_list).where(this)):
                return False
            await tell(transaction, "trust list entry removed", thumbprint)
            return True

    async def all(self) -> list[TrustListEntry]:
        """All entries, by thumbprint."""
        async with self._sessions.reading() as connection:
            return [listing(row) for row in await connection.execute(TRUST_LIST)]
