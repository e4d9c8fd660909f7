"""The composition root: the one place that constructs engines, pools, stores and listeners.

`read_config` reads the settings, `open_app` opens an installation, for commands and for the
filter itself, which `daemon.py` composes of it. Everything opened is closed again, in reverse
order.

Raises `AdminError`: a start that cannot work says so in one line and leaves nothing behind.
"""

from __future__ import annotations

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

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.errors import AdminError
from smimefilter.base.settings import load_settings
from smimefilter.config import (
    Config,
    rooted,
)
from smimefilter.fetch.net import GuardedNet
from smimefilter.files.policies import PolicyFiles
from smimefilter.flow.authority import AuthorityDesk
from smimefilter.flow.challenges import ChallengeDesk
from smimefilter.flow.crl_intake import CrlIntake
from smimefilter.flow.crl_turns import Turns
from smimefilter.flow.crls import CrlUpdates
from smimefilter.flow.enrol import Bulk
from smimefilter.flow.requests import Done, Handlers, RequestDesk, Step
from smimefilter.flow.secrets import prove_master_key
from smimefilter.flow.send import KeyPost, steps_after
from smimefilter.flow.snapshots import Snapshots
from smimefilter.flow.witnessed import Quiet
from smimefilter.handlers.registry import Registry, SealedVault, installed
from smimefilter.keys.master import CREDENTIAL, MasterKey, generate_master_key, load_master_key
from smimefilter.keys.token import Token, open_token, read_pin
from smimefilter.keys.tokenkeys import private_key
from smimefilter.keys.wrapped import KeyVault, WrappedKeyRing
from smimefilter.notify.sms import sms_transport
from smimefilter.notify.texts import TemplateLetters
from smimefilter.obs.log import LogJournal, make_log
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    CA_CRL_DAYS,
    CA_DIGEST,
)
from smimefilter.policy.tree import View
from smimefilter.ports.audit import Scribe
from smimefilter.ports.journal import Journal
from smimefilter.ports.meter import Meter
from smimefilter.ports.net import Net
from smimefilter.ports.notify import NoSms
from smimefilter.ports.requests import StoredRequest
from smimefilter.smtp.relay import SmtpRelay
from smimefilter.store.database import Database, restore
from smimefilter.trust.verdict import Purpose, Verdict

NO_POLICY: Final = """\
# What holds for everybody; docs/preferences.md describes every preference.
preferences: {}
"""
_READING: Final = timedelta(minutes=10)  # of what was fetched, waiting for others included
DAEMON: Final = "daemon"  # actor in the audit log


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def read_config(path: Path) -> Config:
    """The settings; relative paths in them start at the file's folder."""
    return config_of(text_of(path), path)


def config_of(text: str, path: Path) -> Config:
    """Settings that are, or will be, in this file."""
    return rooted(load_settings(text, str(path), Config), path.resolve().parent)


def text_of(path: Path) -> str:
    """The content of a settings file. Raises `AdminError`."""
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
