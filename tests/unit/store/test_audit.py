"""The audit log: a record with each change, a chain that shows tampering, writers at once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

import smimefilter.store
from smimefilter.base.chain import NOTHING
from smimefilter.base.errors import AdminError
from smimefilter.flow.audit import Verified, verify
from smimefilter.keys.master import MasterKey
from smimefilter.ports.audit import AuditRecord, Scribe, acting_as
from smimefilter.store.database import Database, upgrade

MASTER = MasterKey(b"m" * 32)
SCRIBE = Scribe("root", "node.test", MASTER)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def url(empty_url: str) -> str:
    """Of a database that does not exist yet."""
    return empty_url


@pytest.fixture
async def books(url: str) -> AsyncIterator[Database]:
    """A database that has a log of five records."""
    async with Database(url, upgrade=True, scribe=SCRIBE) as database:
        await database.secrets.set_check_value(b"check")
        for login in ("a", "b", "c", "d"):
            await database.accounts.put(login, "hash")
        yield database


async def found(database: Database, noted: str = "") -> Verified:
    return await verify(database.audit, MASTER, noted)


async def change(url: str, *statements: str, **values: str) -> None:
    """What somebody with the database alone can do."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in statements:
            used = {name: one for name, one in values.items() if f":{name}" in statement}
            await connection.execute(sa.text(statement), used)
    await engine.dispose()


async def test_who_did_what_where_and_when(books: Database) -> None:
    with acting_as("web: alice"):
        await books.accounts.put("a", "another hash")
    await books.accounts.remove("b")
    await books.accounts.remove("nobody")  # nothing is done, nothing is told
    *_, changed, removed = await books.audit.find()
    assert (changed.link.actor, changed.event) == ("web: alice", "password of a login changed")
    assert (removed.link.actor, removed.event) == ("root", "login removed")
    assert (removed.link.about, removed.link.node) == ("b", "node.test")
    assert removed.link.outcome == "done"
    assert removed.link.number == 7
    assert [one.event for one in await books.audit.find("b")] == [
        "login added",
        "login removed",
    ]
    assert [one.event for one in await books.audit.find(actor="ALICE")] == [changed.event]
    assert await books.audit.find(until=NOW) == []
    assert len(await books.audit.find(since=NOW, most=2)) == 2


async def test_the_log_is_whole(books: Database) -> None:
    whole = await found(books)
    assert (whole.holds_to, whole.records, whole.broken, whole.why) == (5, 5, 0, "")
    assert whole.head.startswith("5:")
    await books.accounts.remove("a")
    assert (await found(books, whole.head)).why == ""


async def test_a_change_that_is_undone_leaves_no_record(books: Database) -> None:
    twice = [AuditRecord(NOW, "x", "x"), AuditRecord(NOW, None, "y")]  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        await books.audit.add(twice)
    assert (await found(books)).records == 5


@pytest.mark.parametrize(
    ("done", "broken", "why"),
    [
        (["UPDATE audit SET actor = 'nobody' WHERE number = 3"], 3, "was changed"),
        (["UPDATE audit SET at = at + 1 WHERE number = 1"], 1, "was changed"),
        (["UPDATE audit SET outcome = 'failed' WHERE number = 5"], 5, "was changed"),
        (["UPDATE audit SET hash = :nothing WHERE number = 2"], 2, "was changed"),
        (["DELETE FROM audit WHERE number = 2"], 2, "record 2 is missing"),
        (["DELETE FROM audit WHERE number = 1"], 1, "record 1 is missing"),
        (["DELETE FROM audit WHERE number > 3"], 4, "missing at the end: 4 to 5"),
        (["DELETE FROM audit WHERE number = 5"], 5, "missing at the end: 5"),
        (["DELETE FROM audit"], 1, "missing at the end: 1 to 5"),
        (["DELETE FROM audit", "UPDATE audit_head SET number = 0"], 1, "not the one"),
        (
            ["DELETE FROM audit", "UPDATE audit_head SET number = 0, hash = :nothing"],
            1,
            "there are no records",
        ),
        (["DELETE FROM audit_head"], 6, "the head is missing"),
        (["UPDATE audit_head SET number = 4"], 5, "not known to the head"),
        (["UPDATE audit SET detail = 'x' WHERE number = 5",
          "UPDATE audit_head SET hash = 'x'"], 5, "was changed"),
    ],
)  # fmt: skip
async def test_tampering_is_found(
    books: Database, url: str, done: list[str], broken: int, why: str
) -> None:
    await change(url, *done, nothing=NOTHING)
    bad = await found(books)
    assert (bad.broken, bad.holds_to) == (broken, broken - 1)
    assert why in bad.why


async def rewritten(books: Database, url: str) -> None:
    """Record 5 is another one, all hashes anew, as somebody does who knows how."""
    last = (await books.audit.find())[-1]
    before = (await books.audit.find())[-2].hash
    new = type(last.link)(*[*_parts(last.link)[:2], "nobody", *_parts(last.link)[3:]])
    head = new.hash(before)
    await change(
        url,
        "UPDATE audit SET actor = 'nobody', hash = :head WHERE number = 5",
        "UPDATE audit_head SET hash = :head",
        head=head,
    )


def _parts(link: Any) -> list[Any]:
    return [getattr(link, name) for name in type(link).__slots__]


async def test_a_chain_made_anew_has_no_seal(books: Database, url: str) -> None:
    await rewritten(books, url)
    bad = await found(books)
    assert "not sealed under the master key" in bad.why
    await books.accounts.put("later", "hash")  # our next record makes it no truer
    assert "not sealed" in (await found(books)).why
    await books.accounts.put("again", "hash")
    assert "not sealed" in (await found(books)).why


async def test_an_older_state_is_found_by_a_head_that_was_noted(
    books: Database, url: str
) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        old = (await connection.execute(sa.text("SELECT * FROM audit_head"))).one()
    await books.accounts.remove("a")
    noted = (await found(books)).head
    async with engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM audit WHERE number = 6"))
        back = sa.text("UPDATE audit_head SET number = 5, hash = :hash, seal = :seal")
        await connection.execute(back, {"hash": old.hash, "seal": old.seal})
    await engine.dispose()
    assert (await found(books)).why == ""  # alone it cannot be told
    assert "record 6, which was noted, is missing" in (await found(books, noted)).why
    await books.accounts.remove("b")
    bad = await found(books, noted)
    assert (bad.broken, bad.holds_to) == (6, 5)
    assert "not the one that was noted" in bad.why
    with pytest.raises(AdminError, match="no head of an audit log"):
        await found(books, "6")


async def test_another_master_key_seals_nothing(books: Database, url: str) -> None:
    stranger = Scribe("root", "", MasterKey(b"x" * 32))
    async with Database(url, scribe=stranger) as other:
        await other.accounts.put("x", "hash")
    assert "not sealed" in (await found(books)).why


async def test_the_log_goes_on_under_a_new_master_key(books: Database) -> None:
    new = MasterKey(b"n" * 32)
    revision = await books.states.revision()
    assert await books.certificates.rewrap([], [], {}, b"check", revision, new)
    assert (await verify(books.audit, new)).why == ""
    assert "not sealed" in (await found(books)).why
    await books.accounts.put("later", "hash")
    assert (await verify(books.audit, new)).why == ""


# at once


async def test_several_tasks_at_once(books: Database) -> None:
    await asyncio.gather(
        *(books.audit.add([AuditRecord(NOW, f"{n}", "x")] * 3) for n in range(20))
    )
    whole = await found(books)
    assert (whole.records, whole.why) == (65, "")


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from smimefilter.keys.master import MasterKey
from smimefilter.ports.audit import AuditRecord, Scribe
from smimefilter.store.database import Database
async def main():
    scribe = Scribe(sys.argv[2], "", MasterKey(b"m" * 32))
    async with Database(sys.argv[1], scribe=scribe) as database:
        for number in range(40):
            await database.audit.add([AuditRecord(datetime.now(UTC), str(number), "x")])
asyncio.run(main())
"""


def write(url: str, actor: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", WRITER, url, actor], check=False, timeout=120
    ).returncode


async def test_two_processes_at_once(books: Database, url: str) -> None:
    ended = await asyncio.gather(
        *(asyncio.to_thread(write, url, one) for one in ("one", "two"))
    )
    assert ended == [0, 0]
    whole = await found(books)
    assert (whole.records, whole.why) == (85, "")
    for actor in ("one", "two"):
        told = [one.link.about for one in await books.audit.find(actor=actor)]
        assert told == [str(number) for number in range(40)]


# from before


def before(path: Path) -> None:
    """A database of the schema before, in use, with two records."""
    config = Config()
    scripts = Path(smimefilter.store.__file__).parent / "migrations"
    config.set_main_option("script_location", str(scripts))
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        connection.execute(sa.text("UPDATE state SET check_value = 'x'"))
        for number in (1, 2):
            row = {"number": number, "about": f"request {number}"}
            into = (
                "INSERT INTO audit VALUES (:number, 1000, :about, 'requested', 'for a@x.test')"
            )
            connection.execute(sa.text(into), row)
    engine.dispose()


async def test_old_records_are_carried_over(tmp_path: Path) -> None:
    before(tmp_path / "old.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/old.db"
    with pytest.raises(AdminError, match="the master key is needed"):
        await upgrade(url)
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (2,)
    async with Database(url, upgrade=True, scribe=SCRIBE) as database:
        told = [
            (one.event, one.link.about, one.link.actor) for one in await database.audit.find()
        ]
        assert told == [
            ("requested", "request 1", ""),
            ("requested", "request 2", ""),
            ("audit log chained", "", "root"),
        ]
        whole = await found(database)
        assert (whole.records, whole.why) == (3, "")
        await database.accounts.put("a", "hash")
        assert (await found(database)).why == ""


async def test_a_log_that_was_emptied_is_not_taken_for_a_new_one(
    books: Database, url: str
) -> None:
    emptied = "UPDATE audit_head SET number = 0, hash = :nothing"
    await change(url, "DELETE FROM audit", emptied, nothing=NOTHING)
    await books.accounts.put("e", "hash")
    assert (await found(books)).why
