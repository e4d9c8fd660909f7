"""A filter of several workers, and load on it.

`worker_pids` and `frozen` reach single workers; `Load` sends mails by smtp-source(1), which
ends with an error as soon as one connection is refused or one mail is not taken.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.needs import need
from tests.support.program import Program
from tests.support.started import Started

_A_RUN: Final = 40  # mails


def worker_pids(program: Program) -> list[int]:
    """The processes that the supervisor has started, the oldest first."""
    pid = program.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return sorted(map(int, children.split()), key=_age)


def _age(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[19])


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or nothing of it but its entry."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A worker that does nothing for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it was replaced meanwhile
            os.kill(pid, signal.SIGCONT)


def ready_again(program: Program, number: int = 1) -> None:
    """Wait until so many workers have taken the places of dead ones."""
    program.wait_for_event("worker started", number=number, timeout=60)


class Load(Started):
    """Mails without a pause, from the start until `stop`, which fails if one was refused."""

    def __init__(self, port: int, *, sessions: int = 4) -> None:
        self.sent = 0
        self._command = (
            need("smtp-source"), "-s", str(sessions), "-m", str(_A_RUN), "-l", "2000",
            "-f", "alice@in.test", "-t", "dave@clear.test", f"inet:127.0.0.1:{port}",
        )  # fmt: skip
        self._over = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._send)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _send(self) -> None:
        while not self._over.is_set() and not self._trouble:
            done = subprocess.run(
                self._command, capture_output=True, text=True, timeout=120, check=False
            )
            if done.returncode:
                self._trouble = done.stderr or f"exit code {done.returncode}"
            else:
                self.sent += _A_RUN

    def stop(self) -> None:
        """End, once the run under way has."""
        self._over.set()
        self._thread.join()
        assert not self._trouble, self._trouble
