"""The workers that go by the same settings, each in a place that is filled again when it ends.

A crew is raised as a whole or not at all: the first worker alone, since it brings the database
up to date and finds out what is wrong with the settings, then the others at once. From then on
a worker that ends is replaced: at once, or where ends come soon after another, after a wait
that doubles. One that is silent for too long hangs, and is killed.

Leaves processes to `process.py`, when to do what to `supervisor.py`. Raises `NoCrew`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from smimefilter.base.errors import AdminError
from smimefilter.ports.journal import Journal

from .assignment import Assignment
from .process import Process

PATIENCE: Final = 110.0  # seconds for a start; systemd allows 120 for all
LASTED: Final = 30.0  # seconds at work, after which an end is not held against a worker
FIRST_WAIT: Final = 1.0  # seconds, from the second end on that came too soon
LONGEST_WAIT: Final = 30.0

Forget = Callable[[str], None]  # told the id of a worker that has ended


class NoCrew(AdminError):
    """A worker did not begin its work. It has said itself why, as a rule."""


class Place:
    """Where a worker is, or will be again."""

    def __init__(self, assignment: Assignment, journal: Journal, forget: Forget) -> None:
        self._assignment = assignment
        self._journal = journal
        self._forget = forget
        self._keeper: asyncio.Task[None] | None = None
        self.process: Process | None = None  # None: it waits to be started

    async def begin(self) -> None:
        """Start its first worker. Raises `NoCrew`."""
        try:
            self.process = process = await Process.start(self._assignment)
        except OSError as error:
            raise NoCrew(f"a worker cannot be started: {error.strerror or error}") from None
        if not await process.ready(PATIENCE):
            ended = process.has_ended
            process.kill()
            status = called(await process.ended())
            self._forget(self._assignment.id)
            why = f"ended ({status})" if ended else "did not become ready in time"
            raise NoCrew(f"worker {self._assignment.number} {why}", mend="see what it said")

    def keep(self) -> None:
        """Replace it from now on."""
        self._keeper = asyncio.create_task(self._keep())

    def leave(self) -> None:
        """Replace it no longer."""
        if self._keeper is not None:
            self._keeper.cancel()

    async def gone(self, grace: float) -> None:
        """Wait for the end of a worker that was told to end, so long and no longer."""
        process = self.process
        if process is None:
            return
        try:
            async with asyncio.timeout(grace):
                await process.ended()
        except TimeoutError:
            process.kill()
            await process.ended()
        self.process = None
        self._forget(self._assignment.id)

    async def _keep(self) -> None:
        soon = 0  # ends in a row that came too soon
        assignment = replace(self._assignment, upgrade=False)
        while True:
            soon = await self._ended(soon)
            self.process = None
            self._forget(assignment.id)
            await asyncio.sleep(_wait(soon))
            try:
                self.process = process = await Process.start(assignment)
            except OSError as error:
                self._journal.trouble("worker not started", error, worker=assignment.number)
                continue
            if await process.ready(PATIENCE):
                self._journal.note("worker started", worker=assignment.number, pid=process.pid)
            else:
                process.kill()

    async def _ended(self, soon: int) -> int:
        """Wait for its end and tell of it; how many ends in a row came too soon by now."""
        process = self.process
        if process is None:
            return soon + 1
        status = await process.ended()
        soon = 0 if process.is_ready and process.age > LASTED else soon + 1
        self._journal.warn(
            "worker ended",
            worker=self._assignment.number,
            pid=process.pid,
            status=called(status),
            again_in=_wait(soon),
        )
        return soon

    def look(self, patience: float) -> None:
        """Kill a worker that has been silent for longer than this."""
        process = self.process
        if process and process.is_ready and process.silence > patience:
            self._journal.warn(
                "worker hangs",
                worker=self._assignment.number,
                pid=process.pid,
                silent=round(process.silence),
            )
            process.heard += patience  # it is not told of again and again while it ends
            process.kill()


class Crew:
    """All workers of the same settings."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        journal: Journal,
        forget: Forget,
        over: Callable[[], None],
    ) -> None:
        """`over`: called when the last worker has ended for good."""
        self._over = over
        self._places = [Place(one, journal, forget) for one in assignments]

    async def begin(self) -> None:
        """Start all. Raises `NoCrew`, and leaves none behind."""
        first, *others = self._places
        try:
            await first.begin()
            async with asyncio.TaskGroup() as tasks:
                for one in others:
                    tasks.create_task(one.begin())
        except BaseException as error:
            for process in self.processes:
                process.kill()
            await self._gone(0)
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        for one in self._places:
            one.keep()

    @property
    def processes(self) -> list[Process]:
        """Those that run, as far as is known."""
        return [one.process for one in self._places if one.process is not None]

    def look(self, patience: float) -> None:
        """Kill workers that hang."""
        for one in self._places:
            one.look(patience)

    def is_alive(self, within: float) -> bool:
        """Whether there is a worker that takes mail, and each of them was heard lately."""
        ready = [process for process in self.processes if process.is_ready]
        return bool(ready) and all(process.silence <= within for process in ready)

    async def reload(self, within: float) -> None:
        """Have all read the policies again."""
        await asyncio.gather(*(process.reload(within) for process in self.processes))

    async def retire(self, grace: float) -> None:
        """Have them end, others having taken their places: clients need not notice."""
        await self._end(Process.retire, grace)

    async def stop(self, grace: float) -> None:
        """Have them end, once the mails under way are done with."""
        await self._end(Process.stop, grace)

    async def _end(self, tell: Callable[[Process], None], grace: float) -> None:
        for one in self._places:
            one.leave()
        for process in self.processes:
            tell(process)
        await self._gone(grace)

    async def _gone(self, grace: float) -> None:
        await asyncio.gather(*(one.gone(grace) for one in self._places))
        over, self._over = self._over, _nothing
        over()


def _nothing() -> None:
    """It was over before."""


def called(status: int) -> str:
    """An exit status, or the signal that ended a process."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _wait(soon: int) -> float:
    """Seconds until the next start, after so many ends in a row that came too soon."""
    return 0.0 if soon < 2 else min(FIRST_WAIT * 2.0 ** (soon - 2), LONGEST_WAIT)
