"""The database as lines and from them again, of whichever kind and schema it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from smimefilter.base.errors import AdminError
from smimefilter.flow.audit import verify
from smimefilter.keys.master import MasterKey
from smimefilter.ports.audit import Scribe
from smimefilter.store.database import Database, restore
from smimefilter.store.tables import SCHEMA, metadata

MASTER = MasterKey(b"m" * 32)
SCRIBE = Scribe("root", "node.test", MASTER)


@pytest.fixture
def url(empty_url: str) -> str:
    """Of a database that does not exist yet."""
    return empty_url


def _value(column: sa.Column[Any], number: int) -> object:
    """Something of a column's type; nothing where there may be nothing."""
    if column.nullable and number == 1:
        return None
    if isinstance(column.type, sa.LargeBinary):
        return bytes([0, 255, number])
    if isinstance(column.type, sa.JSON):
        return [None, {"ü": number}, "", True]
    if isinstance(column.type, sa.Boolean):
        return number % 2 == 0
    if isinstance(column.type, sa.Integer):
        return number + 1_700_000_000 if column.name == "at" else number
    return f"{column.name} ü\n{number}"[: getattr(column.type, "length", None)]


async def fill(database: Database) -> None:
    """Three rows in each table that has no order of its own."""
    sessions = database._sessions
    async with sessions.writing() as transaction:
        for table in metadata.sorted_tables:
            if table.name in {"state", "audit", "audit_head"}:
                continue
            rows = []
            for number in (1, 2, 3):
                row = {column.name: _value(column, number) for column in table.columns}
                if table.name == "challenge_mails":
                    row["request"] = _value(metadata.tables["requests"].c.id, number)
                rows.append(row)
            for row in rows:
                await transaction.write(sa.insert(table), [row])


async def contents(url: str) -> dict[str, Sequence[Any]]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = {
            table.name: [
                tuple(row)
                for row in await connection.execute(
                    sa.select(table).order_by(*table.primary_key)
                )
            ]
            for table in metadata.sorted_tables
        }
    await engine.dispose()
    return found


async def dumped(url: str) -> tuple[list[bytes], dict[str, int]]:
    lines: list[bytes] = []
    async with Database(url, scribe=SCRIBE) as database:
        counts = await database.dump(lines.append, lambda _: None)
    return lines, counts


def what(
    lines: Sequence[bytes], counts: dict[str, int], schema: str = SCHEMA
) -> dict[str, Any]:
    return {
        "schema": schema, "lines": lines, "counts": counts, "scribe": SCRIBE,
        "finish": lambda: None, "seen": lambda _: None,
    }  # fmt: skip


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def elsewhere(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/elsewhere.db"


@pytest.mark.parametrize("turned", [False, True])
async def test_all_tables_are_there_again(url: str, tmp_path: Path, turned: bool) -> None:
    first, second = (url, elsewhere(tmp_path)) if not turned else (elsewhere(tmp_path), url)
    async with Database(first, upgrade=True, scribe=SCRIBE) as database:
        await database.secrets.set_check_value(b"check")
        await fill(database)
        await database.accounts.put("later", "hash")
    lines, counts = await dumped(first)
    assert min(counts.values()) >= 1
    await restore(second, **what(lines, counts))
    before, after = await contents(first), await contents(second)
    *same, restored = after.pop("audit")
    assert same == before.pop("audit")
    assert "restored" in restored
    assert after.pop("audit_head") != before.pop("audit_head")
    assert after == before
    async with Database(second, scribe=SCRIBE) as database:
        assert (await verify(database.audit, MASTER)).why == ""
        assert await database.crls.add([b"new"], "numbers go on") == [True]


async def test_a_dump_of_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    lines = [
        b'{"table":"state","columns":["id","revision","check_value"],"binary":["check_value"]}\n',
        b'[1,7,"eA=="]\n',
        b'{"table":"audit","columns":["number","at","about","event","detail"],"binary":[]}\n',
        b'[1,1000,"x","requested",""]\n',
    ]
    url = elsewhere(tmp_path)
    await restore(url, **what(lines, {"state": 1, "audit": 1}, "0006"))
    async with Database(url, scribe=SCRIBE) as database:
        told = [one.event for one in await database.audit.find()]
        assert told == ["requested", "audit log chained", "restored"]
        assert (await verify(database.audit, MASTER)).why == ""
        assert await database.states.revision() == 7


@pytest.mark.parametrize(
    "lines",
    [
        [b"{}\n"],
        [b"[1]\n"],
        [b"nonsense\n"],
        [b'{"table":"none","columns":[],"binary":[]}\n'],
        [b'{"table":"crls","columns":["none"],"binary":[]}\n', b"[1]\n"],
        [b'{"table":"accounts","columns":["login"],"binary":[]}\n', b"[1,2]\n"],
        [b'{"table":"accounts","columns":["login"],"binary":[]}\n', b'["a"]\n'],
        [],
    ],
)
async def test_lines_that_do_not_fit_leave_nothing(lines: list[bytes], tmp_path: Path) -> None:
    with pytest.raises(AdminError) as caught:
        await restore(elsewhere(tmp_path), **what(lines, {"accounts": 1}))
    assert "\n" not in str(caught.value)
    assert not left(tmp_path)


async def test_a_filled_database_stays_as_it_is(url: str) -> None:
    async with Database(url, upgrade=True, scribe=SCRIBE) as database:
        await database.accounts.put("a", "hash")
    lines, counts = await dumped(url)
    before = await contents(url)
    with pytest.raises(AdminError, match="there is a database already"):
        await restore(url, **what(lines, counts))
    assert await contents(url) == before


async def test_a_dump_is_of_one_moment(url: str, tmp_path: Path) -> None:
    """What is written while it is made is not in it, or all of it is."""
    lines: list[bytes] = []
    async with Database(url, upgrade=True, scribe=SCRIBE) as database:
        await database.secrets.set_check_value(b"check")
        written: list[Any] = []

        def write(line: bytes) -> None:
            lines.append(line)
            if len(lines) == 3:
                writing = database.accounts.put("meanwhile", "hash")
                written.append(asyncio.ensure_future(writing))

        counts = await database.dump(write, lambda _: None)
        for one in written:
            await one
    second = elsewhere(tmp_path)
    await restore(second, **what(lines, counts))
    async with Database(second, scribe=SCRIBE) as database:
        assert (await verify(database.audit, MASTER)).why == ""
        told = [one.event for one in await database.audit.find()]
        assert ("login added" in told) == bool(await database.accounts.all())
