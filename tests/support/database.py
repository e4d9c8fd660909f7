"""A database that is set up already: migrations run once for the whole test run.

Tests that take the fixtures `database`, `database_url` or `empty_url` from here run twice: on
SQLite and on a private PostgreSQL.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from smimefilter.store.database import Database, upgrade
from tests.support.postgres import shared

KINDS: Final = ("sqlite", "postgresql")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; each in turn."""
    return str(request.param)


@pytest.fixture
def empty_url(kind: str, tmp_path: Path) -> str:
    """Of a database without tables, that may not exist yet."""
    if kind == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/test.db"
    return shared().new_database(empty=True)


@pytest.fixture
def database_url(kind: str, tmp_path: Path) -> str:
    """Of a database that is set up, and empty."""
    return new_url(kind, tmp_path)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database that is set up, and empty; open."""
    async with Database(database_url) as opened:
        yield opened


def new_url(kind: str, folder: Path) -> str:
    """Of a new database of this kind, set up, and empty."""
    if kind == "postgresql":
        return shared().new_database()
    path = folder / "test.db"
    path.write_bytes(_empty())
    return f"sqlite+aiosqlite:///{path}"


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as elsewhere:
        path = Path(folder) / "empty.db"
        elsewhere.submit(asyncio.run, upgrade(f"sqlite+aiosqlite:///{path}")).result()
        return path.read_bytes()
