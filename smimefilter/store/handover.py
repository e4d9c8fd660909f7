"""The hand-over journal: a SQLite file of its own, `ports.handover.HandOvers`.

It is apart from the database, because every mail that comes by SMTP asks it: it must not wait
for a server, nor for somebody who imports certificates. Processes of one host share it. Asking
is a look into an index, done on the spot; writing is done by a thread, all that waits for it in
one transaction, and is on disk when it is done (`synchronous=FULL`). What is being worked on is
held by locks of a file beside it, which end with the process, however that ends.

Entries go when they are forgotten, after `KEPT`, and the oldest when there are too many.
Raises `AdminError` on opening, `StoreTrouble` later.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from smimefilter.base.envelope import Delivered, Notified, Refused
from smimefilter.base.errors import AdminError, Status
from smimefilter.ports.handover import Settled
from smimefilter.ports.stores import StoreTrouble

KEPT: Final = timedelta(days=7)  # longer than mail servers try
MOST: Final = 200_000  # entries: about 40 MB
_PROVEN_FOR: Final = 5.0  # seconds
_BUSY_TIMEOUT: Final = 10.0  # seconds another process is waited for
_READ_TIMEOUT: Final = 500  # milliseconds: nothing else is done meanwhile, and it is rare
_TIDIED_EVERY: Final = 256  # transactions
_TROUBLE: Final = (sqlite3.Error, OSError)
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS settled (
    mail BLOB NOT NULL, recipient BLOB NOT NULL, at INTEGER NOT NULL,
    status TEXT NOT NULL, queue_id TEXT NOT NULL, text TEXT NOT NULL,
    by_policy INTEGER NOT NULL,
    PRIMARY KEY (mail, recipient)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS settled_at ON settled (at);
CREATE TABLE IF NOT EXISTS proof (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
"""
_KNOWN: Final = (
    "SELECT recipient, status, queue_id, text, by_policy FROM settled WHERE mail = ?"
)
_ADD: Final = "INSERT OR IGNORE INTO settled VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET: Final = "DELETE FROM settled WHERE mail = ? AND recipient = ?"
_PROVE: Final = "INSERT OR REPLACE INTO proof VALUES (1, ?)"
_TIDY: Final = "DELETE FROM settled WHERE at < ?"
_TOO_MANY: Final = """
DELETE FROM settled WHERE (mail, recipient) IN (
    SELECT mail, recipient FROM settled ORDER BY at
    LIMIT max(0, (SELECT count(*) FROM settled) - ?)
)
"""

_Row = tuple[object, ...]
_Change = tuple[str, list[_Row]]


class SqliteHandOvers:
    """The journal in a file. One for an event loop; `open` before use."""

    def __init__(self, path: Path, clock: Callable[[], datetime], *, most: int = MOST) -> None:
        self._path = path
        self._clock = clock
        self._most = most
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._locks = -1
        self._claimed: set[bytes] = set()
        self._waiting: list[tuple[_Change, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._written = 0  # transactions
        self._proven_until = 0.0  # loop time

    def open(self) -> None:
        """Open the file, or make it, for its owner alone. Raises `AdminError`."""
        try:
            claims = self._path.with_name(f"{self._path.name}-claims")
            self._locks = os.open(claims, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._locks, fcntl.LOCK_EX)  # SQLite sets up a file for one at a time
            _make(self._path)
            self._writer = _connected(self._path)
            _look_at(self._writer)
            self._writer.executescript(_TABLES)
            self._reader = _connected(self._path)
            self._reader.execute(f"PRAGMA busy_timeout={_READ_TIMEOUT}")
            self._tidy(self._writer)
            fcntl.flock(self._locks, fcntl.LOCK_UN)
        except _TROUBLE as error:
            self._shut()
            raise AdminError(
                f"the hand-over journal cannot be opened: {_said(error)}",
                where=str(self._path),
                mend="make the daemon's user owner of the file and its folder; a damaged one "
                "may be removed, then mail under way may come twice",
            ) from None

    async def close(self) -> None:
        """What waits is written first."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        self._shut()

    def _shut(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._reader = self._writer = None
        if self._locks >= 0:
            os.close(self._locks)
            self._locks = -1

    # asking

    def known(self, mail: bytes) -> Mapping[bytes, Settled]:
        """Recipients that are done with, and how."""
        try:
            with closing(_there(self._reader).execute(_KNOWN, (mail,))) as found:
                return {row[0]: _fate(*row[1:]) for row in found}
        except (*_TROUBLE, ValueError) as error:
            raise StoreTrouble(f"hand-over journal: {_said(error)}") from error

    def claim(self, name: bytes) -> bool:
        """Whether nobody else works on it."""
        if name in self._claimed:
            return False
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except (BlockingIOError, PermissionError):
            return False
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise StoreTrouble(f"hand-over journal: {_said(error)}") from error
        self._claimed.add(name)
        return True

    def release(self, name: bytes) -> None:
        """Let others have it."""
        self._claimed.discard(name)
        if self._locks >= 0:
            with suppress(OSError):
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _place(name))

    # writing

    async def prove(self) -> None:
        """Make sure that it can be written: it was just now, or is once."""
        if asyncio.get_running_loop().time() >= self._proven_until:
            await self._write((_PROVE, [(self._seconds(),)]))

    async def add(self, mail: bytes, found: Mapping[bytes, Settled]) -> None:
        """Keep that these recipients are done with."""
        at = self._seconds()
        rows = [(mail, recipient, at, *_columns(fate)) for recipient, fate in found.items()]
        await self._write((_ADD, list[_Row](rows)))

    async def forget(self, mail: bytes, recipients: Collection[bytes]) -> None:
        """They need not be known any longer."""
        await self._write((_FORGET, [(mail, recipient) for recipient in recipients]))

    def _seconds(self) -> int:
        return int(self._clock().timestamp())

    async def _write(self, change: _Change) -> None:
        """Have it written, together with what others want written meanwhile."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        await done

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            trouble = await self._committed([change for change, _ in batch])
            for _, done in batch:
                if done.done():
                    continue  # whoever waited was cancelled
                if trouble is None:
                    done.set_result(None)
                else:
                    done.set_exception(trouble)
        self._writing = None

    async def _committed(self, changes: Sequence[_Change]) -> StoreTrouble | None:
        """What stood against it, if anything did."""
        try:
            await asyncio.to_thread(self._commit, changes)
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            self._proven_until = 0.0
            return StoreTrouble(f"hand-over journal: {_said(error)}")
        self._proven_until = asyncio.get_running_loop().time() + _PROVEN_FOR
        return None

    def _commit(self, changes: Iterable[_Change]) -> None:
        """In a thread."""
        writer = _there(self._writer)
        writer.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in changes:
                writer.executemany(statement, rows)
            writer.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise
        self._written += 1
        if self._written % _TIDIED_EVERY == 0:
            self._tidy(writer)

    def _tidy(self, writer: sqlite3.Connection) -> None:
        writer.execute(_TIDY, (self._seconds() - int(KEPT.total_seconds()),))
        writer.execute(_TOO_MANY, (self._most,))


def _make(path: Path) -> None:
    """An empty file, where there is none. One that is there is not touched: closing it would
    end the locks that SQLite has on it. SQLite gives its mode to those it puts beside it."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _look_at(connection: sqlite3.Connection) -> None:
    """Raises `sqlite3.DatabaseError` for a damaged file."""
    ((said,),) = connection.execute("PRAGMA quick_check(1)")
    if said != "ok":
        raise sqlite3.DatabaseError("it is damaged")


def _there(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise OSError("it is closed")
    return connection


def _place(name: bytes) -> int:
    """Where in the file of claims its lock is."""
    return int.from_bytes(name[:8], "big") >> 2


def _columns(fate: Settled) -> tuple[str, str, str, bool]:
    if isinstance(fate, Delivered):
        return "", fate.queue_id, fate.text, False
    refusal = fate.refusal
    return str(refusal.status), "", refusal.text, refusal.by_policy


def _fate(status: str, queue_id: str, text: str, by_policy: int) -> Settled:
    if not status:
        return Delivered(queue_id, text)
    category, _, detail = status.partition(".")
    return Notified(Refused(Status(int(category), detail), text, bool(by_policy)))


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())
