"""STARTTLS and logins at the relay listener."""

from __future__ import annotations

import logging
import ssl
from base64 import b64encode
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from smimefilter import config
from smimefilter.base.errors import AdminError
from smimefilter.ports.stores import StoreTrouble
from smimefilter.smtp.auth import Credentials, Logins, TooManyFailures
from tests.support.smtp import Certificates, Inbox, Line, both_loops, listening

PASSWORD = "correct horse"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
NOBODY: tuple[str, ...] = ()  # no network may send without a login


class Accounts:
    """Alice, and a database that fails for `down`."""

    async def password_hash(self, login: str) -> str | None:
        if login == "down":
            raise StoreTrouble
        return {"alice": HASH, "broken": "no hash"}.get(login)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    initialise = Logins.__init__
    monkeypatch.setattr(
        Logins, "__init__", lambda self, accounts: initialise(self, accounts, pause=0.0)
    )


def encoded(*parts: str) -> str:
    return b64encode("\0".join(parts).encode()).decode()


async def to_tls(line: Line, certificates: Certificates) -> None:
    await line.reply()
    await line.dialogue(("EHLO c.test", "250"), ("STARTTLS", "220 2.0.0"))
    await line.start_tls(certificates.client())
    await line.dialogue(("EHLO c.test", "250"))


@both_loops
async def test_mail_over_tls_after_a_login(certificates: Certificates) -> None:
    inbox = Inbox()
    async with (
        listening(
            inbox, accounts=Accounts(), tls=certificates.settings, auth=True, clients=NOBODY
        ) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        clear = await line.ask("EHLO c.test")
        assert "STARTTLS" in clear
        assert "AUTH" not in clear
        await line.dialogue(
            ("MAIL FROM:<a@x.test>", "554 5.7.1"),
            (f"AUTH PLAIN {encoded('', 'alice', PASSWORD)}", "538 5.7.11"),
            ("STARTTLS now", "501 5.5.4"),
            ("STARTTLS", "220 2.0.0"),
        )
        await line.start_tls(certificates.client())
        await line.dialogue(("MAIL FROM:<a@x.test>", "503 5.5.1"))
        secured = await line.ask("EHLO c.test")
        assert "STARTTLS" not in secured
        assert "AUTH PLAIN LOGIN" in secured
        await line.dialogue(
            ("STARTTLS", "503 5.5.1"),
            ("MAIL FROM:<a@x.test>", "554 5.7.1"),
            (f"AUTH PLAIN {encoded('', 'alice', PASSWORD)}", "235 2.7.0"),
            (f"AUTH PLAIN {encoded('', 'alice', PASSWORD)}", "503 5.5.1"),
            ("MAIL FROM:<a@x.test>", "250 2.1.0"),
            ("RCPT TO:<b@y.test>", "250 2.1.5"),
            ("DATA", "354"),
        )
        line.send(b"x" * 3_000_000 + b"\r\n.\r\n")
        assert (await line.reply()).startswith("250 2.0.0")
        await line.dialogue(("QUIT", "221 2.0.0"))
        assert await line.at_end()
    (mail,) = inbox.mails
    assert (mail.client.protocol, mail.client.login) == ("ESMTPSA", "alice")
    assert mail.client.originating
    assert len(mail.content) == 3_000_002


LOGINS = [
    ([f"AUTH PLAIN {encoded('', 'alice', PASSWORD)}"], "235 2.7.0"),
    ([f"auth plain {encoded('alice', 'alice', PASSWORD)}"], "235 2.7.0"),
    (["AUTH PLAIN", encoded("", "alice", PASSWORD)], "235 2.7.0"),
    (["AUTH LOGIN", encoded("alice"), encoded(PASSWORD)], "235 2.7.0"),
    ([f"AUTH LOGIN {encoded('alice')}", encoded(PASSWORD)], "235 2.7.0"),
    ([f"AUTH PLAIN {encoded('', 'alice', 'wrong')}"], "535 5.7.8"),
    ([f"AUTH PLAIN {encoded('', 'mallory', PASSWORD)}"], "535 5.7.8"),
    ([f"AUTH PLAIN {encoded('', 'broken', PASSWORD)}"], "535 5.7.8"),
    ([f"AUTH PLAIN {encoded('root', 'alice', PASSWORD)}"], "535 5.7.8"),
    ([f"AUTH PLAIN {encoded('', 'alice', '')}"], "535 5.7.8"),
    ([f"AUTH PLAIN {encoded('', 'a' * 300, PASSWORD)}"], "535 5.7.8"),
    ([f"AUTH PLAIN {encoded('', 'down', PASSWORD)}"], "451 4.3.0"),
    (["AUTH PLAIN", "*"], "501 5.7.0"),
    (["AUTH LOGIN", "*"], "501 5.7.0"),
    (["AUTH PLAIN ="], "501 5.5.2"),
    (["AUTH PLAIN !!!"], "501 5.5.2"),
    ([f"AUTH PLAIN {encoded('alice', PASSWORD)}"], "501 5.5.2"),
    (["AUTH CRAM-MD5"], "504 5.5.4"),
    (["AUTH"], "504 5.5.4"),
]


async def test_dialogues_of_logins(certificates: Certificates) -> None:
    async with listening(accounts=Accounts(), tls=certificates.settings, auth=True) as listener:
        for said, answer in LOGINS:
            async with Line.to(listener.port) as line:
                await to_tls(line, certificates)
                *challenged, last = said
                for words in challenged:
                    assert (await line.ask(words)).startswith("334 ")
                assert (await line.ask(last)).startswith(answer), said


async def test_credentials_are_not_logged(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        listening(accounts=Accounts(), tls=certificates.settings, auth=True) as listener,
        Line.to(listener.port) as line,
    ):
        await to_tls(line, certificates)
        await line.ask(f"AUTH PLAIN {encoded('', 'alice', 'hunter2hunter2')}")
    assert "hunter2" not in caplog.text
    assert encoded("", "alice", "hunter2hunter2") not in caplog.text
    assert "hunter2" not in repr(Credentials("alice", "hunter2"))


async def test_a_peer_that_keeps_failing_is_put_off() -> None:
    logins = Logins(Accounts())
    for _ in range(10):
        assert not await logins.verify("192.0.2.1", Credentials("alice", "wrong"))
    with pytest.raises(TooManyFailures) as caught:
        await logins.verify("192.0.2.1", Credentials("alice", PASSWORD))
    assert caught.value.reply.startswith("454 4.7.0 ")
    assert await logins.verify("192.0.2.2", Credentials("alice", PASSWORD))


async def test_success_forgives() -> None:
    logins = Logins(Accounts())
    for _ in range(3):
        for _ in range(9):
            assert not await logins.verify("192.0.2.1", Credentials("alice", "wrong"))
        assert await logins.verify("192.0.2.1", Credentials("alice", PASSWORD))


@both_loops
async def test_nothing_said_before_tls_is_heard_after(certificates: Certificates) -> None:
    inbox = Inbox()
    async with (
        listening(inbox, tls=certificates.settings) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        await line.dialogue(
            ("EHLO c.test", "250"),
            ("XFORWARD NAME=evil.test", "250"),
            ("MAIL FROM:<evil@x.test>", "250"),
        )
        line.send(b"STARTTLS\r\nRSET\r\nEHLO evil.test\r\nMAIL FROM:<evil@x.test>\r\n")
        assert (await line.reply()).startswith("220 2.0.0")
        await line.start_tls(certificates.client())
        await line.dialogue(
            ("RCPT TO:<b@y.test>", "503 5.5.1"),
            ("MAIL FROM:<a@x.test>", "503 5.5.1"),
            ("EHLO c.test", "250"),
            ("MAIL FROM:<a@x.test>", "250"),
            ("RCPT TO:<b@y.test>", "250"),
            ("DATA", "354"),
            (".", "250"),
        )
    (mail,) = inbox.mails
    assert mail.sender == "a@x.test"
    assert mail.client.protocol == "ESMTPS"
    assert dict(mail.client.xforward) == {}


@both_loops
async def test_old_tls_and_no_tls_end_the_session(certificates: Certificates) -> None:
    async with listening(tls=certificates.settings) as listener:
        old = certificates.client()
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with Line.to(listener.port) as line:
            await line.reply()
            await line.dialogue(("STARTTLS", "220"))
            with pytest.raises((ssl.SSLError, OSError)):
                await line.start_tls(old)
        async with Line.to(listener.port) as line:
            await line.reply()
            await line.dialogue(("STARTTLS", "220"))
            line.send(b"EHLO c.test\r\n")
            try:
                rest = await line.reader.read()
            except OSError:
                rest = b""
            assert b"250" not in rest
        await listener._sessions.none_left.wait()


async def test_lmtp_over_tls(certificates: Certificates) -> None:
    inbox = Inbox()
    async with (
        listening(inbox, protocol="lmtp", tls=certificates.settings) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        await line.dialogue(("LHLO c.test", "250"), ("STARTTLS", "220"))
        await line.start_tls(certificates.client())
        await line.dialogue(
            ("LHLO c.test", "250"),
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<b@y.test>", "250"),
            ("DATA", "354"),
            (".", "250 2.0.0"),
        )
    assert inbox.mails[0].client.protocol == "LMTPS"


async def test_settings_that_cannot_work(tmp_path: Path) -> None:
    nothing = config.ServerTls(certificate=tmp_path / "no.pem", key=tmp_path / "no.key")
    with pytest.raises(AdminError) as caught:
        async with listening(tls=nothing):
            pass
    assert "no.pem" in caught.value.where
    (tmp_path / "no.pem").write_text("garbage")
    (tmp_path / "no.key").write_text("garbage")
    with pytest.raises(AdminError):
        async with listening(tls=nothing):
            pass
    with pytest.raises(AdminError):
        async with listening(auth=True, accounts=Accounts()):
            pass
