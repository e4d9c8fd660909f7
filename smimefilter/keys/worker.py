"""One thread that does one job after the other, each with a deadline for whoever waits for it.

A call into a PKCS#11 module can hang for ever and cannot be broken off. Then whoever waits goes
on when the deadline has passed, and whoever comes next is told at once, until the call returns
after all. A process that was forked gets a thread of its own. Raises `NoAnswer`.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")
_Job = tuple[Future[Any], Callable[[], Any], float]


class NoAnswer(Exception):
    """The job was not done in time; it may still be."""


class Worker:
    """Jobs, one at a time."""

    def __init__(self, name: str) -> None:
        self._name: Final = name
        self._lock = threading.Lock()
        self._pid = 0
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._late_at = math.inf  # when nobody waits any more for the job under way

    @property
    def is_stuck(self) -> bool:
        """Whether a job is under way that nobody waits for any more."""
        return time.monotonic() > self._late_at

    def run(self, job: Callable[[], T], within: float) -> T:
        """The result of a job, or what it raises. Raises `NoAnswer` after so many seconds."""
        self._begin()
        if self.is_stuck:
            raise NoAnswer
        future: Future[T] = Future()
        self._jobs.put((future, job, time.monotonic() + within))
        wait([future], within)
        if not future.done():
            future.cancel()  # what has not begun never will
            raise NoAnswer
        return future.result()

    def _begin(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid, self._jobs, self._late_at = os.getpid(), SimpleQueue(), math.inf
            # A daemon: a call that hangs keeps no process from its end.
            thread = threading.Thread(
                target=self._work, args=(self._jobs,), name=self._name, daemon=True
            )
            thread.start()

    def _work(self, jobs: SimpleQueue[_Job]) -> None:
        while True:
            future, job, end = jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            self._late_at = end
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 - it is whose who waits
                future.set_exception(error)
            finally:
                self._late_at = math.inf
            del future, job  # not kept until the next one comes
