"""Relay mode: clients on other hosts log in over TLS, and routes lead to several next hops.

swaks is the client. Its exit codes: 23 MAIL was refused, 24 RCPT was, 28 AUTH failed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.needs import need
from tests.support.postoffice import (
    ALICE,
    BOB,
    DAVE,
    HUGO,
    PostOffice,
    Stock,
    filter_alone,
    letter,
    original,
)
from tests.support.sink import Sink
from tests.support.smtp import Certificates

pytestmark = pytest.mark.system

PASSWORD: Final = "correct horse"
LOGIN: Final = ("--tls", "--auth-user", ALICE, "--auth-password", PASSWORD)


class Relay(NamedTuple):
    """The office, whose own sink is the next hop of all that has no route, and two more."""

    office: PostOffice
    strict: Sink
    clear: Sink

    def swaks(self, *arguments: str, to: str = DAVE) -> subprocess.CompletedProcess[str]:
        mail = self.office.home / "mail"
        mail.write_bytes(letter(ALICE, *to.split(","))[:-2])  # it ends the last line itself
        port = str(self.office.program.port("smtp"))
        return subprocess.run(
            [
                need("swaks"), "--server", "127.0.0.1", "--port", port, "--helo", "pc.test",
                "--from", ALICE, "--to", to, "--data", f"@{mail}", *arguments,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def running(stock: Stock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    home: Path = tmp_path_factory.mktemp("relay")
    papers = Certificates(home)
    listener = {
        "protocol": "smtp",
        "address": "127.0.0.1",
        "port": 0,
        "clients": [],
        "xforward-clients": [],
        "auth": True,
        "tls": {"certificate": str(papers.certificate), "key": str(papers.key)},
    }
    with Sink() as strict, Sink() as clear:
        settings = {
            "listeners": [listener],
            "next-hops": {
                "strict": {"host": "127.0.0.1", "port": strict.port},
                "clear": {"host": "127.0.0.1", "port": clear.port},
            },
            "routes": {"strict.test": "strict", "*.test": "clear", "free.test": "strict"},
        }
        with filter_alone(stock, home, **settings) as office:
            for login in (ALICE, "scanner"):
                password = ("--password-file", "-")
                office.command("account", "add", login, *password, stdin=PASSWORD)
            yield Relay(office, strict, clear)


@pytest.fixture
def relay(running: Relay) -> Iterator[Relay]:
    """One for all tests, its sinks empty."""
    yield running
    for sink in (running.office.sink, running.strict, running.clear):
        sink.clear()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_mail_of_a_login_is_relayed(relay: Relay, mechanism: str) -> None:
    done = relay.swaks(*LOGIN, "--auth", mechanism)
    assert done.returncode == 0, done.stdout
    (mail,) = relay.clear.mails
    assert original(mail) == letter(ALICE, DAVE)
    assert b"with ESMTPSA id" in mail.content
    (line,) = relay.office.program.events("mail")[-1:]
    assert line["login"] == ALICE


def test_each_domain_has_its_next_hop(relay: Relay) -> None:
    to = [BOB, DAVE, HUGO, "x@elsewhere.example"]
    done = relay.swaks(*LOGIN, "--auth", "PLAIN", to=",".join(to))
    assert done.returncode == 0, done.stdout
    assert sorted(mail.addresses for mail in relay.strict.mails) == [(BOB,), (HUGO,)]
    assert [mail.addresses for mail in relay.clear.mails] == [(DAVE,)]
    assert [mail.addresses for mail in relay.office.sink.mails] == [("x@elsewhere.example",)]
    secret = [mail for mail in relay.strict.mails if mail.addresses == (BOB,)]
    assert relay.office.read(secret[0], BOB)


def test_a_login_gets_no_signature_in_the_name_of_another(relay: Relay) -> None:
    login = ("--tls", "--auth", "PLAIN", "--auth-user", "scanner", "--auth-password", PASSWORD)
    assert relay.swaks(*login, to=BOB).returncode == 0
    (mail,) = relay.strict.mails
    text = relay.office.openssl.decrypt(mail.content, relay.office.who(BOB))
    assert b"Content-Type: text/plain" in text


@pytest.mark.parametrize("tls", [(), ("--tls",)])
def test_nothing_is_relayed_for_strangers(relay: Relay, tls: tuple[str, ...]) -> None:
    done = relay.swaks(*tls)
    assert done.returncode == 23
    assert "554 5.7.1 relay access denied" in done.stdout
    assert relay.clear.mails == []


@pytest.mark.parametrize("user", [ALICE, "mallory"])
def test_a_wrong_login_is_refused(relay: Relay, user: str) -> None:
    done = relay.swaks(
        "--tls", "--auth", "PLAIN", "--auth-user", user, "--auth-password", "wrong"
    )
    assert done.returncode == 28
    assert "535 5.7.8" in done.stdout
    assert relay.clear.mails == []


def test_logins_are_not_offered_and_not_taken_without_tls(relay: Relay) -> None:
    done = relay.swaks("--auth", "PLAIN", *LOGIN[1:])
    assert done.returncode == 28
    assert "AUTH" not in done.stdout
    assert "STARTTLS" in done.stdout
    assert relay.clear.mails == []


def test_a_removed_login_is_refused(relay: Relay) -> None:
    relay.office.command("account", "add", "temp", "--password-file", "-", stdin=PASSWORD)
    login = ("--tls", "--auth", "PLAIN", "--auth-user", "temp", "--auth-password", PASSWORD)
    assert relay.swaks(*login).returncode == 0
    relay.office.command("account", "remove", "temp")
    assert relay.swaks(*login).returncode == 28
