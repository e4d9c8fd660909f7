"""Changes while the filter runs: of policy files, of the database, of certificates and trust.

None needs a restart, each is taken whole or not at all, and the next mail sees it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.postoffice import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    ERIN,
    GINA,
    HUGO,
    POLICY,
    PostOffice,
    letter,
)

pytestmark = pytest.mark.system

SECRET = "application/pkcs7-mime"
SOON = 2.0  # seconds within which a change in the database is seen
NEVER_AT_STRICT = POLICY.replace("mandatory", "never")


def fate(office: PostOffice, address: str) -> str:
    """What becomes of a mail of Alice: `secret`, `clear`, or the reply that refuses it."""
    office.sink.clear()
    (reply,) = office.hand_over(ALICE, [address], letter(ALICE, address))
    if not reply.startswith("250"):
        assert office.sink.mails == []
        return reply
    (mail,) = office.sink.mails
    return "secret" if SECRET.encode() in mail.content else "clear"


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_policy_files(office: PostOffice) -> None:
    program = office.program
    assert fate(office, BOB) == "secret"

    office.settings(NEVER_AT_STRICT)
    program.wait_for_event("policies reloaded")
    assert fate(office, BOB) == "clear"

    office.settings("preferences: {encypt: mandatory}\n")
    (line,) = program.wait_for_event("policies not reloaded, the old ones stay")
    assert line["level"] == "warning"
    assert "global.yaml:1:15: unknown preference 'encypt'" in line["error"]
    assert "did you mean 'encrypt'" in line["error"]
    assert fate(office, BOB) == "clear"

    program.reload()  # asked for, and still broken
    program.wait_for_event("policies not reloaded, the old ones stay", number=2)
    assert fate(office, BOB) == "clear"
    assert program.states[-2].startswith("MONOTONIC_USEC")
    assert program.states[-1] == "READY=1"

    office.settings(POLICY)
    program.wait_for_event("policies reloaded", number=2)
    assert fate(office, BOB) == "secret"

    office.settings("users: {hugo@free.test: {encrypt: mandatory}}\n", "more.yaml")
    program.wait_for_event("policies reloaded", number=3)
    assert "5.7.5" in fate(office, HUGO)


def test_sighup_reads_policies_at_once(office: PostOffice) -> None:
    office.settings(NEVER_AT_STRICT)
    office.program.reload()
    started = time.monotonic()
    office.program.wait_for_event("policies reloaded")
    assert time.monotonic() - started < 1
    assert fate(office, BOB) == "clear"
    assert {"RELOADING=1", "READY=1"} <= set(office.program.states)


def test_preferences_in_the_database(office: PostOffice) -> None:
    assert fate(office, GINA) == "secret"
    office.command("policy", "set", "free.test", "encrypt", "never")
    wait_until(lambda: fate(office, GINA) == "clear", SOON)
    office.command("policy", "set", GINA, "encrypt", "mandatory")
    wait_until(lambda: fate(office, GINA) == "secret", SOON)
    assert fate(office, HUGO) == "clear"
    office.command("policy", "unset", GINA, "encrypt")
    wait_until(lambda: fate(office, GINA) == "clear", SOON)


def test_certificates(office: PostOffice) -> None:
    assert "5.7.5" in fate(office, CAROL)
    office.people.add(CAROL)
    office.command("certificate", "import", str(office.people.certificate(CAROL)))
    wait_until(lambda: fate(office, CAROL) == "secret", SOON)
    assert office.read(office.sink.mails[0], CAROL)
    office.command("certificate", "remove", office.who(CAROL).thumbprint[:16])
    wait_until(lambda: "5.7.5" in fate(office, CAROL), SOON)


def test_keys(office: PostOffice) -> None:
    """Gina's mail is signed once her key is ours."""

    def is_signed() -> bool:
        office.sink.clear()
        office.hand_over(GINA, [DAVE], letter(GINA, DAVE))
        return b"multipart/signed" in office.sink.mails[0].content

    office.command("policy", "set", "free.test", "sign", "always")
    office.program.wait_for_event("store reloaded")
    assert not is_signed()
    password = ("--password-file", str(office.people.password_file))
    office.command("key", "import", str(office.people.identity(GINA)), *password)
    wait_until(is_signed, SOON)
    assert office.openssl.verify(office.sink.mails[0].content)


def test_trust_list(office: PostOffice) -> None:
    office.command("ctl", "add", office.who(BOB).thumbprint, "black")
    wait_until(lambda: "5.7.5" in fate(office, BOB), SOON)
    assert "black-listed" in fate(office, BOB)
    office.command("ctl", "remove", office.who(BOB).thumbprint)
    wait_until(lambda: fate(office, BOB) == "secret", SOON)

    office.command("ctl", "add", office.people.authority.thumbprint, "black")
    wait_until(lambda: "5.7.5" in fate(office, BOB), SOON)
    assert fate(office, GINA) == "clear"  # may be: nothing is mandatory there


def test_revocation(office: PostOffice) -> None:
    done = office.command("crl", "import", str(office.people.crl(BOB)))
    assert "1 added" in done.out
    wait_until(lambda: "5.7.5" in fate(office, BOB), SOON)
    assert "revoked" in fate(office, BOB)
    assert fate(office, ERIN) == "secret"


def test_roots(office: PostOffice) -> None:
    office.command("root", "remove", office.people.root.thumbprint[:16])
    wait_until(lambda: "5.7.5" in fate(office, BOB), SOON)
    office.command("root", "import", str(office.people.root_file))
    wait_until(lambda: fate(office, BOB) == "secret", SOON)


def test_a_database_that_breaks_leaves_things_as_they_were(office: PostOffice) -> None:
    (office.home / "smimefilter.db").write_bytes(b"no database any more" * 1000)
    office.program.wait_for_event("store not read, the old state stays")
    assert fate(office, BOB) == "secret"
    assert "5.7.5" in fate(office, CAROL)
    time.sleep(2 * SOON)
    assert len(office.program.events("store not read, the old state stays")) == 1
