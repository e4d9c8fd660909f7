"""The life of a process that serves: it says that it is ready, and alive; it hears signals.

SIGTERM and SIGINT end it, SIGHUP has it read the policies again. Whoever manages it is systemd,
or for a worker its supervisor, which may also have it retire. Raises what its keeper raises.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from smimefilter.obs import systemd

from .contact import RELOAD, RETIRE, Contact


class Manager(Protocol):
    """Whoever wants to know how we are."""

    interval: float | None  # seconds between signs of life; None: none are wanted

    def ready(self) -> None:
        """We take mail."""

    def alive(self) -> None:
        """A sign of life."""

    def reloading(self) -> None:
        """Policies are being read."""

    def reloaded(self) -> None:
        """They were."""

    def stopping(self) -> None:
        """We take mail no longer."""


class Systemd:
    """`Manager` of a process that has no supervisor."""

    def __init__(self) -> None:
        self.interval = systemd.watchdog_interval()

    def ready(self) -> None:
        """We take mail."""
        systemd.notify("READY=1")

    def alive(self) -> None:
        """A sign of life."""
        systemd.notify("WATCHDOG=1")

    def reloading(self) -> None:
        """Policies are being read."""
        systemd.reloading()

    def reloaded(self) -> None:
        """They were."""
        systemd.notify("READY=1")

    def stopping(self) -> None:
        """We take mail no longer."""
        systemd.notify("STOPPING=1")


class Life:
    """Of this process."""

    def __init__(
        self,
        manager: Manager,
        *,
        reload: Callable[[], Awaitable[None]],
        retire: Callable[[], Awaitable[None]],
    ) -> None:
        """`reload` reads the policies again; `retire` takes no new client and waits until the
        last one is gone, or for long enough."""
        self._manager = manager
        self._do_reload = reload
        self._do_retire = retire
        self._ending = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def last(self, keeper: asyncio.Task[None] | None, begun: Callable[[], None]) -> None:
        """Until the end is told. A keeper that fails is a defect: better begin anew than go on
        with what once was. `begun` is called when all know that we are ready."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._reload()))
        if isinstance(self._manager, Contact):
            self._begin(self._listen(self._manager))
        gc.collect()
        gc.freeze()  # what was loaded stays: collections need not walk it again and again
        self._manager.ready()
        begun()
        await self._until_told(keeper)
        self._manager.stopping()

    async def _until_told(self, keeper: asyncio.Task[None] | None) -> None:
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(self._ending.wait())}
        if keeper is not None:
            waits.add(keeper)
        while not self._ending.is_set():
            await asyncio.wait(
                waits, timeout=self._manager.interval, return_when=asyncio.FIRST_COMPLETED
            )
            if keeper is not None and keeper.done():
                keeper.result()
            self._manager.alive()

    async def _listen(self, contact: Contact) -> None:
        """When the supervisor is gone, so are we."""
        try:
            await contact.hear({RELOAD: self._reload, RETIRE: self._retire})
        finally:
            self._ending.set()

    async def _reload(self) -> None:
        self._manager.reloading()
        await self._do_reload()
        self._manager.reloaded()

    async def _retire(self) -> None:
        self._begin(self._retire_and_end())

    async def _retire_and_end(self) -> None:
        await self._do_retire()
        self._ending.set()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
