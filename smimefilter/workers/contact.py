"""A worker's side of the line to its supervisor: it says that it is ready, and alive; it hears
that policies are to be read again, or that others take its place.

When the line breaks the supervisor is gone, and the worker ends as if it had been told to.

Leaves what to do to whoever is called. Raises nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from .assignment import Assignment

READY: Final = b"ready\n"
ALIVE: Final = b"alive\n"
RELOADED: Final = b"reloaded\n"
RELOAD: Final = b"reload\n"
RETIRE: Final = b"retire\n"
BEAT: Final = 1.0  # seconds between signs of life


class Contact:
    """The line, as the worker has it."""

    interval: float | None = BEAT

    def __init__(self, assignment: Assignment, line: socket.socket) -> None:
        self.assignment = assignment
        self._line = line
        line.setblocking(False)

    def ready(self) -> None:
        """It takes mail from now on."""
        self._say(READY)

    def alive(self) -> None:
        """Its event loop goes round."""
        self._say(ALIVE)

    def reloading(self) -> None:
        """The supervisor knows."""

    def reloaded(self) -> None:
        """Policies were read again, or are as they were."""
        self._say(RELOADED)

    def stopping(self) -> None:
        """The supervisor knows."""

    async def hear(self, heard: Mapping[bytes, Callable[[], Awaitable[None]]]) -> None:
        """Do what the supervisor says, until it is gone."""
        reader, writer = await asyncio.open_connection(sock=self._line.dup())
        with contextlib.suppress(OSError):
            while said := await reader.readline():
                if said in heard:
                    await heard[said]()
        writer.close()

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone, which `hear` finds out, or very slow
            self._line.send(word)
