"""A database that is set up already: migrations run once for the whole test run."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from smimefilter.store.database import Database, upgrade


def new_database(folder: Path) -> Database:
    """A new, empty SQLite database in `folder`, ready to be opened."""
    path = folder / "test.db"
    path.write_bytes(_empty())
    return Database(f"sqlite+aiosqlite:///{path}")


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as elsewhere:
        path = Path(folder) / "empty.db"
        elsewhere.submit(asyncio.run, upgrade(f"sqlite+aiosqlite:///{path}")).result()
        return path.read_bytes()
