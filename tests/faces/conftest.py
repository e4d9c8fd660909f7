"""A CA by commands, for tests of faces."""

from __future__ import annotations

import pytest

from tests.support.commands import Commands
from tests.support.postoffice import Installation


@pytest.fixture
def ca(installation: Installation) -> Commands:
    run = installation.command
    made = run("ca", "create", "Sub CA", "--root", "Root CA", "--key", "p256")
    assert "CN=Root CA" in made.out
    run("ca", "settings", "key", "p256")
    return run
