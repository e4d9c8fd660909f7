"""The pages of health beside the numbers of a filter that runs."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.postoffice import (
    ALICE,
    DATABASE,
    DAVE,
    POLICY,
    PostOffice,
    Stock,
    filter_alone,
    letter,
)


@pytest.fixture
def watched(
    stock: Stock, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[tuple[PostOffice, Callable[[str], dict[str, Any]]]]:
    """A filter, and what a page of it says."""
    port = free_port()

    def page(name: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{port}/health/{name}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            found: dict[str, Any] = json.load(answer)
            return found

    with filter_alone(stock, tmp_path, metrics={"port": port}) as office:
        yield office, page


def test_ready_and_going_on_from_memory(
    watched: tuple[PostOffice, Callable[[str], dict[str, Any]]],
) -> None:
    office, page = watched
    ready = page("ready")
    assert ready["status"] == "ready"
    assert {one["state"] for one in ready["checks"].values()} == {"good"}
    assert set(ready["checks"]) == {
        "event loop", "keeper", "snapshots", "listeners", "database", "policies",
    }  # fmt: skip
    assert page("live")["status"] == "live"

    def state(name: str) -> str:
        return str(page("ready")["checks"][name]["state"])

    wait = office.program.wait_until
    office.settings("preferences: {sign: perhaps}\n")
    office.program.reload()
    wait(lambda: state("policies") == "degraded", "a policy that is refused")
    office.settings(POLICY)
    office.program.reload()
    wait(lambda: state("policies") == "good", "policies that hold")
    with closing(sqlite3.connect(office.home / DATABASE)) as connection, connection:
        connection.execute("ALTER TABLE state RENAME TO gone")
    wait(lambda: state("database") == "degraded", "a database that cannot be read")
    said = page("ready")
    assert said["status"] == "degraded"
    assert "going on from memory" in said["checks"]["database"]["why"]
    assert office.hand_over(ALICE, [DAVE], letter(ALICE, DAVE))[0].startswith("250 ")
    assert page("live")["status"] == "live"
    with closing(sqlite3.connect(office.home / DATABASE)) as connection, connection:
        connection.execute("ALTER TABLE gone RENAME TO state")
    wait(lambda: page("ready")["status"] == "ready", "the database again")
