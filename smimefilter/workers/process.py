"""One worker process, as its supervisor knows it: started, ready, heard of lately, ended.

Leaves when to start and end it to `crew.py`. Raises `OSError` when it cannot be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import Final, Self

from .assignment import VARIABLE, Assignment
from .contact import READY, RELOAD, RELOADED, RETIRE

_OURS: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # systemd hears us alone


class Process:
    """It runs, or has."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._writer = writer
        self._reloaded = asyncio.Event()
        self._ready = asyncio.Event()
        self.started = self.heard = _now()  # by the loop's clock
        self._listening = asyncio.create_task(self._listen(reader))
        self._waiting = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, assignment: Assignment) -> Self:
        """The program once more, as it was started itself."""
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {k: v for k, v in os.environ.items() if k not in _OURS}
            environment[VARIABLE] = str(theirs.fileno())
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *sys.orig_argv[1:],
                    stdin=asyncio.subprocess.DEVNULL,
                    env=environment,
                    pass_fds=(theirs.fileno(), *assignment.descriptors),
                    process_group=0,  # what a terminal says is said to the supervisor
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        made = cls(process, reader, writer)
        made._say(assignment.line())
        return made

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it said so."""
        return self._ready.is_set()

    @property
    def has_ended(self) -> bool:
        """Whether it runs no longer."""
        return self._waiting.done()

    @property
    def silence(self) -> float:
        """Seconds since it was heard."""
        return _now() - self.heard

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return _now() - self.started

    async def ready(self, within: float) -> bool:
        """Wait until it is, or has ended, or the time is over; whether it is."""
        waiting = asyncio.create_task(self._ready.wait())
        both = {waiting, self._waiting}
        await asyncio.wait(both, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return self.is_ready and not self.has_ended

    async def ended(self) -> int:
        """Wait for its end; exit status, or minus the signal that ended it."""
        status = await asyncio.shield(self._waiting)
        self._listening.cancel()
        self._writer.close()
        return status

    async def reload(self, within: float) -> None:
        """Have it read the policies again, and wait until it has; one that is being started
        is told, and not waited for."""
        self._reloaded.clear()
        self._say(RELOAD)
        if not self.is_ready:
            return
        reloaded = asyncio.create_task(self._reloaded.wait())
        both = {reloaded, self._waiting}
        await asyncio.wait(both, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        reloaded.cancel()

    def retire(self) -> None:
        """Others take its place: it takes no new connection, and ends when the last one has."""
        self._say(RETIRE)

    def stop(self) -> None:
        """It ends once the mails under way are done with."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """It ends now."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _say(self, word: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(word)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, ValueError):
            while word := await reader.readline():
                self.heard = _now()
                if word == READY:
                    self._ready.set()
                elif word == RELOADED:
                    self._reloaded.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
