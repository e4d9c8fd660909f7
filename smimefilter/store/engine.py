"""The connection to the database, and the one way to read from and write to it.

`Sessions.reading` gives one consistent view; `Sessions.writing` is one transaction in which
writers take turns, and which moves the revision if it changed anything. SQLite runs with WAL,
so that readers and one writer do not wait for each other, and with `synchronous=FULL`: what
was committed survives a power cut. On PostgreSQL a node that is gone in the middle of a
transaction holds nobody up for longer than `_IDLE`, and a server that says nothing more is
waited for no longer than `_ANSWER`.

No error of SQLAlchemy or its drivers leaves this room: while running they become
`StoreTrouble`, on opening `database.py` makes an `AdminError` of them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from smimefilter.ports.audit import NOBODY, Scribe
from smimefilter.ports.stores import StoreTrouble

from . import tables

WRITES: Final = {"smimefilter_writes": True}  # execution option: the transaction will write
_BUSY_TIMEOUT: Final = 15_000  # milliseconds another writer is waited for
ROOTS: Final = "sslrootcert"  # in a URL
CHANNEL: Final = "smimefilter"  # where PostgreSQL tells of a new revision
_CONNECT: Final = 10.0  # seconds, for a connection to PostgreSQL
_ANSWER: Final = 30.0  # seconds, for each of its answers
_IDLE: Final = 60_000  # milliseconds, between two statements of a transaction
_SERVER_SETTINGS: Final = {
    "application_name": "smimefilter",
    "lock_timeout": str(_BUSY_TIMEOUT),
    "idle_in_transaction_session_timeout": str(_IDLE),
}
_AT_ONCE: Final = 2000  # rows in one statement, which has `_ANSWER` to end in
_TROUBLE: Final = (SQLAlchemyError, OSError, sqlite3.Error)

Row = Mapping[str, Any]


def connect(url: sa.URL) -> AsyncEngine:
    """An engine for a URL; nothing is opened yet. Parameters never show in its errors. Raises
    `OSError` for roots that cannot be read."""
    if not is_sqlite(url):
        return create_async_engine(
            url.difference_update_query(["ssl", ROOTS]),
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={
                "timeout": _CONNECT,
                "command_timeout": _ANSWER,
                "server_settings": _SERVER_SETTINGS,
                **_tls(url.query),
            },
        )
    engine = create_async_engine(url, hide_parameters=True)
    sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _tls(query: Mapping[str, Any]) -> dict[str, Any]:
    """How the server is spoken to; a certificate is checked against the system's roots, or
    those that the URL names."""
    mode = query.get("ssl")
    if mode not in {"verify-ca", "verify-full"}:
        return {} if mode is None else {"ssl": mode}
    context = ssl.create_default_context(cafile=query.get(ROOTS))
    context.check_hostname = mode == "verify-full"
    return {"ssl": context}


def is_sqlite(url: sa.URL) -> bool:
    """Whether the database is a file of ours and not a server."""
    return url.get_backend_name() == "sqlite"


class Transaction:
    """A transaction that writes; `changed` says whether it has."""

    def __init__(self, connection: AsyncConnection, scribe: Scribe) -> None:
        self._connection: Final = connection
        self.scribe: Final = scribe  # who writes into the audit log
        self.changed = False

    async def read(self, statement: sa.Select[Any]) -> sa.CursorResult[Any]:
        """Run a query inside the transaction."""
        result: sa.CursorResult[Any] = await self._connection.execute(statement)
        return result

    async def write(
        self, statement: sa.Insert | sa.Update | sa.Delete, rows: Sequence[Row] | None = None
    ) -> bool:
        """Run a change, for each of `rows` if given; whether it touched anything."""
        touched = False
        for some in [None] if rows is None else _pieces(rows):
            result = await self._connection.execute(statement, some)
            touched = touched or result.rowcount != 0  # -1: many rows at once, not counted
        self.changed = self.changed or touched
        return touched

    async def put(self, table: sa.Table, row: Row) -> bool:
        """Insert a row, or replace the one with its primary key; whether there was none."""
        this = [column == row[column.name] for column in table.primary_key]
        if await self.write(sa.update(table).where(*this).values(row)):
            return False
        return await self.write(sa.insert(table), [row])


class Sessions:
    """Transactions on an engine."""

    def __init__(self, engine: AsyncEngine, scribe: Scribe = NOBODY) -> None:
        self._engine: Final = engine
        self.scribe = scribe
        sqlite = engine.dialect.name == "sqlite"
        self._one_view: Final[dict[str, str]] = (
            {} if sqlite else {"isolation_level": "REPEATABLE READ"}
        )
        self._tells: Final = not sqlite
        self._check: bytes | None = None
        # SQLite has others wait by sleeping longer and longer; ours are woken when it is free
        self._turn: Final = asyncio.Lock() if sqlite else nullcontext()

    def hold(self, check: bytes) -> None:
        """From now on nothing is written, and no state read, once the database is under
        another master key than the one this is the check value of: what were sealed under the
        old key could never be opened again."""
        self._check = check

    def still_ours(self, check: bytes | None) -> None:
        """Raises `StoreTrouble` where the check value in the database is not the one held."""
        if self._check is not None and check != self._check:
            raise StoreTrouble(_OTHER_KEY)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database throughout."""
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(**self._one_view)
                yield connection
        except _TROUBLE as error:
            raise StoreTrouble(_said(error)) from error

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        """A transaction, alone in writing; committed at the end, undone by any exception."""
        async with self._transaction() as (transaction, connection):
            yield transaction
            if transaction.changed:
                await connection.execute(_MOVE_REVISION)
                if self._tells:
                    await connection.execute(_TELL)

    @asynccontextmanager
    async def keeping_books(self) -> AsyncIterator[Transaction]:
        """The same for what no decision rests on: the revision stays where it is."""
        async with self._transaction() as (transaction, _):
            yield transaction

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[tuple[Transaction, AsyncConnection]]:
        try:
            async with self._turn, self._engine.connect() as connection:
                await connection.execution_options(**WRITES)
                self.still_ours((await connection.execute(_TAKE_TURN)).scalar_one())
                transaction = Transaction(connection, self.scribe)
                yield transaction, connection
                if transaction.changed:
                    await connection.commit()
        except _TROUBLE as error:
            raise StoreTrouble(_said(error)) from error


def _pieces(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]


_OTHER_KEY: Final = (
    "the master key of the database was changed: put the new one in place and restart"
)
_TAKE_TURN: Final = sa.select(tables.state.c.check_value).with_for_update()
_MOVE_REVISION: Final = sa.update(tables.state).values(revision=tables.state.c.revision + 1)

_TELL: Final = sa.select(sa.func.pg_notify(CHANNEL, ""))


def _said(error: BaseException) -> str:
    """What the driver said, without statement and parameters."""
    cause = " ".join(str(getattr(error, "orig", None) or error).split())
    if "locked" in cause:
        cause += (
            f" by another program for {_BUSY_TIMEOUT // 1000} seconds; try again when it ends"
        )
    return f"the database cannot be used: {cause}"


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # the driver's own BEGIN comes too late for reading, and never for changes of tables
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().keys() >= WRITES.keys()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
