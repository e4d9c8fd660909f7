"""Bringing a database to the tables of this program, and telling when it is not there yet.

All migrations that are missing run in one transaction; of several processes that start at
once, one migrates and the others find nothing to do.

Raises `AdminError` for a database that is not set up, older or newer; errors of the driver go
to `database.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine

from smimefilter.base.errors import AdminError
from smimefilter.ports.audit import Scribe

from .engine import WRITES
from .tables import SCHEMA

_SCRIPTS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x736D696D65  # of PostgreSQL's advisory locks: one process migrates at a time
_VERSIONS: Final = sa.table("alembic_version", sa.column("version_num"))


async def migrate(engine: AsyncEngine, where: str, scribe: Scribe) -> None:
    """Run what is missing; `scribe` seals the audit log. Raises `AdminError` when the
    database is newer than the program."""
    async with engine.connect() as connection:
        await connection.execution_options(**WRITES)
        await connection.begin()
        if engine.dialect.name == "postgresql":
            await connection.execute(sa.text("SET LOCAL lock_timeout = '60s'"))
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        found = await connection.run_sync(_schema)
        _refuse_newer(found, where)
        if found != SCHEMA:
            await connection.run_sync(upgrade_to, scribe, SCHEMA)
        await connection.commit()


async def check(engine: AsyncEngine, where: str) -> None:
    """Raises `AdminError` unless the database has exactly the tables of this program."""
    async with engine.connect() as connection:
        found = await connection.run_sync(_schema)
    _refuse_newer(found, where)
    if found is None:
        raise AdminError(
            "the database has not been set up", where=where, mend="run: smimefilter init"
        )
    if found != SCHEMA:
        raise AdminError(
            f"the database is from an older version (schema {found}, needed {SCHEMA})",
            where=where,
            mend="run: smimefilter init",
        )


def _refuse_newer(found: str | None, where: str) -> None:
    if found is not None and found > SCHEMA:
        raise AdminError(
            f"the database is from a newer version (schema {found}, known here {SCHEMA})",
            where=where,
            mend="install that version of smimefilter",
        )


def _schema(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSIONS.name):
        return None
    found = connection.execute(sa.select(_VERSIONS.c.version_num)).scalar()
    return None if found is None else str(found)


def upgrade_to(connection: sa.Connection, scribe: Scribe, to: str) -> None:
    """Run the migrations up to this one, in the transaction of the connection."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["scribe"] = scribe
    command.upgrade(config, to)
