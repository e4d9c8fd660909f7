"""Post offices for tests: people with certificates, a filter set up for them, a sink behind it.

`Stock` is made once a session: a PKI, and an installation as commands furnish it. An
`Installation` is a copy of that; a `PostOffice` is one that runs, alone (clients talk to the
filter, the filter to the sink) or with Postfix around it:

    client ─▶ Postfix ─▶ filter ─▶ Postfix ─▶ sink

Who is who, by what policy says: Alice is inside and her key is ours. At strict.test encryption
is mandatory; Bob and Erin there have certificates, Carol has none, Frank's is expired. At
clear.test nothing is ever encrypted; Dave is there. Gina at free.test has a certificate, Hugo
has none, and mail there is encrypted when it can be.

Fixtures here are at hand in every test.
"""

from __future__ import annotations

import shutil
import smtplib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from asn1crypto import cms

from tests.support.commands import Commands
from tests.support.people import People
from tests.support.pki import Issued
from tests.support.postfix import PostfixLab
from tests.support.program import Program, shipped_settings
from tests.support.readers import Openssl, cms_of
from tests.support.sink import Mail, Sink

ALICE: Final = "alice@in.test"
BOB, CAROL = "bob@strict.test", "carol@strict.test"
ERIN, FRANK = "erin@strict.test", "frank@strict.test"
DAVE: Final = "dave@clear.test"
GINA, HUGO = "gina@free.test", "hugo@free.test"
DATABASE: Final = "smimefilter.db"
POLICY: Final = """\
preferences:
  sign: when-encrypting
domains:
  - domain: in.test
    preferences: {locality: internal}
  - domain: strict.test
    preferences: {encrypt: mandatory}
  - domain: clear.test
    preferences: {encrypt: never}
"""


def letter(
    sender: str = ALICE,
    *to: str,
    subject: str = "a letter",
    body: bytes = b"Grapefruit juice at nine.\r\n",
    more: bytes = b"",
) -> bytes:
    """A plain mail; `more` are whole header lines."""
    head = (
        f"From: <{sender}>\r\nTo: {', '.join(to)}\r\nSubject: {subject}\r\n"
        "Date: Mon, 05 Jan 2026 10:00:00 +0000\r\nMessage-ID: <1@in.test>\r\n"
    )
    return head.encode() + more + b"\r\n" + body


def original(mail: Mail, first: bytes = b"From:") -> bytes:
    """What arrived, without the Received lines on top of field `first`."""
    return mail.content[mail.content.index(b"\r\n" + first) + 2 :]


def named_in(mail: Mail) -> set[int]:
    """The serial numbers that an encrypted mail names in its RecipientInfos."""
    enveloped = cms.ContentInfo.load(cms_of(mail.content))["content"]
    return {
        info.chosen["rid"].chosen["serial_number"].native
        for info in enveloped["recipient_infos"]
    }


class Stock:
    """The people, and a home that has their certificates and keys, to be copied."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        papers = folder / "papers"
        papers.mkdir()
        self.people = self._people(papers)
        (self.home / "policies").mkdir()
        (self.home / "policies" / "global.yaml").write_text(POLICY)
        program = Program(self.home, shipped_settings(self.home, port=0, next_hop=1))
        self.furnish(Commands(program.config))

    def _people(self, papers: Path) -> People:
        people = People(papers)
        for address in (ALICE, BOB, ERIN, GINA):
            people.add(address)
        people.add(FRANK, not_after=people.now - timedelta(days=1))
        return people

    def furnish(self, run: Commands) -> None:
        """Set a database up, and put into it what the stock has."""
        people = self.people
        run("init")
        run("root", "import", str(people.root_file))
        correspondents = [str(people.certificate(one)) for one in (BOB, ERIN, FRANK, GINA)]
        run("certificate", "import", str(people.authority_file), *correspondents)
        password = ("--password-file", str(people.password_file))
        run("key", "import", str(people.identity(ALICE)), *password)

    def copy_to(self, home: Path, *, database: bool = True) -> None:
        """Furnish an empty folder alike; without its own database when that is elsewhere."""
        for name in ("policies", "master.key", *([DATABASE] if database else [])):
            content = self.home / name
            copy = shutil.copytree if content.is_dir() else shutil.copy2
            copy(content, home / name)


class Installation:
    """An installation of the stock, and commands for it. It need not run."""

    def __init__(self, stock: Stock, program: Program) -> None:
        self.people = stock.people
        self.program = program
        self.home = program.home
        self.command = Commands(program.config)

    def who(self, address: str) -> Issued:
        """The certificate and key of somebody."""
        return self.people.issued[address]

    def settings(self, text: str, name: str = "global.yaml") -> None:
        """Write a policy file."""
        (self.home / "policies" / name).write_text(text)

    def state(self) -> dict[str, object]:
        """All that the installation has on disk: what is in the database, and files."""
        found: dict[str, object] = {}
        for file in sorted(self.home.rglob("*")):
            name = file.relative_to(self.home).as_posix()
            if file.is_dir() or name.endswith(("-wal", "-shm")):
                continue
            found[name] = _dump(file) if name == DATABASE else file.read_bytes()
        return found


def _dump(database: Path) -> list[str] | bytes:
    """What is in a database; of one that is none, its bytes."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            return list(connection.iterdump())
    except sqlite3.DatabaseError:
        return database.read_bytes()


class PostOffice(Installation):
    """A filter with what is around it."""

    def __init__(
        self, stock: Stock, program: Program, sink: Sink, lab: PostfixLab | None = None
    ) -> None:
        super().__init__(stock, program)
        self.sink = sink
        self.lab = lab

    @property
    def openssl(self) -> Openssl:
        """What reads mail to these people."""
        return Openssl(self.home, self.people.root.certificate)

    def read(self, mail: Mail | bytes, address: str) -> bytes:
        """The entity that somebody finds in an encrypted mail of Alice, her signature being
        good."""
        content = mail if isinstance(mail, bytes) else mail.content
        return self.openssl.verify(self.openssl.decrypt(content, self.who(address)))

    def send(self, sender: str, *recipients: str, content: bytes = b"", **special: Any) -> str:
        """Hand a mail to Postfix, a plain letter unless said otherwise; see `PostfixLab.send`.
        Returns its queue id."""
        assert self.lab
        return self.lab.send(
            sender, recipients, content or letter(sender, *recipients), **special
        )

    def caught_up(self) -> None:
        """Wait until the filter goes by what is in the database now; it has changed since the
        filter was started."""
        with closing(sqlite3.connect(self.home / DATABASE)) as database:
            ((revision,),) = database.execute("select revision from state")
        self.program.wait_for_event("store reloaded", revision=revision)

    def outcome(self, timeout: float = 30) -> dict[str, list[Mail]]:
        """What arrived for each address, once nothing is under way in Postfix any more."""
        assert self.lab
        lab = self.lab
        lab.wait_until(lambda: self.sound() and not lab.queue(), "an empty queue", timeout)
        found: dict[str, list[Mail]] = {}
        for mail in self.sink.mails:
            for address in mail.addresses:
                found.setdefault(address, []).append(mail)
        return found

    def sound(self) -> bool:
        """True; fails when the filter has met with a defect of its own."""
        errors = [line for line in self.program.events() if line["level"] == "error"]
        assert not errors
        return True

    def hand_over(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes,
        *,
        protocol: str = "lmtp",
        **special: Any,
    ) -> list[str]:
        """Hand a mail to the filter itself; see `hand_over`."""
        port = self.program.port(protocol)
        return hand_over(port, sender, recipients, content, protocol=protocol, **special)


def hand_over(
    port: int,
    sender: str,
    recipients: Sequence[str],
    content: bytes,
    *,
    protocol: str = "lmtp",
    params: Sequence[str] = (),
    rcpt_params: Mapping[str, Sequence[str]] | None = None,
    xforward: str = "",
    stuff: bool = True,
    timeout: float = 60,
) -> list[str]:
    """Hand a mail over by SMTP or LMTP, every byte as it is but for dot-stuffing after CRLF;
    without `stuff` not even that, and `content` has its end in it.

    Returns the replies to the content: one by SMTP, one for each recipient by LMTP. Anything
    refused before it raises `smtplib.SMTPResponseException`.
    """
    lmtp = protocol == "lmtp"
    with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=timeout) as client:
        client.command_encoding = "utf-8"
        _ask(client, "LHLO client.test" if lmtp else "EHLO client.test")
        if xforward:
            _ask(client, f"XFORWARD {xforward}")
        _ask(client, " ".join([f"MAIL FROM:<{sender}>", *params]))
        for recipient in recipients:
            more = (rcpt_params or {}).get(recipient, ())
            _ask(client, " ".join([f"RCPT TO:<{recipient}>", *more]))
        _ask(client, "DATA")
        client.send(stuffed(content) if stuff else content)
        replies = [client.getreply() for _ in (recipients if lmtp else recipients[:1])]
        return [f"{code} {text.decode()}" for code, text in replies]


def stuffed(content: bytes) -> bytes:
    """A content as it goes over the wire, with its end."""
    wire = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    return wire + (b".\r\n" if wire.endswith(b"\r\n") or not wire else b"\r\n.\r\n")


def _ask(client: smtplib.SMTP, command: str) -> None:
    code, text = client.docmd(command)
    if code not in {250, 354}:
        raise smtplib.SMTPResponseException(code, text)


@contextmanager
def filter_alone(stock: Stock, home: Path, **changes: Any) -> Iterator[PostOffice]:
    """A filter that listens for LMTP and for SMTP, and its sink; nothing is around them."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        stock.copy_to(home)
        settings = shipped_settings(home, port=0, next_hop=sink.port)
        listeners = [
            {"protocol": protocol, "address": "127.0.0.1", "port": 0}
            for protocol in ("lmtp", "smtp")
        ]
        settings.update({"hostname": "filter.test", "listeners": listeners, **changes})
        program = stack.enter_context(Program(home, settings))
        yield PostOffice(stock, program, sink)


@contextmanager
def filter_at(
    stock: Stock,
    home: Path,
    lab: PostfixLab,
    next_hop: int | None = None,
    *,
    workers: int = 1,
) -> Iterator[Program]:
    """A filter that Postfix hands mail to, with the settings as shipped. It hands on to
    Postfix's re-injection, or to another next hop."""
    stock.copy_to(home)
    settings = shipped_settings(
        home,
        port=lab.filter_port,
        next_hop=next_hop or lab.reinject_port,
        protocol=lab.variant.value,
    )
    settings.update({"hostname": "filter.test", "workers": workers})
    with Program(home, settings) as program:
        yield program


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """The people and their installation."""
    return Stock(tmp_path_factory.mktemp("stock"))


@pytest.fixture
def office(stock: Stock, tmp_path: Path) -> Iterator[PostOffice]:
    """A filter of this test's own, alone."""
    with filter_alone(stock, tmp_path) as office:
        yield office


@pytest.fixture
def installation(stock: Stock, tmp_path: Path, free_port: Callable[[], int]) -> Installation:
    """An installation of this test's own that does not run, and whose next hop is down."""
    stock.copy_to(tmp_path)
    settings = shipped_settings(tmp_path, port=free_port(), next_hop=free_port())
    return Installation(stock, Program(tmp_path, settings))
