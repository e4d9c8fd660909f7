"""The composition root: the one place that constructs engines, pools, stores and listeners.

`read_config` reads the settings, `open_app` opens an installation for commands, `serve` runs
the filter until it is told to stop. Everything opened is closed again, in reverse order.

Raises `AdminError`: a start that cannot work says so in one line and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter import __version__
from smimefilter.base.errors import AdminError, joined
from smimefilter.base.settings import load_settings
from smimefilter.config import (
    Config,
    Listener,
    NextHop,
    Protocol,
    hand_over_file,
    rooted,
    shared,
)
from smimefilter.fetch.net import GuardedNet
from smimefilter.files.modes import exposed
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
from smimefilter.flow.handover import Tries
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
from smimefilter.keys.token import Token, open_token, read_pin
from smimefilter.keys.tokenkeys import private_key
from smimefilter.keys.wrapped import KeyVault, WrappedKeyRing
from smimefilter.notify.sms import sms_transport
from smimefilter.notify.texts import TemplateLetters
from smimefilter.obs import health
from smimefilter.obs.log import LogJournal, forward_library_logs, make_log
from smimefilter.obs.meter import PrometheusMeter, keep_numbers_in
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
from smimefilter.smtp.accepting import Board
from smimefilter.smtp.admission import Admission
from smimefilter.smtp.connect import probe
from smimefilter.smtp.listener import MailListener
from smimefilter.smtp.relay import SmtpRelay
from smimefilter.smtp.sockets import listening
from smimefilter.store.database import Database, restore
from smimefilter.store.handover import SqliteHandOvers
from smimefilter.trust.verdict import Purpose, Verdict
from smimefilter.web.publish import Publisher
from smimefilter.workers.assignment import ALONE, Assignment, inherited, read_assignment
from smimefilter.workers.contact import Contact
from smimefilter.workers.life import Life, Manager, Systemd
from smimefilter.workers.sockets import Door
from smimefilter.workers.supervisor import Supervisor, Work

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
    return config_of(_text_of(path), path)


def config_of(text: str, path: Path) -> Config:
    """Settings that are, or will be, in this file."""
    return rooted(load_settings(text, str(path), Config), path.resolve().parent)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise AdminError("not UTF-8", where=str(path), mend="convert it") from None
    except OSError as error:
        raise AdminError(
            f"cannot be read: {(error.strerror or str(error)).lower()}",
            where=str(path),
            mend="name the settings with --config FILE; config/smimefilter.yaml is a start",
        ) from None


class App:
    """An opened installation: what commands and the daemon work with."""

    def __init__(
        self,
        config: Config,
        database: Database,
        master: MasterKey,
        journal: LogJournal,
        token: Token | None = None,
    ) -> None:
        self.config: Final = config
        self.database: Final = database
        self.master: Final = master
        self.journal: Final = journal
        self.policies: Final = PolicyFiles(config.policies)
        self.hostname: Final = config.hostname or socket.getfqdn()
        self.authserv_id: Final = config.authserv_id or self.hostname
        self.token: Final = token
        self.vault: Final = KeyVault(
            master, token=None if token is None else partial(private_key, token)
        )

    def ring(self, blobs: Mapping[str, bytes]) -> WrappedKeyRing:
        """The key ring over wrapped keys, by thumbprint."""
        return self.vault.ring(blobs)

    def new_token_key(self, kind: str, label: str) -> PrivateKeyTypes:
        """A key made in the token. Raises `AdminError`, `KeyTrouble`."""
        if self.token is None:
            raise AdminError("the settings name no token", mend="name one: docs/hsm.md")
        return private_key(self.token, self.token.generate(kind, label))

    def snapshots(self, *, noted: bool = True) -> Snapshots:
        """The state that mails are decided from; not loaded yet. `noted`: policies that are
        read again are told of in the audit log."""
        return Snapshots(
            states=self.database.states,
            policies=self.policies,
            ring=self.ring,
            sealer=self.master,
            journal=self.journal,
            answers=self.database.ocsp_answers,
            clock=now,
            most_octets=self.config.max_opened_size,
            audit=self.database.audit if noted else None,
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
        unwrapped=app.vault.unwrapped,
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
    token = token_of(config)
    scribe = scribe_of(config, master, actor)
    async with Database(config.database, upgrade=upgrade, scribe=scribe) as database:
        await prove_master_key(database.secrets, master)
        try:
            yield App(config, database, master, journal, token)
        finally:
            if token is not None:
                token.close()


def token_of(config: Config) -> Token | None:
    """The token that the settings name; nothing is asked of it yet. Raises `AdminError`."""
    named = config.token
    if named is None:
        return None
    pin = partial(read_pin, named.pin_file, os.environ.get("CREDENTIALS_DIRECTORY"))
    return open_token(named.module, named.label, pin, named.timeout)


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
        made.append(f"database {database.where}")
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
    text = _text_of(path)
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
