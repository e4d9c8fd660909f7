"""The whole database as lines of JSON, and from them again: one form for SQLite and PostgreSQL.

    {"table": "crls", "columns": ["number", …], "binary": ["der"]}
    [1, …]                                    a row; what is binary is base64

`dump` reads in one transaction that sees one state. `load` makes the tables as the schema of
the dump has them, fills them, and brings them up to date, in one transaction: a database that
was empty is filled whole, or is as it was.

Raises `AdminError` for a target that is not empty or lines that do not fit, `StoreTrouble`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from smimefilter.base.errors import AdminError
from smimefilter.ports.audit import AuditRecord, Scribe

from .audit import note
from .engine import WRITES, Sessions, Transaction, connect, is_sqlite
from .migrate import upgrade_to
from .tables import SCHEMA, metadata

_AT_ONCE: Final = 1000  # rows
_BESIDE: Final = ("", "-wal", "-shm", "-journal")  # the files of a SQLite database
_BROKEN: Final = "the backup is damaged, or was not made by this program"


async def dump(
    sessions: Sessions, write: Callable[[bytes], object], seen: Callable[[int], None]
) -> dict[str, int]:
    """Write all; how many rows of each table. `seen` is told of so many more."""
    counts = {}
    async with sessions.reading() as connection:
        for table in metadata.sorted_tables:
            binary = {c.name for c in table.columns if isinstance(c.type, sa.LargeBinary)}
            names = [column.name for column in table.columns]
            write(_line({"table": table.name, "columns": names, "binary": sorted(binary)}))
            counts[table.name] = 0
            ordered = sa.select(table).order_by(*table.primary_key)
            async with connection.stream(ordered) as rows:
                async for piece in rows.partitions(_AT_ONCE):
                    for row in piece:
                        values = zip(names, row, strict=True)
                        write(_line([_out(v) if n in binary else v for n, v in values]))
                    counts[table.name] += len(piece)
                    seen(len(piece))
    return counts


async def load(
    url: sa.URL,
    where: str,
    *,
    schema: str,
    lines: Iterable[bytes],
    counts: Mapping[str, int],
    scribe: Scribe,
    finish: Callable[[], None],
    seen: Callable[[int], None],
) -> None:
    """Fill an empty database. `finish` is called when all else is done and can still be
    undone, which its errors do."""
    new = [Path(f"{where}{end}") for end in _BESIDE] if is_sqlite(url) else []
    new = [path for path in new if not path.exists()]
    engine = connect(url)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(**WRITES)
            await _refuse_filled(connection, where)
            await connection.run_sync(upgrade_to, scribe, schema)
            found = await _fill(connection, lines, seen)
            if found != dict(counts):
                raise AdminError(_BROKEN, where="database: numbers of rows")
            if schema != SCHEMA:
                await connection.run_sync(upgrade_to, scribe, SCHEMA)
            told = f"{sum(counts.values())} rows, schema {schema}"
            record = AuditRecord(datetime.now(UTC), "backup", "restored", told)
            await note(Transaction(connection, scribe), [record])
            finish()
            await connection.commit()
    except BaseException as error:
        await engine.dispose()
        for path in new:
            path.unlink(missing_ok=True)
        if isinstance(error, SQLAlchemyError):
            said = " ".join(str(getattr(error, "orig", None) or error).split())
            raise AdminError(f"the backup was not restored: {said}", where=where) from None
        raise
    await engine.dispose()


async def _refuse_filled(connection: AsyncConnection, where: str) -> None:
    there = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    if {*there} & {"alembic_version", *metadata.tables}:
        raise AdminError(
            "there is a database already, and it is not replaced",
            where=where,
            mend="name another one in the settings, or take this one away",
        )


async def _fill(
    connection: AsyncConnection, lines: Iterable[bytes], seen: Callable[[int], None]
) -> dict[str, int]:
    tables = await connection.run_sync(_reflected)
    filling: _Filling | None = None
    counts: dict[str, int] = {}
    for line in lines:
        try:
            found = json.loads(line)
            if isinstance(found, dict):
                if filling is not None:
                    await filling.flush(connection)
                filling = _Filling(tables, found, seen)
                await connection.execute(sa.delete(filling.table))  # what migrations put there
                counts[filling.table.name] = 0
            elif filling is not None:
                counts[filling.table.name] += 1
                await filling.add(connection, found)
            else:
                raise ValueError("a row of no table")
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise AdminError(_BROKEN, where="database") from None
    if filling is not None:
        await filling.flush(connection)
    if connection.dialect.name == "postgresql":
        await _count_on(connection, tables)
    return counts


class _Filling:
    """Rows for a table, gathered."""

    def __init__(
        self, tables: Mapping[str, sa.Table], head: Any, seen: Callable[[int], None]
    ) -> None:
        self.table = tables[head["table"]]
        self._names: list[str] = [self.table.c[name].name for name in head["columns"]]
        self._binary = {*head["binary"]}
        self._rows: list[dict[str, Any]] = []
        self._seen = seen

    async def add(self, connection: AsyncConnection, row: list[Any]) -> None:
        """One more."""
        values = zip(self._names, row, strict=True)
        self._rows.append({n: _in(v) if n in self._binary else v for n, v in values})
        if len(self._rows) >= _AT_ONCE:
            await self.flush(connection)

    async def flush(self, connection: AsyncConnection) -> None:
        """Write what is gathered."""
        if self._rows:
            await connection.execute(sa.insert(self.table), self._rows)
            self._seen(len(self._rows))
            self._rows = []


def _reflected(connection: sa.Connection) -> dict[str, sa.Table]:
    """The tables as they are, which those of an older schema are not in this program."""
    found = sa.MetaData()
    found.reflect(connection)
    for table in found.tables.values():
        for column in table.columns:
            if isinstance(column.type, sa.JSON):  # nothing is no value, and not the value null
                column.type = sa.JSON(none_as_null=bool(column.nullable))
    return {name: table for name, table in found.tables.items() if name != "alembic_version"}


async def _count_on(connection: AsyncConnection, tables: Mapping[str, sa.Table]) -> None:
    """PostgreSQL numbers new rows behind those that came with their numbers."""
    for table in tables.values():
        (*_, number) = table.primary_key.columns
        sequence = await connection.scalar(
            sa.select(sa.func.pg_get_serial_sequence(table.name, number.name))
        )
        if sequence:
            last = sa.select(sa.func.max(number)).scalar_subquery()
            next_ = sa.func.coalesce(last + 1, 1)
            await connection.execute(sa.select(sa.func.setval(sequence, next_, False)))


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _out(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _in(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value, validate=True)
