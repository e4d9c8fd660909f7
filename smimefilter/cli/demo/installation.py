"""A temporary installation of the filter, at work, with a client before and a sink behind it.

It is set up by what the commands are made of: settings file, `init`, `root import`,
`certificate import`, `crl import`, `key import`, `serve`. Mails go through real sockets on
ports that the system chooses. The sink is the next hop: it takes everything and keeps it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import smtplib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from aiosmtpd.smtp import SMTP

from smimefilter.app import App, initialise, open_app, read_config
from smimefilter.cli.certificates import sources_of
from smimefilter.config import Protocol
from smimefilter.daemon import Running, running
from smimefilter.flow.imports import import_certificates, import_crls, import_keys
from smimefilter.obs.log import LogJournal, forward_library_logs, make_log
from smimefilter.plan.plan import Plan
from smimefilter.ports.journal import MailRecord
from smimefilter.ports.stores import Shelf

from .mails import DemoMail
from .outcome import Arrived
from .people import PASSWORD
from .results import Results

HOST: Final = "127.0.0.1"
TIMEOUT: Final = 15  # seconds for each answer
SETTINGS: Final = """\
hostname: filter.acme.example
listeners:
  - {{protocol: smtp, port: 0}}
  - {{protocol: lmtp, port: 0}}
next-hop: {{port: {port}}}
database: sqlite+aiosqlite:///smimefilter.db
master-key: master.key
policies: {policies}
"""


class Sink:
    """The next hop, an aiosmtpd handler: takes every mail and keeps it."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []

    async def handle_DATA(  # noqa: N802 - the name aiosmtpd looks for
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        """Keep a mail; its number is its queue id."""
        self.arrived.append(Arrived(tuple(envelope.rcpt_tos), envelope.original_content))
        return f"250 2.0.0 Ok: queued as SINK{len(self.arrived)}"


class Recorder(LogJournal):
    """The filter's log, in a file; and what it says of each mail, to be shown."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(make_log("json", "info", out))
        self.plans: dict[bytes, Plan | None] = {}  # by content as it came in

    def mail(self, record: MailRecord) -> None:
        """Log a mail, and remember what was decided."""
        super().mail(record)
        self.plans[record.transaction.content] = record.plan


class AtWork:
    """The filter with a client before and a sink behind it."""

    def __init__(self, at_work: Running, recorder: Recorder, sink: Sink) -> None:
        self._recorder = recorder
        self._sink = sink
        self._ports = {one.settings.protocol: one.port for one in at_work.listeners}

    @property
    def arrived(self) -> list[Arrived]:
        """The copies that the next hop has got."""
        return self._sink.arrived

    async def send(self, mail: DemoMail) -> tuple[list[str], Plan | None]:
        """Hand a mail over; the replies, and what the filter had decided."""
        replies = await asyncio.to_thread(_hand_over, mail, self._ports[mail.protocol])
        return replies, self._recorder.plans.get(mail.content)


@asynccontextmanager
async def filtering(home: Path, results: Results) -> AsyncIterator[AtWork]:
    """A new installation in an empty folder, started; stopped at the end."""
    with _log(results.folder / "filter.log") as recorder:
        async with listening() as (sink, port):
            settings = home / "smimefilter.yaml"
            policies = json.dumps(str(results.folder / "policies"))  # quoted for YAML, too
            settings.write_text(SETTINGS.format(port=port, policies=policies), "utf-8")
            config = read_config(settings)
            await initialise(config)
            async with open_app(config, journal=recorder) as app:
                await _fill(app, results.folder / "people")
                async with running(app) as at_work:
                    yield AtWork(at_work, recorder, sink)


async def _fill(app: App, people: Path) -> None:
    """The certificates of everybody, the CRLs, and the key of alice."""
    store = app.database.certificates
    roots = sources_of([people / "root.pem"])
    await import_certificates(store, roots, Shelf.ROOTS)
    names = ("intermediate", "bob", "erin", "carol")
    others = sources_of([people / f"{name}.pem" for name in names])
    await import_certificates(store, others, Shelf.CERTIFICATES)
    crls = sources_of([people / "root.crl", people / "intermediate.crl"])
    await import_crls(app.database.crls, crls)
    await import_keys(store, app.master, sources_of([people / "alice.p12"]), PASSWORD)


@contextmanager
def _log(file: Path) -> Iterator[Recorder]:
    """The filter's log, with what libraries have to say."""
    with file.open("w", encoding="utf-8") as out:
        recorder = Recorder(out)
        forward_library_logs(recorder)
        try:
            yield recorder
        finally:
            logging.basicConfig(force=True)  # no more into this file


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Sink, int]]:
    """The sink, and the port that it listens on."""
    sink, loop = Sink(), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(sink, enable_SMTPUTF8=True, hostname="sink.demo.example", loop=loop),
        HOST,
        0,
    )
    try:
        yield sink, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def _hand_over(mail: DemoMail, port: int) -> list[str]:
    """The replies for a mail. Trouble on the way becomes a reply that no check takes."""
    kind = smtplib.LMTP if mail.protocol is Protocol.LMTP else smtplib.SMTP
    try:
        with kind(HOST, port, "client.demo.example", timeout=TIMEOUT) as client:
            return _dialogue(client, mail)
    except (OSError, smtplib.SMTPException) as error:
        return [f"no reply: {error}"]


def _dialogue(client: smtplib.SMTP, mail: DemoMail) -> list[str]:
    client.ehlo_or_helo_if_needed()
    answers = [client.mail(mail.sender, ["BODY=8BITMIME"])]
    answers += [client.rcpt(address) for address in mail.expected]
    if any(code != 250 for code, _ in answers):
        return [_reply(answer) for answer in answers[1:]]
    final = [client.data(mail.content)]
    if mail.protocol is Protocol.LMTP:  # `data` reads the first of them
        final += [client.getreply() for _ in range(len(mail.expected) - 1)]
    return [_reply(answer) for answer in final]


def _reply(answer: tuple[int, bytes]) -> str:
    code, text = answer
    return f"{code} {text.decode('utf-8', 'replace')}"
