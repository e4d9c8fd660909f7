"""The composition root: the one place that constructs engines, pools, stores and listeners.

`read_config` reads the settings, `open_app` opens an installation for commands, `serve` runs
the filter until it is told to stop. Everything opened is closed again, in reverse order.

Raises `AdminError`: a start that cannot work says so in one line and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pwd
import random
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from smimefilter import __version__
from smimefilter.base.errors import AdminError
from smimefilter.base.settings import load_settings
from smimefilter.config import Config, Listener, NextHop, rooted
from smimefilter.fetch.net import GuardedNet
from smimefilter.files.policies import PolicyFiles
from smimefilter.flow.activity import Activity
from smimefilter.flow.authority import AuthorityDesk
from smimefilter.flow.caretaker import Caretaker
from smimefilter.flow.challenges import ChallengeDesk
from smimefilter.flow.crl_intake import CrlIntake
from smimefilter.flow.crl_turns import Turns
from smimefilter.flow.crls import CrlUpdates
from smimefilter.flow.enrol import Bulk
from smimefilter.flow.filter import Filter
from smimefilter.flow.harvest import Harvest
from smimefilter.flow.lookups import Lookups
from smimefilter.flow.origin import Origins
from smimefilter.flow.requests import Done, Handlers, RequestDesk, Step
from smimefilter.flow.revalidation import Revalidation
from smimefilter.flow.secrets import prove_master_key
from smimefilter.flow.send import KeyPost, steps_after
from smimefilter.flow.snapshots import Snapshots
from smimefilter.flow.witnessed import Quiet, Witnessed
from smimefilter.handlers.registry import Registry, SealedVault, installed
from smimefilter.keys.master import CREDENTIAL, MasterKey, generate_master_key, load_master_key
from smimefilter.keys.wrapped import KeyVault, WrappedKeyRing
from smimefilter.notify.sms import sms_transport
from smimefilter.notify.texts import TemplateLetters
from smimefilter.obs import health, systemd
from smimefilter.obs.log import LogJournal, forward_library_logs, make_log
from smimefilter.obs.meter import PrometheusMeter
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    CA_CRL_DAYS,
    CA_DIGEST,
)
from smimefilter.policy.tree import View
from smimefilter.ports.audit import Scribe
from smimefilter.ports.journal import Journal
from smimefilter.ports.meter import Meter, NoMeter
from smimefilter.ports.net import Net
from smimefilter.ports.notify import NoSms
from smimefilter.ports.requests import StoredRequest
from smimefilter.smtp.connect import probe
from smimefilter.smtp.listener import MailListener
from smimefilter.smtp.relay import SmtpRelay
from smimefilter.store.database import Database, restore
from smimefilter.trust.verdict import Purpose, Verdict
from smimefilter.web.publish import Publisher

NO_POLICY: Final = """\
# What holds for everybody; docs/preferences.md describes every preference.
preferences: {}
"""
ANOTHER_PORT: Final = "stop it, or choose another port"
_READING: Final = timedelta(minutes=10)  # of what was fetched, waiting for others included
DAEMON: Final = "daemon"  # actor in the audit log
GRACE: Final = 30.0  # seconds that mails under way have to end in when stopping


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def read_config(path: Path) -> Config:
    """The settings; relative paths in them start at the file's folder."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise AdminError("not UTF-8", where=str(path), mend="convert it") from None
    except OSError as error:
        raise AdminError(
            f"cannot be read: {(error.strerror or str(error)).lower()}",
            where=str(path),
            mend="name the settings with --config FILE; config/smimefilter.yaml is a start",
        ) from None
    return config_of(text, path)


def config_of(text: str, path: Path) -> Config:
    """Settings that are, or will be, in this file."""
    return rooted(load_settings(text, str(path), Config), path.resolve().parent)


class App:
    """An opened installation: what commands and the daemon work with."""

    def __init__(
        self,
        config: Config,
        database: Database,
        master: MasterKey,
        journal: LogJournal,
    ) -> None:
        self.config: Final = config
        self.database: Final = database
        self.master: Final = master
        self.journal: Final = journal
        self.policies: Final = PolicyFiles(config.policies)
        self.hostname: Final = config.hostname or socket.getfqdn()
        self.authserv_id: Final = config.authserv_id or self.hostname
        self._vault: Final = KeyVault(master)

    def ring(self, blobs: Mapping[str, bytes]) -> WrappedKeyRing:
        """The key ring over wrapped keys, by thumbprint."""
        return self._vault.ring(blobs)

    def snapshots(self) -> Snapshots:
        """The state that mails are decided from; not loaded yet."""
        return Snapshots(
            states=self.database.states,
            policies=self.policies,
            ring=self.ring,
            sealer=self.master,
            journal=self.journal,
            answers=self.database.ocsp_answers,
            clock=now,
            most_octets=self.config.max_opened_size,
            audit=self.database.audit,
        )

    def crl_updates(
        self, net: Net, snapshots: Snapshots, meter: Meter | None = None
    ) -> CrlUpdates:
        """The fetching of CRLs."""
        fetch = self.config.fetch
        intake = CrlIntake(
            snapshots=snapshots,
            crls=self.database.crls,
            clock=now,
            turns=Turns(timedelta(seconds=fetch.every), random.random),
            most=fetch.max_crls_size,
        )
        return CrlUpdates(
            net=net,
            snapshots=snapshots,
            sources=self.database.crl_sources,
            intake=intake,
            journal=self.journal,
            clock=now,
            lease=timedelta(seconds=fetch.total_timeout) + _READING,
            most=fetch.max_crl_size,
            meter=meter,
        )


@dataclass(frozen=True, slots=True)
class Office:
    """The certificate authority of an installation."""

    snapshots: Snapshots
    authority: AuthorityDesk
    registry: Registry
    requests: RequestDesk
    bulk: Bulk
    post: KeyPost
    challenges: ChallengeDesk
    relay: SmtpRelay

    @property
    def moment(self) -> Moment:
        """The state of now."""
        return self.snapshots.current.snapshot.at(now())


@dataclass(frozen=True, slots=True)
class _Services:
    """What request handlers may use."""

    clock: Callable[[], datetime]
    issuing: AuthorityDesk
    challenges: ChallengeDesk
    vault: SealedVault


def office_of(app: App, snapshots: Snapshots, journal: Journal | None = None) -> Office:
    """The certificate authority, over snapshots that are loaded."""
    database = app.database

    def view() -> View:
        return snapshots.current.snapshot.tree.view("")

    async def judge(certificate: Certificate) -> Verdict:
        moment = snapshots.current.snapshot.at(now())
        return moment.verdict(certificate, Purpose.ANY, moment.view(""))

    authority = AuthorityDesk(
        authorities=database.authorities,
        certificates=database.certificates,
        crls=database.crls,
        sealer=app.master,
        clock=now,
        crl_days=lambda: view().get(CA_CRL_DAYS).value,
        digest=lambda: str(view().get(CA_DIGEST).value),
        judge=judge,
        journal=journal or app.journal,
    )
    relay = SmtpRelay(app.config, app.hostname)
    challenges = ChallengeDesk(
        mails=database.challenges,
        relay=relay,
        journal=journal or app.journal,
        hostname=app.hostname,
        clock=now,
    )
    vault = SealedVault(database.handlers, app.master)
    services = _Services(now, authority, challenges, vault)
    registry = Registry(database.handlers, app.master, services)
    settings = app.config.notify
    sms = settings.sms
    post = KeyPost(
        relay=relay,
        letters=TemplateLetters(settings.language, settings.templates),
        sms=NoSms() if sms is None else sms_transport(sms.transport, sms.settings),
        hostname=app.hostname,
        clock=now,
    )

    def finish(done: Done) -> list[Step]:
        return steps_after(
            done, post, database.preferences, app.master, snapshots.current.snapshot.tree.view
        )

    requests = RequestDesk(
        requests=database.requests,
        certificates=database.certificates,
        handlers=Handlers(installed, registry.opened),
        sealer=app.master,
        clock=now,
        journal=journal or app.journal,
        finish=finish,
        chance=random.random,
    )

    async def all_of(batch: str) -> list[StoredRequest]:
        return await database.requests.all(batch=batch)

    bulk = Bulk(requests, all_of)
    return Office(snapshots, authority, registry, requests, bulk, post, challenges, relay)


@asynccontextmanager
async def office(app: App) -> AsyncIterator[Office]:
    """The certificate authority, for a command."""
    snapshots = app.snapshots()
    await snapshots.load()
    found = office_of(app, snapshots, Quiet(app.journal))
    try:
        yield found
    finally:
        found.relay.close()


@asynccontextmanager
async def updating(app: App) -> AsyncIterator[CrlUpdates]:
    """The fetching of CRLs, for a command."""
    snapshots = app.snapshots()
    await snapshots.load()
    async with GuardedNet(app.config.fetch) as net:
        yield app.crl_updates(net, snapshots)


@asynccontextmanager
async def open_app(
    config: Config,
    *,
    upgrade: bool = False,
    journal: LogJournal | None = None,
    actor: str = "",
) -> AsyncIterator[App]:
    """Open an installation; with `upgrade` its database is brought up to date first.

    `journal` takes the place of the configured log; `actor` is who acts, as the audit log
    tells it, else the user of the system.
    """
    master = master_key_of(config)
    journal = journal or LogJournal(make_log(config.log.format, config.log.level))
    scribe = scribe_of(config, master, actor)
    async with Database(config.database, upgrade=upgrade, scribe=scribe) as database:
        await prove_master_key(database.secrets, master)
        yield App(config, database, master, journal)


def scribe_of(config: Config, master: MasterKey | None, actor: str = "") -> Scribe:
    """Who writes the audit log of an installation."""
    return Scribe(actor or system_user(), config.hostname or socket.getfqdn(), master)


def system_user() -> str:
    """Who runs this: the user of the system; of root also who became it by sudo."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"user {number}"
    by = os.environ.get("SUDO_USER") if number == 0 else None
    return f"{name} (sudo by {by})" if by else name


def master_key_of(config: Config) -> MasterKey:
    """The master key of an installation: the credential that systemd hands over, where it
    does; else the configured file, which may belong to root alone. Raises `AdminError`."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    handed_over = folder is not None and (Path(folder) / CREDENTIAL).exists()
    return load_master_key(None if handed_over else config.master_key, folder)


async def initialise(config: Config) -> list[str]:
    """Set an installation up: master key, database, policy folder. Says what it made; what
    is there already stays as it is. Raises `AdminError`."""
    made = []
    key = config.master_key
    new_key = key if key is not None and not key.exists() else None
    # what is wrong with it is said before anything is made
    master = master_key_of(config) if new_key is None else None
    scribe = scribe_of(config, master)
    async with Database(config.database, upgrade=True, scribe=scribe) as database:
        if new_key is not None:
            await _fit_for_a_new_key(database, new_key)
            generate_master_key(new_key)
            made.append(f"master key {new_key}: keep a copy in a safe place")
    async with open_app(config):
        made.append(f"database {config.database.rpartition('@')[2]}")
    if not config.policies.exists():
        config.policies.mkdir(parents=True)
        (config.policies / "global.yaml").write_text(NO_POLICY)
        made.append(f"policy folder {config.policies}")
    return made


async def fill(config: Config, master: MasterKey, **what: Any) -> None:
    """Fill the empty database of an installation from a backup; `what` as `store/dump.py`
    has it. Raises `AdminError`."""
    await restore(config.database, scribe=scribe_of(config, master), **what)


async def _fit_for_a_new_key(database: Database, missing: Path) -> None:
    if await database.secrets.check_value() is not None:
        raise AdminError(
            "the master key does not exist, and the database was made with it",
            where=str(missing),
            mend="put it back; without it the private keys in the database are lost",
        )


def rehearse(app: App) -> None:
    """All of `serve` that can be done while another one runs. Raises `AdminError`."""
    Running(app, app.snapshots())


class Running:
    """The filter at work: listeners, relay and the snapshots behind them."""

    def __init__(self, app: App, snapshots: Snapshots) -> None:
        self._app = app
        self._snapshots = snapshots
        self._relay = SmtpRelay(app.config, app.hostname)
        self.net = GuardedNet(app.config.fetch)
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
            snapshots, self._activity, app.journal, self._meter, now, self._lookups
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
        )
        self.listeners = [
            MailListener(
                settings,
                hostname=app.hostname,
                accept=self.filter.accept,
                accounts=app.database.accounts,
                abilities=self._relay.abilities,
            )
            for settings in app.config.listeners
        ]

    async def start(self) -> None:
        """Listen on every address, or on none. Raises `AdminError`."""
        try:
            if isinstance(self._meter, PrometheusMeter) and self._app.config.metrics:
                self._meter.show(self._app.config.metrics, self._health())
            if self.publisher is not None:
                await self.publisher.start()
            for listener in self.listeners:
                await listener.start()
        except BaseException:
            await self.stop(0)
            raise
        await self._activity.load()
        self.keeper = asyncio.create_task(self._snapshots.keep_current())
        self._helpers = [
            asyncio.create_task(self._activity.keep()),
            asyncio.create_task(self._harvest.keep()),
            asyncio.create_task(self._revalidation.run()),
            asyncio.create_task(self._caretaker.run()),
            asyncio.create_task(self._relay.get_acquainted()),
        ]
        if self._app.config.fetch.crls:
            self._helpers.append(asyncio.create_task(self._crl_updates.run()))
        for listener in self.listeners:
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
        if isinstance(self._meter, PrometheusMeter):
            self._meter.hide()
        if self.publisher is not None:
            await self.publisher.stop()
        self._relay.close()

    async def reload(self) -> None:
        """Read policy files again, as SIGHUP asks for."""
        systemd.reloading()
        await self._snapshots.reload_files()
        systemd.notify("READY=1")


@asynccontextmanager
async def running(app: App) -> AsyncIterator[Running]:
    """The filter, started; stopped at the end."""
    snapshots = app.snapshots()
    await snapshots.load()
    at_work = Running(app, snapshots)
    async with at_work.net:
        await at_work.start()
        try:
            yield at_work
        finally:
            await at_work.stop()


async def serve(config: Config) -> None:
    """Run the filter until SIGTERM or SIGINT. Raises `AdminError` when it cannot start."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold private keys
    opened = open_app(config, upgrade=True, actor=DAEMON)
    async with opened as app, running(app) as at_work:
        forward_library_logs(app.journal)
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = loop.create_task(at_work.reload())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        loop.add_signal_handler(signal.SIGHUP, reload)
        gc.collect()
        gc.freeze()  # what was loaded stays: collections need not walk it again and again
        systemd.notify("READY=1")
        app.journal.note("ready", version=__version__, pid=os.getpid())
        await _until(ending, at_work.keeper)
        systemd.notify("STOPPING=1")
        app.journal.note("stopping")


async def _until(ending: asyncio.Event, keeper: asyncio.Task[None] | None) -> None:
    """Wait for the end, and keep systemd's watchdog quiet meanwhile. A keeper that fails is
    a defect: better begin anew than go on with what once was."""
    interval = systemd.watchdog_interval()
    waits: set[asyncio.Task[Any]] = {asyncio.create_task(ending.wait())}
    if keeper is not None:
        waits.add(keeper)
    while not ending.is_set():
        await asyncio.wait(waits, timeout=interval, return_when=asyncio.FIRST_COMPLETED)
        if keeper is not None and keeper.done():
            keeper.result()
        systemd.notify("WATCHDOG=1")


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
