"""What may happen to a filter in a bad week, one thing after another.

Each trouble is a context: it begins, lasts as long as the caller likes, and is over. What is
left behind is what would be left in life: a mail half handed over, a CRL that stays.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.dialogue import CutError
from tests.support.postoffice import DATABASE, ERIN, POLICY, Installation
from tests.support.program import ProgramTrouble
from tests.support.sink import Mail, Sink, Stage, Weather

ROOM: Final = "48m"  # of the small disk
REPLIES: Final = (
    "451 4.3.0 chaos", "452 4.3.1 chaos", "554 5.3.0 chaos", "421 4.3.2 chaos",
    "chaos reigns", None,
)  # fmt: skip
STAGES: Final = (Stage.CONNECT, Stage.HELLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.CONTENT)
OTHER_POLICY: Final = POLICY + "  - {domain: free.test, preferences: {encrypt: mandatory}}\n"
BROKEN_POLICY: Final = POLICY + "  - domain: [\n"

Trouble = Callable[[], AbstractContextManager[None]]


class Forgetful(Sink):
    """A next hop that keeps `forgets` mails and is gone before it says so: each comes twice,
    and nobody can help it (RFC 1047)."""

    forgets = 0
    forgot = 0

    def keep(self, mail: Mail) -> None:
        super().keep(mail)
        if self.forgets:
            self.forgets -= 1
            self.forgot += 1
            raise CutError


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of its own for a folder, soon full; whether this machine lets us have one."""
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=700", "tmpfs", str(folder)],
        check=False, capture_output=True,
    ).returncode  # fmt: skip
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class Troubles:
    """All of them, over one installation and its next hop."""

    def __init__(
        self, office: Installation, sink: Forgetful, chance: random.Random, *, disk: bool
    ) -> None:
        self._office = office
        self._sink = sink
        self._chance = chance
        self.kills: list[float] = []  # when, by the monotonic clock
        self._revoked = False
        self.all: dict[str, Trouble] = {
            "kill -9": self.killed,
            "next hop answers wrongly": self.rude,
            "next hop says nothing": self.silent,
            "next hop flaps": self.flapping,
            "next hop forgets to answer": self.forgetful,
            "database locked": self.locked,
            "policy changes": self.changed,
            "policy broken": self.broken,
            "CRL revokes somebody": self.revoking,
        }
        if disk:
            self.all["disk full"] = self.full

    @contextmanager
    def killed(self) -> Iterator[None]:
        """A process of the filter dies; whoever looks after it starts it again."""
        program = self._office.program
        victims = _children(program.pid) or [program.pid]
        victim = self._chance.choice(victims)
        self.kills.append(time.monotonic())
        if victim == program.pid:
            program.kill()
            _start(self._office)
        else:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        yield

    @contextmanager
    def rude(self) -> Iterator[None]:
        for _ in range(3):
            reply, stage = self._chance.choice(REPLIES), self._chance.choice(STAGES)
            self._sink.answer(stage, reply, times=self._chance.randint(1, 15))
        yield
        self._sink.behave()

    @contextmanager
    def silent(self) -> Iterator[None]:
        stage = self._chance.choice(STAGES)
        self._sink.answer(stage, "451 4.3.0 too late", times=5, delay=5)
        yield
        self._sink.behave()

    @contextmanager
    def flapping(self) -> Iterator[None]:
        other = self._chance.choice([Weather.REFUSE, Weather.BUSY, Weather.DROP])
        self._sink.flap([(0.3, other), (0.3, Weather.FINE)])
        yield
        self._sink.behave()

    @contextmanager
    def forgetful(self) -> Iterator[None]:
        self._sink.forgets = 3
        yield
        self._sink.forgets = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        file = self._office.home / DATABASE
        with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as database:
            with suppress(sqlite3.OperationalError):
                database.execute("begin exclusive")
            yield

    @contextmanager
    def changed(self) -> Iterator[None]:
        self._office.settings(OTHER_POLICY)
        yield
        self._office.settings(POLICY)

    @contextmanager
    def broken(self) -> Iterator[None]:
        self._office.settings(BROKEN_POLICY)
        yield
        self._office.settings(POLICY)

    @contextmanager
    def revoking(self) -> Iterator[None]:
        if not self._revoked:
            self._revoked = True
            self._office.program.run("crl", "import", str(self._office.people.crl(ERIN)))
        yield

    @contextmanager
    def full(self) -> Iterator[None]:
        ballast = self._office.home / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        yield
        ballast.unlink()


def _start(office: Installation, attempts: int = 20) -> None:
    """As systemd does: again, until it runs."""
    for _ in range(attempts - 1):
        with suppress(ProgramTrouble):
            return office.program.start()
        time.sleep(0.5)
    return office.program.start()


def _children(pid: int) -> Sequence[int]:
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in file.read_text().split()] if file.exists() else []
