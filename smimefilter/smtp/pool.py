"""The connections to one next hop: so many at once, idle ones kept for a while and used again.

A connection that breaks before the next hop can have taken the mail is replaced by a fresh one,
once. Leaves what is done with a connection to the caller. Raises `NoDelivery`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from smimefilter.base.envelope import Deferred
from smimefilter.base.errors import Status
from smimefilter.config import NextHop

from .client import Connection, NoDelivery
from .connect import connect

T = TypeVar("T")
_BUSY: Final = Deferred(Status(4, "4.5"), "all connections to the next hop are busy")


class Pool:
    """Connections to `hop`, made as they are needed."""

    def __init__(self, hop: NextHop, hostname: str, context: ssl.SSLContext | None) -> None:
        self.hop = hop
        self.extensions: Mapping[str, str] | None = None  # as last announced
        self._hostname = hostname
        self._context = context
        self._slots = asyncio.Semaphore(hop.connections)
        self._idle: deque[Connection] = deque()  # longest idle first
        self._sweep: asyncio.TimerHandle | None = None

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The result of `work` on a connection. Raises `NoDelivery`."""
        await self._take_slot()
        try:
            try:
                return await self._run_on(self._idle_one() or await self._fresh(), work)
            except NoDelivery as trouble:
                if not trouble.again:
                    raise
            return await self._run_on(await self._fresh(), work)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close idle connections; those in use close when they come back."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().close()

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self.hop.timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise NoDelivery(_BUSY) from None

    async def _fresh(self) -> Connection:
        connection = await connect(self.hop, self._hostname, self._context)
        self.extensions = connection.extensions
        return connection

    def _idle_one(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _run_on(
        self, connection: Connection, work: Callable[[Connection], Awaitable[T]]
    ) -> T:
        try:
            result = await work(connection)
        except BaseException:
            connection.close()
            raise
        if connection.usable:
            self._keep(connection)
        return result

    def _keep(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(self.hop.idle, self._close_idle)

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        too_old = loop.time() - self.hop.idle
        while self._idle and self._idle[0].idle_since <= too_old:
            self._idle.popleft().close()
        if self._idle:
            wait = self._idle[0].idle_since - too_old
            self._sweep = loop.call_later(max(wait, 0.001), self._close_idle)
