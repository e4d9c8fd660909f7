"""What correspondents say they read: `ports.Correspondents`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from smimefilter.base.algorithms import Capabilities
from smimefilter.ports.stores import Correspondent

from .audit import tell
from .engine import Sessions
from .tables import correspondents, moment, seconds

_c: Final = correspondents.c


class SqlCorrespondents:
    """`ports.Correspondents` over the table."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def put(self, found: Sequence[Correspondent]) -> None:
        """Add those of whom nothing newer is known, in one transaction."""
        async with self._sessions.writing() as transaction:
            for one in found:
                this = sa.select(_c.seen).where(_c.address == one.address)
                known = (await transaction.read(this)).scalar()
                if known is not None and known >= seconds(one.seen):
                    continue
                row = {"address": one.address, "capabilities": str(one.capabilities)}
                await transaction.put(correspondents, row | {"seen": seconds(one.seen)})

    async def remove(self, address: str) -> bool:
        """Whether it was there. `address` is a key."""
        async with self._sessions.writing() as transaction:
            this = sa.delete(correspondents).where(_c.address == address)
            if not await transaction.write(this):
                return False
            await tell(transaction, "correspondent forgotten", address)
            return True

    async def all(self) -> list[Correspondent]:
        """All, by address."""
        async with self._sessions.reading() as connection:
            rows = await connection.execute(sa.select(correspondents).order_by(_c.address))
            return [
                Correspondent(row.address, Capabilities.of(row.capabilities), moment(row.seen))
                for row in rows
            ]
