"""`smimefilter correspondent`: what is remembered, and forgetting it."""

from __future__ import annotations

import json
import sqlite3

from tests.support.postoffice import Installation


def test_what_is_remembered_is_listed_and_forgotten(installation: Installation) -> None:
    run = installation.command
    assert run("correspondent", "list").out == "no correspondents\n"
    with sqlite3.connect(installation.home / "smimefilter.db") as database:
        row = ("ivan@x.test", "aes-256-gcm oaep", 1_780_000_000)
        database.execute("insert into correspondents values (?, ?, ?)", row)
    (listed,) = json.loads(run("correspondent", "list", "--json").out)
    assert listed["address"] == "ivan@x.test"
    assert listed["reads"] == ["aes-256-gcm", "oaep"]
    assert "aes-256-gcm, oaep" in run("correspondent", "list").out
    assert (
        run("correspondent", "remove", "Ivan@X.test").out == "forgot what Ivan@X.test reads\n"
    )
    assert run("correspondent", "list").out == "no correspondents\n"


def test_who_is_not_known_cannot_be_forgotten(installation: Installation) -> None:
    said = installation.command.complaint("correspondent", "remove", "ivan@x.test")
    assert said == "nothing is known of ivan@x.test (see: smimefilter correspondent list)"
    assert "ivan" in installation.command.complaint("correspondent", "remove", "ivan")
