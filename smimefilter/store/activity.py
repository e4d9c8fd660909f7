"""Who uses mail: `ports.ActiveUsers`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from smimefilter.ports.stores import ActiveUser
from smimefilter.trust.verdict import Purpose

from .engine import Sessions
from .tables import active_users, moment, seconds

_c: Final = active_users.c


class SqlActiveUsers:
    """`ports.ActiveUsers` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def put(self, users: Sequence[ActiveUser], forget_before: datetime) -> None:
        """Add or renew; those not seen since `forget_before` go."""
        async with self._sessions.keeping_books() as transaction:
            for user in users:
                row = {"address": user.address, "purpose": user.purpose.value}
                await transaction.put(active_users, row | {"seen": seconds(user.seen)})
            old = _c.seen < seconds(forget_before)
            await transaction.write(sa.delete(active_users).where(old))

    async def since(self, since: datetime) -> list[ActiveUser]:
        """Those seen since then, the longest ago first."""
        query = sa.select(_c.address, _c.purpose, _c.seen).where(_c.seen >= seconds(since))
        async with self._sessions.reading() as connection:
            rows = await connection.execute(query.order_by(_c.seen))
            return [
                ActiveUser(row.address, Purpose(row.purpose), moment(row.seen)) for row in rows
            ]
