"""Preferences set in the database: `ports.Preferences`."""

from __future__ import annotations

import json
from typing import Final

import sqlalchemy as sa

from smimefilter.ports.stores import StoredPreference

from .audit import tell
from .engine import Sessions
from .rows import PREFERENCES, preference
from .tables import preferences


class SqlPreferences:
    """`ports.Preferences` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def put(self, preference: StoredPreference) -> None:
        """Set one; replaces what was set at this scope."""
        row = {
            "scope": preference.scope,
            "name": preference.name,
            "value": preference.value,
            "wrapped": preference.wrapped,
        }
        async with self._sessions.writing() as transaction:
            await transaction.put(preferences, row)
            said = "(secret)" if preference.wrapped else json.dumps(preference.value)
            about = f"{preference.scope} {preference.name}"
            await tell(transaction, "preference set", about, said)

    async def remove(self, scope: str, name: str) -> bool:
        """Whether it was set."""
        async with self._sessions.writing() as transaction:
            this = preferences.c.scope == scope, preferences.c.name == name
            if not await transaction.write(sa.delete(preferences).where(*this)):
                return False
            await tell(transaction, "preference unset", f"{scope} {name}")
            return True

    async def all(self) -> list[StoredPreference]:
        """All, by scope and name."""
        async with self._sessions.reading() as connection:
            return [preference(row) for row in await connection.execute(PREFERENCES)]
