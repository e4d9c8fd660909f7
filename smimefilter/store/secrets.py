"""What proves the master key: `ports.Secrets`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from .audit import SET_UP, tell
from .engine import Sessions
from .tables import state


class SqlSecrets:
    """`ports.Secrets` over the state row."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def check_value(self) -> bytes | None:
        """A known text wrapped under the master key; None in a new store."""
        async with self._sessions.reading() as connection:
            return await connection.scalar(sa.select(state.c.check_value))

    async def set_check_value(self, check: bytes) -> None:
        """Remember it."""
        async with self._sessions.writing() as transaction:
            await transaction.write(sa.update(state).values(check_value=check))
            await tell(transaction, SET_UP, "master key")

    def hold(self, check: bytes) -> None:
        """Neither write nor load a state from now on once the value is another one."""
        self._sessions.hold(check)
