"""A private PostgreSQL for tests, with a new database for whoever asks for one.

    server = shared()                      # one for the whole test run
    url = server.new_database()            # set up, empty
    url = server.new_database(empty=True)  # without any table

    with Postgres() as server:             # one of one's own, to be stopped and killed
        server.kill()
        server.start()                     # on the same port, with what was committed

It lives in a folder of its own and listens on a loopback port, with a password, and on a socket
in that folder, without; the cluster of the system is neither used nor touched. As root it runs
as the user `postgres`, because it refuses to as root. It does not wait for the disk. Needs the
server's programs (Debian package postgresql). Raises `PostgresTrouble` with its log.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

from smimefilter.store.database import upgrade
from tests.support.needs import need_postgres
from tests.support.ports import ReservedPort
from tests.support.started import Started

USER: Final = "smimefilter"
PASSWORD: Final = "s3cret-word"
_SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "autovacuum": "off",
    "log_min_messages": "warning",
}
_TEMPLATE: Final = "set_up"


class PostgresTrouble(AssertionError):
    """PostgreSQL does not do what it should; says why."""


class Postgres(Started):
    """The server. Its port is known, and its own, from the start."""

    def __init__(self, **settings: str) -> None:
        """`settings`: further ones of the server, by name."""
        self._settings = _SETTINGS | settings
        self._programs = need_postgres()
        self._place = ReservedPort()
        self.port = self._place.number
        self._home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._home / "data"
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            os.chown(self._home, pwd.getpwnam(self._user).pw_uid, -1)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Run, with the databases it had when it ran before."""
        if not self._data.exists():
            self._initialise()
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres", "-D", self._data, "-k", self._home,
                    "-h", "127.0.0.1", "-p", str(self.port), *options,
                ],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._home,
            )  # fmt: skip
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it and all its sessions at once, as a power cut would."""
        process, self._process = self._process, None
        if process is not None:
            sessions = _children(process.pid)
            process.kill()
            for one in sessions:
                _send(one, signal.SIGKILL)
            process.wait()
            _wait_for_end(sessions)

    def freeze(self) -> None:
        """Say nothing more, on connections that stay open."""
        assert self._process is not None
        for one in (self._process.pid, *_children(self._process.pid)):
            _send(one, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        for one in (*_children(self._process.pid), self._process.pid):
            _send(one, signal.SIGCONT)

    def stop(self) -> None:
        """End, and forget everything."""
        self.kill()
        self._place.release()
        shutil.rmtree(self._home, ignore_errors=True)

    # databases

    def new_database(self, *, empty: bool = False) -> str:
        """The URL of a new one, over TCP with a password in it; set up, or without tables."""
        name = f"test_{next(self._numbers)}"
        if empty:
            self.sql(f"CREATE DATABASE {name}")
        else:
            if not self._has(_TEMPLATE):
                self.sql(f"CREATE DATABASE {_TEMPLATE}")
                _elsewhere(self.url(_TEMPLATE))
            self.sql(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return self.url(name)

    def url(self, name: str, *, password: str = PASSWORD) -> str:
        """Of a database of this name, as the settings have it."""
        return f"postgresql+asyncpg://{USER}:{password}@127.0.0.1:{self.port}/{name}"

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """Run these each by itself; what psql prints, unaligned and without headings."""
        commands = [part for statement in statements for part in ("-c", statement)]
        return self._run("psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *commands, database).strip()

    def disconnect(self, database: str) -> None:
        """End all sessions of a database, as its administrator can."""
        these = f"datname = '{database}' AND pid <> pg_backend_pid()"
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {these}")  # noqa: S608

    def _has(self, name: str) -> bool:
        return bool(self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))  # noqa: S608

    # the server

    def _initialise(self) -> None:
        word = self._home / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)  # its folder is for its user alone
        done = subprocess.run(
            [
                self._programs / "initdb", "-D", self._data, "-U", USER, "-E", "UTF8",
                "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256",
                f"--pwfile={word}", "--no-sync",
            ],
            user=self._user, cwd=self._home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PostgresTrouble(done.stdout + done.stderr)

    def _run(self, program: str, *arguments: str) -> str:
        where: Sequence[str] = ("-h", str(self._home), "-p", str(self.port), "-U", USER)
        done = subprocess.run(
            [self._programs / program, *where, *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PostgresTrouble(f"{program}: {done.stderr}\n{self._log()}")
        return done.stdout

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        end = time.monotonic() + 30
        ready = [self._programs / "pg_isready", "-q", "-h", self._home, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                raise PostgresTrouble(f"it does not start\n{self._log()}")
            time.sleep(0.03)

    def _log(self) -> str:
        return "\n".join((self._home / "log").read_text().splitlines()[-20:])


@cache
def shared() -> Postgres:
    """The one for the whole test run."""
    server = Postgres()
    atexit.register(server.stop)
    server.start()
    return server


def _elsewhere(url: str) -> None:
    """Set a database up, whether an event loop runs here or not."""
    with ThreadPoolExecutor() as threads:
        threads.submit(asyncio.run, upgrade(url)).result()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in tasks.read_text().split()]


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _wait_for_end(pids: Sequence[int]) -> None:
    """Whoever is a child of nobody any more is not waited for but looked for."""
    end = time.monotonic() + 10
    while any(_lives(pid) for pid in pids):
        if time.monotonic() > end:
            raise PostgresTrouble("its sessions do not end")
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
