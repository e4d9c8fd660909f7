"""`smimefilter policy`: what is set where, and what holds."""

from __future__ import annotations

from typing import Any

import pytest

from smimefilter.policy.preferences import ALL
from tests.support.postoffice import ALICE, BOB, Installation


def holding(installation: Installation, address: str, name: str) -> tuple[Any, str, str]:
    """The value that holds for an address, its scope and its source."""
    rows = installation.command("policy", "show", address, "--json").json
    (row,) = [row for row in rows if row["preference"] == name and row["holds"]]
    return row["value"], row["scope"], row["source"]


def test_check(installation: Installation) -> None:
    assert installation.command("policy", "check").out == "good: 4 settings at 4 scopes\n"
    other = installation.home / "one.yaml"
    other.write_text("preferences: {sign: never}\n")
    assert installation.command("policy", "check", str(other)).out == (
        "good: 1 settings at 1 scopes\n"
    )


def test_show_has_every_preference_with_scope_and_source(installation: Installation) -> None:
    rows = installation.command("policy", "show", BOB, "--json").json
    assert {row["preference"] for row in rows if row["holds"]} == set(ALL)
    assert holding(installation, BOB, "encrypt") == (
        "mandatory", "strict.test", "global.yaml:7",
    )  # fmt: skip
    assert holding(installation, BOB, "sign") == ("when-encrypting", "global", "global.yaml:2")
    assert holding(installation, BOB, "content-cipher") == (
        "aes-256-cbc", "default", "default",
    )  # fmt: skip
    text = installation.command("policy", "show", BOB).out
    assert "global.yaml:7" in text


def test_the_null_sender_has_global_preferences(installation: Installation) -> None:
    assert holding(installation, "<>", "sign")[1] == "global"
    assert holding(installation, "global", "sign") == holding(installation, "<>", "sign")
    assert holding(installation, "<>", "locality")[1] == "default"


def test_the_database_wins_over_files_at_the_same_scope_only(
    installation: Installation,
) -> None:
    command = installation.command
    assert command("policy", "set", "strict.test", "encrypt", "allow").out == (
        "strict.test: encrypt = allow\n"
    )
    assert holding(installation, BOB, "encrypt") == ("allow", "strict.test", "database")
    command("policy", "set", "global", "encrypt", "never")
    assert holding(installation, BOB, "encrypt") == ("allow", "strict.test", "database")
    rows = command("policy", "show", BOB, "--json").json
    layers = [(row["value"], row["source"], row["holds"]) for row in rows
              if row["preference"] == "encrypt"]  # fmt: skip
    assert layers[0] == ("allow", "database", True)
    assert ("mandatory", "global.yaml:7", False) in layers
    command("policy", "unset", "strict.test", "encrypt")
    assert holding(installation, BOB, "encrypt")[2] == "global.yaml:7"


def test_the_word_default_resets(installation: Installation) -> None:
    installation.command("policy", "set", BOB, "encrypt", "default")
    assert holding(installation, BOB, "encrypt") == ("default", BOB, "database")


def test_what_is_set_is_said_as_it_is_written(installation: Installation) -> None:
    command = installation.command
    assert command("policy", "set", "in.test", "sign", "always").out.endswith("sign = always\n")
    assert command("policy", "set", "in.test", "decrypt", "on").out.endswith("decrypt = yes\n")


def test_a_word_or_a_list(installation: Installation) -> None:
    command = installation.command
    for value in (["in.test", "out.test"], ["in.test, @out.test"]):
        done = command("policy", "set", "in.test", "decrypt-with", *value)
        assert done.out.endswith("decrypt-with = in.test, out.test\n")
    done = command("policy", "set", "in.test", "decrypt-with", "any")
    assert done.out.endswith("decrypt-with = any\n")
    wrong = command("policy", "set", "in.test", "decrypt-with", "recipent", code=1).err
    assert "takes recipient, domain or any, or a list of: a domain" in wrong
    assert "'recipent' is no domain" in wrong


def test_lists(installation: Installation) -> None:
    command = installation.command
    command("policy", "set", ALICE, "may-sign-for", "team@in.test", "*@sub.in.test")
    value, _, _ = holding(installation, ALICE, "may-sign-for")
    assert value == ["team@in.test", "*@sub.in.test"]
    (row,) = command("policy", "list", "--json").json
    assert row == {"scope": ALICE, "name": "may-sign-for", "value": value}


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("Global", "global"),
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("*.IN.test", "*.in.test"),
        ("Alice@IN.test", "alice@in.test"),
    ],
)
def test_scopes_are_stored_as_they_are_compared(
    scope: str, key: str, installation: Installation
) -> None:
    installation.command("policy", "set", scope, "encrypt", "never")
    (row,) = installation.command("policy", "list", "--json").json
    assert row["scope"] == key
    installation.command("policy", "unset", scope, "encrypt")
    assert installation.command("policy", "list", "--json").json == []


def test_secrets_come_from_files_and_are_never_shown(installation: Installation) -> None:
    command = installation.command
    done = command("policy", "set", BOB, "pkcs12-password", "--value-file", "-", stdin="hush\n")
    assert done.out == f"{BOB}: pkcs12-password = (secret)\n"
    for show in (
        ("policy", "list"),
        ("policy", "show", BOB),
        ("policy", "show", BOB, "--json"),
    ):
        printed = command(*show).out
        assert "(secret)" in printed
        assert "hush" not in printed
