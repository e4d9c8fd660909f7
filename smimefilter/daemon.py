"""The filter, composed: listeners, relay, the snapshots behind them, and what goes on beside.

`serve` runs it until it is told to stop, in this process or in workers; `rehearse` does all of
that which can be done while another one runs. Together with `app.py` the one place that
constructs. Raises `AdminError`: a start that cannot work says so in one line and leaves nothing
behind.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from smimefilter import __version__
from smimefilter.app import (
    DAEMON,
    App,
    config_of,
    now,
    office_of,
    open_app,
    read_config,
    text_of,
)
from smimefilter.base.errors import AdminError, joined
from smimefilter.config import (
    Config,
    Listener,
    NextHop,
    Protocol,
    hand_over_file,
    shared,
)
from smimefilter.fetch.net import GuardedNet
from smimefilter.files.modes import exposed
from smimefilter.flow.activity import Activity
from smimefilter.flow.caretaker import Caretaker
from smimefilter.flow.filter import Filter
from smimefilter.flow.handover import Tries
from smimefilter.flow.harvest import Harvest
from smimefilter.flow.lookups import Lookups
from smimefilter.flow.origin import Origins
from smimefilter.flow.revalidation import Revalidation
from smimefilter.flow.snapshots import Snapshots
from smimefilter.flow.witnessed import Witnessed
from smimefilter.obs import health
from smimefilter.obs.log import LogJournal, forward_library_logs, make_log
from smimefilter.obs.meter import PrometheusMeter, keep_numbers_in
from smimefilter.ports.meter import NoMeter
from smimefilter.smtp.accepting import Board
from smimefilter.smtp.admission import Admission
from smimefilter.smtp.connect import probe
from smimefilter.smtp.listener import MailListener
from smimefilter.smtp.relay import SmtpRelay
from smimefilter.smtp.sockets import listening
from smimefilter.store.handover import SqliteHandOvers
from smimefilter.web.publish import Publisher
from smimefilter.workers.assignment import ALONE, Assignment, inherited, read_assignment
from smimefilter.workers.contact import Contact
from smimefilter.workers.life import Life, Manager, Systemd
from smimefilter.workers.sockets import Door
from smimefilter.workers.supervisor import Supervisor, Work

ANOTHER_PORT: Final = "stop it, or choose another port"
GRACE: Final = 30.0  # seconds that mails under way have to end in when stopping


def rehearse(app: App) -> None:
    """All of `serve` that can be done while another one runs. Raises `AdminError`."""
    Running(app, app.snapshots())


class Running:
    """The filter at work: listeners, relay and the snapshots behind them."""

    def __init__(self, app: App, snapshots: Snapshots, part: Assignment = ALONE) -> None:
        """`part`: of the work, what this process does."""
        self._app = app
        self._snapshots = snapshots
        self._part = part
        self._relay = SmtpRelay(app.config, app.hostname)
        self.net = GuardedNet(app.config.fetch)
        if part.numbers:
            keep_numbers_in(part.numbers, part.id)
        self._meter = PrometheusMeter() if app.config.metrics else NoMeter()
        self._activity = Activity(app.journal, app.database.active_users, now)
        self._harvest = Harvest(
            snapshots, app.database.certificates, app.database.correspondents, app.journal, now
        )
        self._lookups = Lookups(
            net=self.net,
            snapshots=snapshots,
            answers=app.database.ocsp_answers,
            certificates=app.database.certificates,
            journal=app.journal,
            clock=now,
        )
        self._revalidation = Revalidation(
            snapshots,
            self._activity,
            app.journal,
            self._meter,
            now,
            self._lookups,
            reports=part.leads,
        )
        self._crl_updates = app.crl_updates(self.net, snapshots, self._meter)
        ca = self._office = office_of(app, snapshots)
        self._caretaker = Caretaker(
            snapshots=snapshots,
            authority=ca.authority,
            desk=ca.requests,
            requests=app.database.requests,
            journal=app.journal,
            clock=now,
            leads=part.leads,
        )
        self.publisher = (
            Publisher(
                app.config.publish,
                published=ca.authority.published,
                revision=app.database.states.revision,
                clock=now,
            )
            if app.config.publish
            else None
        )
        witnesses = (self._activity, self._harvest, self._caretaker, self._meter)
        self._hand_overs = _hand_overs(app.config)
        self._tries = Tries(self._hand_overs, app.journal) if self._hand_overs else None
        self._helpers: list[asyncio.Task[None]] = []  # their trouble stops no mail
        self.keeper: asyncio.Task[None] | None = None  # keeps the snapshots current
        self.filter = Filter(
            snapshots=snapshots,
            relay=self._relay,
            journal=Witnessed(app.journal, witnesses),
            clock=now,
            hostname=app.hostname,
            threads_from=app.config.threads_from,
            origins=Origins(app.config.own_clients),
            lookups=self._lookups,
            lookup_wait=app.config.fetch.mail_waits,
            authserv_id=app.authserv_id,
            challenges=ca.challenges,
            tries=self._tries,
        )
        limits = app.config.limits
        self._admission = Admission(
            mails=limits.mails, octets=limits.bytes, patience=limits.wait, meter=self._meter
        )
        board = Board(part.board, part.number - 1, part.of) if part.board >= 0 else None
        self.listeners = [
            MailListener(
                settings,
                board=board,
                admission=self._admission,
                hostname=app.hostname,
                accept=self.filter.accept,
                accounts=app.database.accounts,
                abilities=self._relay.abilities,
                told=self.filter.told,
            )
            for settings in app.config.listeners
        ]

    async def start(self) -> None:
        """Listen on every address, or on none. Raises `AdminError`."""
        try:
            metrics = self._app.config.metrics if not self._part.numbers else None
            if isinstance(self._meter, PrometheusMeter) and metrics:
                self._meter.show(metrics, self._health())
            if self._hand_overs is not None:
                self._hand_overs.open()
            given = [inherited(one) for one in self._part.sockets]
            for listener in self.listeners:
                await listener.start(given.pop(0) if given else ())
            if self.publisher is not None:
                await self.publisher.start(given.pop(0) if given else ())
        except BaseException:
            await self.stop(0)
            raise
        await self._activity.load()
        self.keeper = asyncio.create_task(self._snapshots.keep_current(self._meter))
        self._helpers = [
            asyncio.create_task(self._activity.keep()),
            asyncio.create_task(self._harvest.keep()),
            asyncio.create_task(self._revalidation.run()),
            asyncio.create_task(self._caretaker.run()),
            asyncio.create_task(self._relay.get_acquainted()),
        ]
        if self._app.config.fetch.crls and self._part.leads:
            self._helpers.append(asyncio.create_task(self._crl_updates.run()))
        for listener in self.listeners if not self._part.sockets else ():
            self._app.journal.note(
                "listening",
                protocol=listener.settings.protocol.value,
                address=listener.settings.address,
                port=listener.port,
            )

    def _health(self) -> health.Health:
        def listening() -> dict[str, bool]:
            return {str(one): one.is_listening for one in self.listeners}

        return health.Health(
            {
                "event loop": health.answers(asyncio.get_running_loop()),
                "keeper": health.keeper(lambda: self.keeper),
            },
            {
                "snapshots": health.snapshots(self._snapshots),
                "listeners": health.listeners(listening),
                "database": health.database(self._snapshots),
                "policies": health.policies(self._snapshots),
            },
        )

    async def stop(self, grace: float = GRACE) -> None:
        """Take no more mail, let those under way end."""
        await asyncio.gather(*(listener.stop(grace) for listener in self.listeners))
        tasks = [*self._helpers, *([self.keeper] if self.keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lookups.close()
        self._office.relay.close()
        if self._tries is not None and self._hand_overs is not None:
            await self._tries.close()
            await self._hand_overs.close()
        if isinstance(self._meter, PrometheusMeter):
            self._meter.hide()
        if self.publisher is not None:
            await self.publisher.stop()
        self._relay.close()

    async def retire(self, grace: float = GRACE) -> None:
        """Take no new client, and wait for those there are to go by themselves, for a time:
        others have taken our place."""
        if self.publisher is not None:
            self.publisher.close()
        await asyncio.gather(*(listener.retire(grace) for listener in self.listeners))

    async def reload(self) -> None:
        """Read policy files again, as SIGHUP asks for."""
        await self._snapshots.reload_files()


def _hand_overs(config: Config) -> SqliteHandOvers | None:
    """The hand-over journal, not opened yet; None where there is LMTP only, which needs none.
    Raises `AdminError`."""
    if all(listener.protocol is Protocol.LMTP for listener in config.listeners):
        return None
    file = hand_over_file(config)
    if file is None:
        raise AdminError(
            "a listener takes mail by SMTP, and there is no place for the hand-over journal",
            where="hand-over",
            mend="name a file on this host, such as /var/lib/smimefilter/hand-over.db",
        )
    return SqliteHandOvers(file, now)


@asynccontextmanager
async def running(app: App, part: Assignment = ALONE) -> AsyncIterator[Running]:
    """The filter, started; stopped at the end."""
    snapshots = app.snapshots(noted=part.leads)
    await snapshots.load()
    at_work = Running(app, snapshots, part)
    async with at_work.net:
        await at_work.start()
        try:
            yield at_work
        finally:
            await at_work.stop()


def serve(path: Path, workers: int | None = None) -> None:
    """Run the filter until SIGTERM or SIGINT: in this process, or with several workers (so
    many, by the settings, or one for each core) as their supervisor; in a process that a
    supervisor has started, as its worker. Raises `AdminError` when it cannot start."""
    assigned = read_assignment()
    if assigned is not None:
        part, line = assigned
        config = shared(config_of(part.text, Path(part.name)), part.of)
        uvloop.run(_serve(config, Path(part.name), part, Contact(part, line)))
        return
    config = read_config(path)
    if (workers or _workers(config)) == 1:
        _refuse_what_others_write(config, path)
        uvloop.run(_serve(config, path, ALONE, Systemd()))
        return
    journal = LogJournal(make_log(config.log.format, config.log.level))
    supervisor = Supervisor(partial(_work, path, workers), Board.make, journal, GRACE)
    asyncio.run(supervisor.run())


def _workers(config: Config) -> int:
    return config.workers or len(os.sched_getaffinity(0))


def _work(path: Path, workers: int | None) -> Work:
    """What a supervisor has to know of the settings. Raises `AdminError`."""
    text = text_of(path)
    config = config_of(text, path)
    _refuse_what_others_write(config, path)
    places = [(one.protocol.value, one.address, one.port) for one in config.listeners]
    if config.publish is not None:
        places.append(("publish", config.publish.address, config.publish.port))
    return Work(
        name=str(path),
        text=text,
        workers=workers or _workers(config),
        doors=tuple(
            Door(purpose, address, port, partial(listening, address, port, purpose))
            for purpose, address, port in places
        ),
        metrics=config.metrics,
    )


async def _serve(config: Config, path: Path, part: Assignment, manager: Manager) -> None:
    opened = open_app(config, upgrade=part.upgrade, actor=DAEMON)
    async with opened as app, running(app, part) as at_work:
        if part.leads:
            _tell_exposed(config, path, app.journal)
        forward_library_logs(app.journal)
        life = Life(manager, reload=at_work.reload, retire=at_work.retire)
        alone = part is ALONE

        def begun() -> None:
            if alone:
                app.journal.note("ready", version=__version__, pid=os.getpid(), workers=1)

        await life.last(at_work.keeper, begun)
        if alone:
            app.journal.note("stopping")


def _refuse_what_others_write(config: Config, settings: Path) -> None:
    found = [one for one in exposed(config, settings) if one.is_writable]
    if found:
        errors = [AdminError(one.what, where=str(one.path), mend=one.mend) for one in found]
        raise joined(errors)


def _tell_exposed(config: Config, settings: Path, journal: LogJournal) -> None:
    for one in exposed(config, settings):
        journal.warn("file open to others", file=str(one.path), what=one.what, mend=one.mend)


async def probe_next_hop(config: Config, hop: NextHop) -> str:
    """What a next hop says of itself, in one line. Raises `AdminError`."""
    found = await probe(hop, config.hostname or socket.getfqdn())
    return f"{found.banner}; offers {' '.join(sorted(found.extensions))}"


async def probe_listener(settings: Listener) -> tuple[str, str, str]:
    """Grade, what, and mend: whether the filter answers there, or could listen there."""
    try:
        greeting = await _greeting(settings)
    except TimeoutError:
        return "bad", "something else listens there, in silence", ANOTHER_PORT
    except OSError:
        return "warning", "nothing listens there", "start it: systemctl start smimefilter"
    if "smimefilter" in greeting:
        return "good", "the filter answers", ""
    return "bad", f"something else answers: {greeting or '(nothing)'}", ANOTHER_PORT


async def _greeting(settings: Listener) -> str:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(settings.address, settings.port)
        try:
            return (await reader.readline()).decode("ascii", "replace").strip()[:80]
        finally:
            writer.close()
