"""The whole state at one revision: `ports.States`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from smimefilter.base.algorithms import Capabilities
from smimefilter.ports.stores import CertificateEntry, StoreState

from .engine import Sessions
from .listening import listen
from .rows import CRLS, PREFERENCES, SNAPSHOT, TRUST_LIST, crl, entry, listing, preference
from .tables import correspondents, private_keys, state

_AT_ONCE: Final = 2000  # certificates; between such pieces other work gets its turn
_REVISION: Final = sa.select(state.c.revision)
_CHECK: Final = sa.select(state.c.check_value)
_CAPABILITIES: Final = sa.select(correspondents.c.address, correspondents.c.capabilities)
_KEYS: Final = sa.select(private_keys.c.thumbprint, private_keys.c.blob)


class SqlStates:
    """`ports.States` over the tables."""

    def __init__(self, sessions: Sessions, engine: AsyncEngine) -> None:
        self._sessions: Final = sessions
        self._engine: Final = engine

    async def revision(self) -> int:
        """The current revision; one row read."""
        async with self._sessions.reading() as connection:
            return await _revision(connection)

    async def listen(self, told: Callable[[], None]) -> None:
        """Call `told` when something may have changed, where the database tells so."""
        if self._engine.dialect.name == "postgresql":
            await listen(self._engine, told)

    async def load(self) -> StoreState:
        """Everything at one revision; 100 000 certificates take about a second."""
        async with self._sessions.reading() as connection:
            self._sessions.still_ours(await connection.scalar(_CHECK))
            keys = {row.thumbprint: row.blob for row in await connection.execute(_KEYS)}
            return StoreState(
                revision=await _revision(connection),
                certificates=await _certificates(connection, keys),
                keys=keys,
                crls=[crl(row) for row in await connection.execute(CRLS)],
                trust_list=[listing(row) for row in await connection.execute(TRUST_LIST)],
                preferences=[preference(row) for row in await connection.execute(PREFERENCES)],
                capabilities={
                    row.address: Capabilities.of(row.capabilities)
                    for row in await connection.execute(_CAPABILITIES)
                },
            )


async def _revision(connection: AsyncConnection) -> int:
    return int((await connection.execute(_REVISION)).scalar_one())


async def _certificates(
    connection: AsyncConnection, keys: Mapping[str, bytes]
) -> list[CertificateEntry]:
    found: list[CertificateEntry] = []
    async with connection.stream(SNAPSHOT) as rows:
        async for piece in rows.partitions(_AT_ONCE):
            found.extend(entry(row, keys) for row in piece)
    return found
