"""Logins of the relay listener, with the hashes of their passwords: `ports.Accounts`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

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
            return await transaction.put(accounts, row)

    async def remove(self, login: str) -> bool:
        """Whether it was there."""
        async with self._sessions.writing() as transaction:
            return await transaction.write(sa.delete(accounts).where(accounts.c.login == login))

    async def all(self) -> list[str]:
        """All logins, sorted."""
        async with self._sessions.reading() as connection:
            return sorted(await connection.scalars(sa.select(accounts.c.login)))

    async def password_hash(self, login: str) -> str | None:
        """The hash to verify against, or None."""
        this = sa.select(accounts.c.password_hash).where(accounts.c.login == login)
        async with self._sessions.reading() as connection:
            return await connection.scalar(this)
