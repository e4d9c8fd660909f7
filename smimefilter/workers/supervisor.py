"""The process that starts the workers, and that systemd knows.

It binds every listening socket once, and each worker inherits all of them: a connection waits
for whoever is free, and none is refused while a worker dies or is replaced. It opens no store
and reads no key. SIGTERM has the workers end their mails; SIGHUP has them read the policies
again, and where the settings have changed puts new workers in the place of the old ones, which
go on until their clients are done. Settings that no worker can begin with change nothing.

`docs/decisions/0016-workers.md`. Leaves the workers to `crew.py`, reading settings to the
caller. Raises `AdminError` when it cannot begin.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from smimefilter import __version__
from smimefilter.base.errors import AdminError
from smimefilter.config import Metrics
from smimefilter.obs import systemd
from smimefilter.ports.journal import Journal

from .assignment import Assignment
from .crew import Crew
from .numbers import Numbers
from .sockets import Door, Doors

HANGS: Final = 30.0  # seconds of silence of a worker, where systemd sets no watchdog
LOOK: Final = 1.0  # seconds between looks at the workers
RELOAD: Final = 60.0  # seconds that reading policies may take a worker
CUT: Final = 10.0  # seconds that a worker may take to end, beyond the grace of its mails


@dataclass(frozen=True, slots=True)
class Work:
    """What a supervisor has to know of the settings."""

    name: str  # of their file
    text: str = field(repr=False)  # may hold passwords
    workers: int
    doors: Sequence[Door]  # what is listened on: the listeners in their order, then `publish`
    metrics: Metrics | None


class Supervisor:
    """Runs until it is told to stop."""

    def __init__(
        self,
        read: Callable[[], Work],
        make_board: Callable[[int], int],
        journal: Journal,
        grace: float,
    ) -> None:
        """`read`: the settings as they are now; raises `AdminError`. `make_board`: a descriptor
        of memory that so many workers share. `grace`: seconds that mails under way have to end
        in."""
        self._read = read
        self._make_board = make_board
        self._journal = journal
        self._grace = grace
        self._doors = Doors()
        self._numbers = Numbers(self._standing)
        self._crews = 0
        self._work: Work
        self._crew: Crew
        self._retiring: dict[Crew, asyncio.Task[None]] = {}
        self._ending = asyncio.Event()
        self._asked = asyncio.Event()  # to reload
        interval = systemd.watchdog_interval()
        self._hangs = HANGS if interval is None else interval
        self._look = LOOK if interval is None else min(LOOK, interval / 4)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises `AdminError` when it cannot begin."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        try:
            if await self._unless_told_to_end(self._begin()):
                await self._go_on()
        finally:
            self._doors.close()
            self._numbers.close()

    async def _begin(self) -> None:
        self._work, self._crew = await self._raised(self._read())
        self._tell_of_doors()

    async def _go_on(self) -> None:
        systemd.notify("READY=1")
        workers = self._work.workers
        self._journal.note("ready", version=__version__, pid=os.getpid(), workers=workers)
        looking = asyncio.create_task(self._look_after())
        try:
            while not self._ending.is_set():
                if await self._unless_told_to_end(self._asked.wait()):
                    self._asked.clear()
                    await self._unless_told_to_end(self._reload())
            systemd.notify("STOPPING=1")
            self._journal.note("stopping")
        finally:
            looking.cancel()
            self._doors.close()  # whoever connects now is refused at once
            crews = [self._crew, *self._retiring]
            ends = [crew.stop(self._grace + CUT) for crew in crews]
            await asyncio.gather(
                looking, *self._retiring.values(), *ends, return_exceptions=True
            )

    async def _unless_told_to_end(self, work: Coroutine[Any, Any, object]) -> bool:
        """Do this; whether it was done before the end was told. Raises what it raises."""
        task = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    def _standing(self) -> tuple[int, int]:
        """How many workers take mail, and how many should."""
        if not hasattr(self, "_crew"):  # they are only just begun
            return 0, 1
        at_work = [one for one in self._crew.processes if one.is_ready]
        return len(at_work), self._work.workers

    # crews

    async def _raised(self, work: Work) -> tuple[Work, Crew]:
        """Workers that go by these settings, at work. Raises `AdminError`."""
        sockets = self._doors.open(work.doors)
        folder = self._numbers.prepare(work.metrics)
        self._crews += 1
        board = self._make_board(work.workers)
        assignment = Assignment(
            name=work.name,
            text=work.text,
            crew=self._crews,
            sockets=tuple(tuple(one.fileno() for one in door) for door in sockets),
            numbers=folder,
            board=board,
            of=work.workers,
        )
        assignments = [
            replace(assignment, number=number, upgrade=number == 1)
            for number in range(1, work.workers + 1)
        ]
        crew = Crew(assignments, self._journal, self._numbers.forget, partial(os.close, board))
        await crew.begin()
        self._doors.keep(work.doors)
        self._numbers.settle(taken=True)
        return work, crew

    async def _reload(self) -> None:
        """As SIGHUP asks for."""
        systemd.reloading()
        try:
            work = self._read()
            if work == self._work:
                await self._crew.reload(RELOAD)
            else:
                await self._replace(work)
        except AdminError as error:
            self._journal.trouble("settings not reloaded, the old ones stay", error)
            self._numbers.settle(taken=False)
            self._doors.keep(self._work.doors)
            await self._crew.reload(RELOAD)
        systemd.notify("READY=1")

    async def _replace(self, work: Work) -> None:
        """New workers, then the old ones retire."""
        old = self._crew
        self._work, self._crew = await self._raised(work)
        task = asyncio.create_task(old.retire(2 * self._grace + CUT))
        self._retiring[old] = task
        task.add_done_callback(lambda _: self._retiring.pop(old))
        self._journal.note("settings reloaded", workers=work.workers)
        self._tell_of_doors()

    def _tell_of_doors(self) -> None:
        doors = self._work.doors
        for door, sockets in zip(doors, self._doors.open(doors), strict=True):
            self._journal.note(
                "listening",
                protocol=door.purpose,
                address=door.address,
                port=sockets[0].getsockname()[1],
            )

    async def _look_after(self) -> None:
        """Look at the workers now and then, and tell systemd as long as they are alive."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._look
            await asyncio.sleep(self._look)
            if loop.time() - due > self._look:
                continue  # we were held up ourselves: what they said is not read yet
            for crew in (self._crew, *self._retiring):
                crew.look(self._hangs)
            if self._crew.is_alive(self._hangs / 2):
                systemd.notify("WATCHDOG=1")
