"""A database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smimefilter.store.database import Database
from tests.support.database import new_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Set up and open."""
    async with new_database(tmp_path) as opened:
        yield opened
