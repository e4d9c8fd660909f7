"""The database as a whole: opened once, its stores as attributes.

A SQLite file is made with mode 0600 when the database is set up, never when it is merely
opened. Whatever keeps a database from being opened is one line for an administrator.

Raises `AdminError` on opening; while running the stores raise `StoreTrouble`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from smimefilter.base.errors import AdminError
from smimefilter.ports.audit import NOBODY, Audit, Scribe
from smimefilter.ports.requests import (
    Authorities,
    ChallengeMails,
    HandlerSettings,
    Requests,
)
from smimefilter.ports.stores import (
    Accounts,
    ActiveUsers,
    Certificates,
    Correspondents,
    Crls,
    CrlSources,
    OcspAnswers,
    Preferences,
    Secrets,
    States,
    TrustList,
)

from .accounts import SqlAccounts
from .activity import SqlActiveUsers
from .answers import SqlOcspAnswers
from .audit import SqlAudit
from .authorities import SqlAuthorities, SqlHandlerSettings
from .certs import SqlCertificates
from .challenges import SqlChallengeMails
from .correspondents import SqlCorrespondents
from .crls import SqlCrls
from .ctl import SqlTrustList
from .dump import dump, load
from .engine import ROOTS, Sessions, connect, is_sqlite
from .migrate import check, migrate
from .prefs import SqlPreferences
from .requests import SqlRequests
from .secrets import SqlSecrets
from .sources import SqlCrlSources
from .state import SqlStates

_DRIVERS: Final = {"sqlite+aiosqlite", "postgresql+asyncpg"}
_PARAMETERS: Final = {"host", "passfile", "port", "ssl", ROOTS}  # of a URL of PostgreSQL
_TURN: Final = 60.0  # seconds that another one may take to set a database up
_SQLITE_MAGIC: Final = b"SQLite format 3\0"


class Database:
    """An asynchronous context manager.

    `url` as SQLAlchemy takes it: `sqlite+aiosqlite:///relative.db`, four slashes for an
    absolute path, or `postgresql+asyncpg://user:password@host/name`. `where` is its name for
    people, without a password. With `upgrade=True` the
    database is set up or brought up to date first; otherwise it must be. `scribe` writes the
    audit log; one without a sealer leaves its head unsealed, which `audit verify` says.
    """

    states: States
    certificates: Certificates
    trust_list: TrustList
    crls: Crls
    crl_sources: CrlSources
    ocsp_answers: OcspAnswers
    correspondents: Correspondents
    preferences: Preferences
    accounts: Accounts
    active_users: ActiveUsers
    secrets: Secrets
    authorities: Authorities
    requests: Requests
    challenges: ChallengeMails
    handlers: HandlerSettings
    audit: Audit

    def __init__(self, url: str, *, upgrade: bool = False, scribe: Scribe = NOBODY) -> None:
        self._url: Final = _parsed(url)
        self.where: Final = _name(self._url)
        self._upgrade: Final = upgrade
        self._scribe: Final = scribe
        self._engine: AsyncEngine

    async def __aenter__(self) -> Self:
        if is_sqlite(self._url) and self._upgrade:
            async with _alone(self.where):
                await self._open()
        else:
            await self._open()
        self._sessions = Sessions(self._engine, self._scribe)
        self._open_stores(self._sessions)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._engine.dispose()

    async def _open(self) -> None:
        if is_sqlite(self._url):
            _look_at_file(self.where, may_create=self._upgrade)
        self._engine = _engine(self._url)
        try:
            if self._upgrade:
                await migrate(self._engine, self.where, self._scribe)
            else:
                await check(self._engine, self.where)
        except (SQLAlchemyError, OSError) as error:
            await self._engine.dispose()
            raise _cannot_open(error, self.where) from error
        except BaseException:
            await self._engine.dispose()
            raise

    async def dump(
        self, write: Callable[[bytes], object], seen: Callable[[int], None]
    ) -> dict[str, int]:
        """Write all of it, of one moment, as `dump.py` says; how many rows of each table."""
        return await dump(self._sessions, write, seen)

    def _open_stores(self, sessions: Sessions) -> None:
        self.states = SqlStates(sessions, self._engine)
        self.certificates = SqlCertificates(sessions)
        self.trust_list = SqlTrustList(sessions)
        self.crls = SqlCrls(sessions)
        self.crl_sources = SqlCrlSources(sessions)
        self.ocsp_answers = SqlOcspAnswers(sessions)
        self.correspondents = SqlCorrespondents(sessions)
        self.preferences = SqlPreferences(sessions)
        self.accounts = SqlAccounts(sessions)
        self.active_users = SqlActiveUsers(sessions)
        self.secrets = SqlSecrets(sessions)
        self.authorities = SqlAuthorities(sessions)
        self.requests = SqlRequests(sessions)
        self.challenges = SqlChallengeMails(sessions)
        self.handlers = SqlHandlerSettings(sessions)
        self.audit = SqlAudit(sessions)


async def restore(url: str, **what: Any) -> None:
    """Fill an empty database from a dump; `what` as `dump.load` has it. Raises `AdminError`."""
    parsed = _parsed(url)
    where = _name(parsed)
    if is_sqlite(parsed):
        _try_making(Path(where))
    mask = os.umask(0o077)
    try:
        _engine(parsed)  # whether its driver is there
        await load(parsed, where, **what)
    except (SQLAlchemyError, OSError) as error:
        raise _cannot_open(error, where) from error
    finally:
        os.umask(mask)


def _try_making(path: Path) -> None:
    """Raises `AdminError` where a file that is missing cannot be made."""
    if not path.exists():
        try:
            _create(path, may_create=True)
        except OSError as error:
            raise _cannot_open(error, str(path)) from None
        path.unlink()


async def upgrade(url: str) -> None:
    """Set a database up, or bring it up to date. Raises `AdminError`."""
    async with Database(url, upgrade=True):
        pass


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        parsed = None
    if parsed is None or parsed.drivername not in _DRIVERS:
        raise AdminError(
            "this is no database that smimefilter works with",
            where="database",
            mend="write sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER@HOST/NAME",
        )
    if is_sqlite(parsed) and (not parsed.database or parsed.database == ":memory:"):
        raise AdminError(
            "a database in memory forgets everything", where="database", mend="name a file"
        )
    if not is_sqlite(parsed):
        _check_server(parsed)
    return parsed


def _check_server(url: sa.URL) -> None:
    unknown = sorted(set(url.query) - _PARAMETERS)
    if unknown:
        raise AdminError(
            f"the URL has a parameter that is not known: {unknown[0]}",
            where="database",
            mend=f"these are: {', '.join(sorted(_PARAMETERS))}",
        )
    if not url.database:
        raise AdminError(
            "the URL names no database",
            where="database",
            mend="write postgresql+asyncpg://USER@HOST/NAME",
        )
    if url.port is not None and not 0 < url.port < 65536:
        raise AdminError("there is no such port", where="database", mend="PostgreSQL has 5432")


def _name(url: sa.URL) -> str:
    """How the database is called in messages: no password in it."""
    if is_sqlite(url):
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def _engine(url: sa.URL) -> AsyncEngine:
    try:
        return connect(url)
    except (ImportError, NoSuchModuleError):
        raise AdminError(
            "the driver for PostgreSQL is not installed",
            where="database",
            mend="run: pip install --require-hashes -r requirements-postgres.lock",
        ) from None
    except OSError:
        raise AdminError(
            "the roots that the server's certificate is checked against cannot be read",
            where="database",
            mend=f"name a file of PEM certificates with {ROOTS}=",
        ) from None


@asynccontextmanager
async def _alone(name: str) -> AsyncIterator[None]:
    """One at a time sets up a file: SQLite does not wait for its turn while another one
    changes the journal mode. The folder is locked, so no lock file is left behind."""
    try:
        folder = os.open(Path(name).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # what is wrong with it is said when the file is looked at
        yield
        return
    try:
        await _turn(folder, name)
        yield
    finally:
        os.close(folder)


async def _turn(folder: int, name: str) -> None:
    try:
        async with asyncio.timeout(_TURN):
            while not _locked(folder):  # noqa: ASYNC110 - another process tells nobody
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AdminError(
            "another process has been setting the database up for a long time",
            where=name,
            mend="end that one, then try again",
        ) from None


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: SQLite's own have to do
        return True
    return True


def _look_at_file(name: str, *, may_create: bool) -> None:
    """Say what SQLite would not: what is wrong with the file, before it is opened."""
    path = Path(name)
    try:
        if path.is_dir():
            raise AdminError("a folder, not a database", where=name, mend="name a file")
        if not path.exists():
            _create(path, may_create=may_create)
            return
        with path.open("r+b") as file:
            start = file.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise _cannot_open(error, name) from None
    if start not in {b"", _SQLITE_MAGIC}:
        raise AdminError(
            "not a SQLite database, or a damaged one",
            where=name,
            mend="name another file, or restore it from a backup",
        )


def _create(path: Path, *, may_create: bool) -> None:
    """An empty file for its owner alone; SQLite gives its mode to those it puts beside it."""
    if not path.parent.is_dir():
        raise AdminError(
            "the folder of the database does not exist",
            where=str(path),
            mend=f"run: mkdir -p {path.parent}",
        )
    if not may_create:
        raise AdminError(
            "the database does not exist", where=str(path), mend="run: smimefilter init"
        )
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _cannot_open(error: BaseException, where: str) -> AdminError:
    if isinstance(error, PermissionError):
        return AdminError(
            "no permission to read and write the database",
            where=where,
            mend="make the daemon's user its owner",
        )
    said = " ".join(str(getattr(error, "orig", None) or error).split()) or "it does not answer"
    if "locked" in said:
        mend = "another program holds it: end that one, then try again"
    elif "malformed" in said or "not a database" in said:
        mend = "the file is damaged: restore it from a backup"
    elif "unable to open" in said or "readonly" in said:
        mend = "make the daemon's user owner of the file and of its folder"
    elif "certificate verify failed" in said:
        mend = f"name the root of the server's certificate with {ROOTS}=, and its host as in it"
    elif "does not exist" in said:
        mend = "make it: createuser and createdb, see docs/cluster.md"
    elif "authentication failed" in said or "no password" in said:
        mend = "see to the user and the password in the settings, and to pg_hba.conf"
    else:
        mend = "see that the database runs and can be reached"
    return AdminError(f"the database cannot be opened: {said}", where=where, mend=mend)
