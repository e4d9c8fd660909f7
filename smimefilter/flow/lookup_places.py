"""How much of what mails miss is fetched at once, and how much may wait for that.

Room is taken in the name of shares: the host that is asked, and for answers of OCSP the CA
below the root that the certificate comes by. No share has more than its part of it, so whoever
answers slowly, or names many slow hosts, keeps nobody waiting but himself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

Shares = Mapping[str, int]
"""How much each share in whose name room is taken may have."""


class Room:
    """Counts what there is, up to so much of all shares together."""

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._taken: Final[Counter[str]] = Counter()
        self._all = 0

    def has(self, shares: Shares) -> bool:
        """Whether there is room for one more in the name of all of these."""
        free = all(self._taken[share] < most for share, most in shares.items())
        return free and self._all < self._most

    def enter(self, shares: Shares) -> None:
        """One more."""
        self._all += 1
        self._taken.update(shares.keys())

    def leave(self, shares: Shares) -> None:
        """One less."""
        self._all -= 1
        self._taken.subtract(shares.keys())
        for share in shares:
            if not self._taken[share]:
                del self._taken[share]


class Places:
    """Room that is waited for, first come first served among those who fit."""

    def __init__(self, most: int) -> None:
        self._room: Final = Room(most)
        self._waiting: Final[dict[asyncio.Future[None], Shares]] = {}

    @asynccontextmanager
    async def of(self, shares: Shares) -> AsyncIterator[None]:
        """Wait for a place in the name of these, and hold it."""
        await self._enter(shares)
        try:
            yield
        finally:
            self._leave(shares)

    async def _enter(self, shares: Shares) -> None:
        if self._room.has(shares):
            self._room.enter(shares)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = shares
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came at the same moment
                self._leave(shares)
            raise
        finally:
            self._waiting.pop(turn, None)

    def _leave(self, shares: Shares) -> None:
        self._room.leave(shares)
        for turn, wanted in self._waiting.items():
            if not turn.done() and self._room.has(wanted):
                self._room.enter(wanted)
                turn.set_result(None)
