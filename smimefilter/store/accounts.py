"""Logins of the relay listener, with the hashes of their passwords: `ports.Accounts`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from .audit import tell
from .engine import Sessions
from .tables import accounts


class SqlAccounts:
    """`ports.Accounts` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def put(self, login: str, password_hash: str) -> bool:
        """Add or replace; whether there was none before."""
        row = {"login": login, "password_hash": password_hash}
        async with self._sessions.writing() as transaction:
            new = await transaction.put(accounts, row)
            event = "login added" if new else "password of a login changed"
            await tell(transaction, event, login)
            return new

    async def remove(self, login: str) -> bool:
        """Whether it was there."""
        async with self._sessions.writing() as transaction:
            this = accounts.c.login == login
            if not await transaction.write(sa.delete(accounts).where(this)):
                return False
            await tell(transaction, "login removed", login)
            return True

    async def all(self) -> list[str]:
        """All logins, sorted."""
        async with self._sessions.reading() as connection:
            return sorted(await connection.scalars(sa.select(accounts.c.login)))

    async def password_hash(self, login: str) -> str | None:
        """The hash to verify against, or None."""
        this = sa.select(accounts.c.password_hash).where(accounts.c.login == login)
        async with self._sessions.reading() as connection:
            return await connection.scalar(this)
