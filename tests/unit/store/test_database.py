"""Setting up, opening, and every way in which opening fails."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

import smimefilter.store
from smimefilter.base.errors import AdminError
from smimefilter.ports.stores import Shelf, StoreTrouble
from smimefilter.store import engine, rows, tables
from smimefilter.store.database import Database, upgrade
from tests.support.pki import root

MIGRATIONS = Path(smimefilter.store.__file__).parent / "migrations"


def at(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


async def refused(url: str, *, upgrade: bool = False) -> AdminError:
    with pytest.raises(AdminError) as caught:
        async with Database(url, upgrade=upgrade):
            pass
    assert "\n" not in str(caught.value)
    assert caught.value.mend
    return caught.value


# migrations


async def test_migrations_make_the_tables_of_the_program(empty_url: str) -> None:
    await upgrade(empty_url)
    assert await differences(empty_url) == []


async def differences(url: str) -> list[object]:
    """Between the tables there and those of the program."""
    async_engine = create_async_engine(url)
    async with async_engine.connect() as connection:
        found: list[object] = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"compare_type": True}), tables.metadata
            )
        )
    await async_engine.dispose()
    return found


VERSIONS = [path.name[1:5] for path in sorted((MIGRATIONS / "versions").glob("v0*.py"))]


@pytest.mark.parametrize("version", VERSIONS)
async def test_up_from_every_version(empty_url: str, version: str) -> None:
    """What was there stays, and nothing is told apart from a database that is new."""
    old = engine.connect(sa.make_url(empty_url))
    async with old.connect() as connection:
        await connection.execution_options(**engine.WRITES)
        await connection.run_sync(lambda sync: migrate_to(sync, version))
        account = {"login": "a", "password_hash": "b"}
        await connection.execute(sa.insert(tables.accounts), account)
        await connection.commit()
    await old.dispose()
    if version != tables.SCHEMA:
        assert "older" in (await refused(empty_url)).what
    await upgrade(empty_url)
    assert await differences(empty_url) == []
    async with Database(empty_url) as database:
        assert await database.accounts.password_hash("a") == "b"
        assert await database.states.revision() == 1


def migrate_to(connection: sa.Connection, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def test_the_newest_migration_is_the_schema_of_the_program() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == tables.SCHEMA


async def test_setting_up_twice_changes_nothing(empty_url: str) -> None:
    await upgrade(empty_url)
    async with Database(empty_url) as database:
        await database.certificates.add([root().certificate], Shelf.ROOTS, "")
        before = await database.states.load()
    await upgrade(empty_url)
    async with Database(empty_url) as database:
        assert await database.states.load() == before


async def test_setting_up_at_once(empty_url: str) -> None:
    await asyncio.gather(*(upgrade(empty_url) for _ in range(4)))
    async with Database(empty_url) as database:
        assert await database.states.revision() == 1


async def test_what_was_written_is_there_after_opening_again(empty_url: str) -> None:
    certificate = root().certificate
    async with Database(empty_url, upgrade=True) as database:
        await database.certificates.add([certificate], Shelf.ROOTS, "here")
    async with Database(empty_url) as database:
        (entry,) = await database.certificates.all(Shelf.ROOTS)
    assert entry.certificate == certificate


async def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    folder = tmp_path / "100% of ü, a b"
    folder.mkdir()
    await upgrade(at(folder / "x.db"))
    async with Database(at(folder / "x.db")) as database:
        assert await database.states.revision() == 1


# the file


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_only_its_owner_reads_the_file(tmp_path: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        async with Database(at(tmp_path / "x.db"), upgrade=True) as database:
            await database.accounts.put("a", "b")
            modes = modes_in(tmp_path)
    finally:
        os.umask(old)
    assert modes["x.db"] == 0o600
    assert set(modes.values()) == {0o600}


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_settings_of_the_connection(tmp_path: Path) -> None:
    await upgrade(at(tmp_path / "x.db"))
    connected = engine.connect(sa.make_url(at(tmp_path / "x.db")))
    async with connected.connect() as connection:
        found = {
            pragma: (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    await connected.dispose()
    assert found["journal_mode"] == "wal"
    assert found["synchronous"] == 2  # FULL
    assert found["foreign_keys"] == 1
    assert found["busy_timeout"] >= 5000


# what keeps a database from being opened


async def test_no_database(tmp_path: Path) -> None:
    error = await refused(at(tmp_path / "x.db"))
    assert str(tmp_path / "x.db") in str(error)
    assert not modes_in(tmp_path)


async def test_no_folder(tmp_path: Path) -> None:
    error = await refused(at(tmp_path / "none" / "x.db"), upgrade=True)
    assert "mkdir" in error.mend


async def test_a_folder(tmp_path: Path) -> None:
    await refused(at(tmp_path))
    await refused(at(tmp_path), upgrade=True)


@pytest.mark.parametrize("upgrading", [False, True])
@pytest.mark.parametrize("content", [b"this is a text file, not a database\n", b"SQLite", b"x"])
async def test_another_file(tmp_path: Path, content: bytes, upgrading: bool) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    await refused(at(path), upgrade=upgrading)
    assert path.read_bytes() == content


async def test_an_empty_file_is_not_set_up(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    assert "init" in (await refused(at(path))).mend
    await upgrade(at(path))


async def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE things (id INTEGER)")
    other.close()
    assert "init" in (await refused(at(path))).mend


@pytest.mark.parametrize("upgrading", [False, True])
async def test_a_truncated_file(tmp_path: Path, upgrading: bool) -> None:
    path = tmp_path / "x.db"
    await upgrade(at(path))
    path.write_bytes(path.read_bytes()[:5000])
    assert "backup" in (await refused(at(path), upgrade=upgrading)).mend


@pytest.mark.parametrize("upgrading", [False, True])
async def test_a_file_with_holes(tmp_path: Path, upgrading: bool) -> None:
    path = tmp_path / "x.db"
    await upgrade(at(path))
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    assert "backup" in (await refused(at(path), upgrade=upgrading)).mend


async def test_newer_than_the_program(empty_url: str) -> None:
    await upgrade(empty_url)
    await set_schema(empty_url, "9999")
    for upgrading in (False, True):
        assert "newer" in (await refused(empty_url, upgrade=upgrading)).what


async def test_older_than_the_program(empty_url: str) -> None:
    await upgrade(empty_url)
    await set_schema(empty_url, "0000")
    error = await refused(empty_url)
    assert "older" in error.what
    assert "init" in error.mend


async def set_schema(url: str, version: str) -> None:
    changing = create_async_engine(url)
    async with changing.begin() as connection:
        statement = sa.text("UPDATE alembic_version SET version_num = :version")
        await connection.execute(statement, {"version": version})
    await changing.dispose()


async def test_locked_by_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    await upgrade(at(path))
    monkeypatch.setattr(engine, "_BUSY_TIMEOUT", 50)
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    error = await refused(at(path), upgrade=True)
    async with Database(at(path)) as database:
        with pytest.raises(StoreTrouble):
            await database.accounts.put("a", "b")
        other.rollback()
        assert await database.accounts.put("a", "b")
    other.close()
    assert "another program" in error.mend


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_permission(tmp_path: Path) -> None:
    """Another user than the owner, in a process of its own."""
    path = tmp_path / "x.db"
    asyncio.run(upgrade(at(path)))
    program = (
        "import asyncio, os, sys\n"
        "from smimefilter.store.database import Database\n"
        "from smimefilter.base.errors import AdminError\n"
        "async def main():\n"
        "    async with Database(sys.argv[1]): pass\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: asyncio.run(main())\n"
        "except AdminError as error: print('refused:', error)\n"
    )
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", program, at(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("refused:")
    assert "permission" in done.stdout


async def test_damage_while_running_is_a_deferral(empty_url: str) -> None:
    async with Database(empty_url, upgrade=True) as database:
        changing = create_async_engine(empty_url)
        async with changing.begin() as connection:
            await connection.execute(sa.text("DROP TABLE certificates"))
        await changing.dispose()
        with pytest.raises(StoreTrouble):
            await database.certificates.add([root().certificate], Shelf.ROOTS, "")
        with pytest.raises(StoreTrouble):
            await database.states.load()


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite:///x.db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "mysql://host/name",
        "postgresql://user:password@host/name",
        "postgresql+psycopg://user:password@host/name",
    ],
)
def test_urls_that_are_none_of_ours(url: str) -> None:
    with pytest.raises(AdminError) as caught:
        Database(url)
    assert "password" not in str(caught.value)


async def test_server_that_is_not_there_or_driver_that_is_missing() -> None:
    error = await refused("postgresql+asyncpg://user:password@127.0.0.1:1/name")
    assert "password" not in str(error)


def test_statements_are_for_postgresql_too() -> None:
    dialect = postgresql.dialect()
    for statement in (rows.SNAPSHOT, rows.LISTING, rows.CRLS, engine._TAKE_TURN):
        assert str(statement.compile(dialect=dialect))
    assert "FOR UPDATE" in str(engine._TAKE_TURN.compile(dialect=dialect))
    for table in tables.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
