"""Takes connections from a listening socket that other processes take from as well.

They all wake when somebody connects, and whoever is quickest would get him, of many connections
at once nearly all. So one that has more connections than another waits for a moment first, in
which the other one takes it if it can; if it cannot, because it is busy or gone, nobody waits
for longer than that.

Leaves what is said to the protocol. Raises nothing.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

COURTESY: Final = 0.003  # seconds that others have to take a connection in
PAUSE: Final = 1.0  # seconds, where the system has no descriptor for another one
_NUMBER: Final = struct.Struct("=q")


class Board:
    """How many connections each of several processes has, in memory that they share. What one
    that died has left there is put right by whoever takes its place; until then others wait in
    vain for a moment, and no longer."""

    def __init__(self, descriptor: int, mine: int, of: int) -> None:
        """`descriptor`: of `make`; `mine`: the place of this process, from 0."""
        self._memory = mmap.mmap(descriptor, of * _NUMBER.size)
        self._mine = mine
        self._others = [place for place in range(of) if place != mine]
        self._count = 0
        self.change(0)

    @staticmethod
    def make(of: int) -> int:
        """A descriptor of memory for so many processes, all zero."""
        descriptor = os.memfd_create("connections")
        os.ftruncate(descriptor, of * _NUMBER.size)
        return descriptor

    def change(self, by: int) -> None:
        """This process has so many more, or fewer."""
        self._count += by
        _NUMBER.pack_into(self._memory, self._mine * _NUMBER.size, self._count)

    @property
    def yields(self) -> bool:
        """Whether another one has fewer."""
        return any(
            _NUMBER.unpack_from(self._memory, place * _NUMBER.size)[0] < self._count
            for place in self._others
        )


class Accepting:
    """Of one socket, which is closed with it."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        board: Board,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._protocol = protocol
        self._board = board
        self._later: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Task[object]] = set()
        self._loop.add_reader(listening, self._somebody_is_there)

    def close(self) -> None:
        """Take no more."""
        if self._later is not None:
            self._later.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _somebody_is_there(self) -> None:
        if self._board.yields:
            self._wait(COURTESY, self._take)
        else:
            self._take()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening)

        def go_on() -> None:
            self._later = None
            self._loop.add_reader(self._listening, self._somebody_is_there)
            then()

        self._later = self._loop.call_later(seconds, go_on)

    def _take(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # somebody else was quicker, or he is gone
        except OSError as error:
            log.warning("no connection can be taken: %s", error.strerror)
            self._wait(PAUSE, lambda: None)
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._begin(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:
            connection.close()
