"""A database is a database to handlers: SQLite will do."""

from __future__ import annotations

import pytest


@pytest.fixture
def kind() -> str:
    """The kind of the fixture `database`."""
    return "sqlite"
