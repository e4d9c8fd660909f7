"""A database for each test: SQLite, or with SMIMEFILTER_TEST_DATABASE set the one it names,
emptied (`postgresql+asyncpg://user@host/name`)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from smimefilter.store.database import Database
from tests.support.database import new_database

SERVER = os.environ.get("SMIMEFILTER_TEST_DATABASE")


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """Of a database that does not exist yet, or is empty."""
    if not SERVER:
        return f"sqlite+aiosqlite:///{tmp_path}/test.db"
    engine = create_async_engine(SERVER)
    async with engine.begin() as connection:
        await connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        await connection.execute(sa.text("CREATE SCHEMA public"))
    await engine.dispose()
    return SERVER


@pytest.fixture
async def database(url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """Set up and open, at `url`."""
    async with Database(url, upgrade=True) if SERVER else new_database(tmp_path) as opened:
        yield opened
