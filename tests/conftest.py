"""What all tests share: how hypothesis works here, and ports that stay free."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from tests.support.ports import ReservedPort

pytest_plugins = ["tests.support.database", "tests.support.postoffice"]

settings.register_profile(
    "ci",  # the same examples every time: a red build is the change's fault
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    """Makes port numbers of 127.0.0.1 that nobody else gets while the test runs."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(ReservedPort()).number
