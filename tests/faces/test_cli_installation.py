"""`smimefilter init`, `version`, `doctor`, `account`, `--help`: an installation as a whole."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.commands import Commands, run
from tests.support.postoffice import ALICE, BOB, FRANK, Installation, PostOffice
from tests.support.program import Program, shipped_settings

PASSWORD = "correct horse battery"


def test_version() -> None:
    assert run("version").out == f"smimefilter {version('smimefilter')}\n"


def test_every_command_has_a_help_of_its_own() -> None:
    def commands(*words: str) -> list[str]:
        _, _, listed = run(*words, "--help").out.partition("─ Commands ─")
        return re.findall(r"(?m)^│ ([a-z]+) ", listed)

    names = commands()
    assert {"serve", "init", "doctor", "explain", "policy", "certificate", "demo"} <= set(names)
    for name in names:
        for sub in commands(name) or [""]:
            words = [name, sub] if sub else [name]
            assert f"Usage: smimefilter {' '.join(words)}" in run(*words, "--help").out


def test_without_arguments_the_help_is_shown() -> None:
    assert "Usage: smimefilter" in run(code=2).out


# init


def test_init_makes_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    program = Program(tmp_path, shipped_settings(tmp_path, port=0, next_hop=1))
    command = Commands(program.config)
    made = command("init").out
    for what in ("master key", "policy folder", "database"):
        assert what in made
    for name in ("master.key", "smimefilter.db"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert command("policy", "check").out.startswith("good: ")
    assert command("certificate", "list").out == "no certificates\n"
    installation = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    again = command("init").out
    assert "master key" not in again
    assert "policy folder" not in again
    for file, content in installation.items():
        assert file.suffix.startswith(".db") or file.read_bytes() == content
    assert command("root", "list").out == "no roots\n"


def test_init_leaves_an_installation_as_it_is(installation: Installation) -> None:
    before = installation.state()
    installation.command("init")
    assert installation.state() == before


def test_commands_before_init_ask_for_it(tmp_path: Path) -> None:
    program = Program(tmp_path, shipped_settings(tmp_path, port=0, next_hop=1))
    line = Commands(program.config).complaint("certificate", "list")
    assert "smimefilter init" in line


# doctor


def grades(installation: Installation, code: int = 0) -> dict[str, str]:
    findings = installation.command("doctor", "--json", code=code).json
    assert all(set(one) == {"grade", "about", "what", "mend"} for one in findings)
    assert all(one["mend"] for one in findings if one["grade"] == "warning")
    return {one["about"].partition(" 127")[0]: one["grade"] for one in findings}


@pytest.mark.system
def test_doctor_finds_a_running_filter_healthy(office: PostOffice) -> None:
    settings = office.program.config.read_text()
    ports = iter((office.program.port("lmtp"), office.program.port("smtp")))
    office.program.config.write_text(
        re.sub(r"port: 0\b", lambda _: f"port: {next(ports)}", settings)
    )
    assert grades(office) == {
        "settings": "good",
        "files": "good",
        "listener lmtp": "good",
        "listener smtp": "good",
        "next-hop": "good",
        "master key": "good",
        "database": "good",
        "policies": "good",
        "audit log": "good",
        "roots": "good",
        "private keys": "good",
    }
    text = office.command("doctor").out
    assert "the filter answers" in text
    assert "sink.test ESMTP; offers 8BITMIME" in text


def test_doctor_tells_what_will_cause_trouble(installation: Installation) -> None:
    people, command = installation.people, installation.command
    password = ("--password-file", str(people.password_file))
    people.add("soon@in.test", not_after=people.now + timedelta(days=3))
    for who in (FRANK, "soon@in.test"):
        command("key", "import", str(people.identity(who)), *password)
    command("root", "remove", people.root.thumbprint)
    command("root", "import", str(people.root_file))
    command("policy", "set", ALICE, "signing-certificate", "ab" * 64)
    command("policy", "set", BOB, "encryption-certificates", people.issued[FRANK].thumbprint)
    findings = command("doctor", "--json", code=1).json
    told = {(one["grade"], one["about"]): one["what"] for one in findings}
    about = {what: grade for (grade, _), what in told.items()}
    assert any("expired" in what for what, grade in about.items() if grade == "warning")
    assert any("expires on" in what for what, grade in about.items() if grade == "warning")
    assert any("not in the store" in what for what, grade in about.items() if grade == "bad")
    assert ("bad", f"encryption-certificates at {BOB} (database)") in told


def test_doctor_takes_old_keys_with_successors_for_what_they_are(
    installation: Installation,
) -> None:
    people, command = installation.people, installation.command
    password = ("--password-file", str(people.password_file))
    people.add("old@in.test", not_after=people.now - timedelta(days=3))
    command("key", "import", str(people.identity("old@in.test")), *password)
    told = command("doctor", "--json", code=1).json
    assert [one for one in told if "CN=old" in one["about"] and one["grade"] == "warning"]
    people.add("old@in.test")
    command("key", "import", str(people.identity("old@in.test")), *password)
    told = command("doctor", "--json", code=1).json
    assert not [one for one in told if "CN=old" in one["about"]]
    (old,) = [one for one in told if one["about"] == "private keys of expired certificates"]
    assert old["grade"] == "good"
    assert old["what"].startswith("1, for mail of old")


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("preferences: {sign: never}\n", ["no domain is `locality: internal`"]),
        (
            "domains: [{domain: mail.example.com, preferences: {locality: internal}}]\n",
            ["set for examples: mail.example.com"],
        ),
        ("users: {a@partner.example: {locality: internal}}\n", ["set for examples: a@partner"]),
        ("domains: [{domain: in.test, preferences: {locality: internal}}]\n", []),
        ("domains: [{domain: example.co.test, preferences: {locality: internal}}]\n", []),
    ],
)
def test_doctor_tells_of_policies_as_they_are_shipped(
    installation: Installation, policy: str, told: list[str]
) -> None:
    installation.settings(policy)
    findings = installation.command("doctor", "--json", code=1).json
    found = [
        one["what"]
        for one in findings
        if one["about"] == "policies" and one["grade"] == "warning"
    ]
    assert len(found) == len(told)
    assert all(what.startswith(text) for what, text in zip(found, told, strict=True))


def test_doctor_goes_on_without_roots(installation: Installation) -> None:
    installation.command("root", "remove", installation.people.root.thumbprint)
    found = grades(installation, code=1)  # because of the next hop
    assert found["roots"] == "warning"
    assert found["database"] == "good"


def test_doctor_tells_of_settings_that_are_not_there(installation: Installation) -> None:
    installation.program.config.unlink()
    (finding,) = installation.command("doctor", "--json", code=1).json
    assert finding["grade"] == "bad"
    assert "cannot be read" in finding["what"]


# account


def test_accounts(installation: Installation) -> None:
    command = installation.command
    add = ("account", "add", ALICE, "--password-file", "-")
    assert command(*add, stdin=f"{PASSWORD}\n").out == f"added {ALICE}\n"
    assert command(*add, stdin="an even better one\n").out == f"new password for {ALICE}\n"
    assert command("account", "list", "--json").json == [{"login": ALICE}]
    stored = (installation.home / "smimefilter.db").read_bytes()
    assert b"an even better one" not in stored
    assert command("account", "remove", ALICE).out == f"removed {ALICE}\n"
    assert command("account", "list").out == "no logins\n"
