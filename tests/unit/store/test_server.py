"""PostgreSQL: what keeps it from being opened, what it tells, and what happens when it goes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from smimefilter.base.errors import AdminError
from smimefilter.config import Config
from smimefilter.ports.stores import Shelf, StoreTrouble, WrappedKey
from smimefilter.store import engine, listening
from smimefilter.store.database import Database
from tests.support.needs import need
from tests.support.pki import root
from tests.support.ports import ReservedPort
from tests.support.postgres import PASSWORD, USER, Postgres, shared

CA = root()
BOB = CA.issue("Bob", key="p256")
LONG = 30.0  # seconds that anything here is waited for


@pytest.fixture
def url() -> str:
    return shared().new_database()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One to be ended and started."""
    with Postgres() as started:
        yield started


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


# opening


async def refused(url: str) -> AdminError:
    with pytest.raises(AdminError) as caught:
        async with Database(url):
            pass
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.mend
    return caught.value


async def test_no_such_database() -> None:
    error = await refused(shared().url("none"))
    assert error.where == f"postgresql+asyncpg://{USER}:***@127.0.0.1:{shared().port}/none"
    assert "createdb" in error.mend


async def test_a_wrong_password(url: str) -> None:
    wrong = shared().url(name_of(url), password="another-word")
    error = await refused(wrong)
    assert "another-word" not in str(error)
    assert "password" in error.mend


async def test_nobody_there() -> None:
    with ReservedPort() as nobody:
        error = await refused(f"postgresql+asyncpg://u:{PASSWORD}@127.0.0.1:{nobody.number}/x")
    assert "can be reached" in error.mend


async def test_no_encryption_where_it_is_wanted(url: str) -> None:
    assert "SSL" in (await refused(f"{url}?ssl=require")).what


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Path]]:
    """A server with TLS, and the certificate it has made for itself, for `localhost`."""
    folder = tmp_path_factory.mktemp("tls")
    for place in (folder, *folder.parents[:2]):
        place.chmod(0o755)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-keyout", key, "-out", certificate, "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    if os.geteuid() == 0:
        shutil.chown(key, "postgres")
    settings = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    with Postgres(**settings) as started:
        yield started, certificate


@pytest.mark.parametrize(
    ("host", "tail", "refusal"),
    [
        ("127.0.0.1", "?ssl=require", ""),
        ("localhost", "?ssl=verify-full&sslrootcert={roots}", ""),
        ("127.0.0.1", "?ssl=verify-ca&sslrootcert={roots}", ""),
        ("127.0.0.1", "?ssl=verify-full&sslrootcert={roots}", "certificate verify failed"),
        ("localhost", "?ssl=verify-full", "certificate verify failed"),
        ("localhost", "?ssl=verify-full&sslrootcert=/none", "cannot be read"),
    ],
)
async def test_encrypted(
    encrypted: tuple[Postgres, Path], host: str, tail: str, refusal: str
) -> None:
    server, roots = encrypted
    url = server.new_database().replace("127.0.0.1", host) + tail.format(roots=roots)
    if refusal:
        error = await refused(url)
        assert refusal in error.what
        assert "sslrootcert" in error.mend
    else:
        async with Database(url) as database:
            assert await database.states.revision() == 1


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (":5432/x?password=" + PASSWORD, "password"),
        (":5432/x?command_timeout=1", "command_timeout"),
        (":0/x", "port"),
        (":99999/x", "port"),
        (":y/x", "database"),
        ("/", "names no database"),
        ("", "names no database"),
    ],
)
async def test_urls_with_mistakes(tail: str, said: str) -> None:
    error = await refused(f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1{tail}")
    assert said in error.what


async def test_a_password_in_a_file_of_its_own(url: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"127.0.0.1:{shared().port}:*:{USER}:{PASSWORD}\n")
    file.chmod(0o600)
    without = url.replace(f":{PASSWORD}", "") + f"?passfile={file}"
    async with Database(without) as database:
        assert await database.states.revision() == 1


def test_the_password_is_in_no_representation(url: str) -> None:
    config = Config(database=url)
    database = Database(config.database)
    for one in (config, database, vars(database)):
        assert PASSWORD not in repr(one)


async def test_without_the_driver(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    error = await refused(url)
    assert "not installed" in error.what
    assert "requirements-postgres.lock" in error.mend


async def test_as_an_ordinary_user_who_owns_the_database(server: Postgres) -> None:
    """What docs/cluster.md makes; nothing here asks for more rights than that."""
    server.sql("CREATE ROLE plain LOGIN PASSWORD 'plain'", "CREATE DATABASE plain OWNER plain")
    url = f"postgresql+asyncpg://plain:plain@127.0.0.1:{server.port}/plain"
    async with Database(url, upgrade=True) as one, Database(url) as other:
        ear = Ear(one)
        await ear.heard()
        await other.certificates.add([BOB.certificate], Shelf.CERTIFICATES, "")
        await ear.heard()
        assert len((await one.states.load()).certificates) == 1
        await ear.close()


# being told


class Ear:
    """Whoever listens; `times` that he was told, and what comes true when he was since last."""

    def __init__(self, database: Database) -> None:
        self.times = 0
        self._told = asyncio.Event()
        self.task = asyncio.create_task(database.states.listen(self._note))

    def _note(self) -> None:
        self.times += 1
        self._told.set()

    async def heard(self) -> None:
        async with asyncio.timeout(LONG):
            await self._told.wait()
        self._told.clear()

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_change_is_told_to_who_listens_elsewhere(url: str) -> None:
    async with Database(url) as one, Database(url) as other:
        ear = Ear(one)
        await ear.heard()  # what there was before
        await other.certificates.add([BOB.certificate], Shelf.CERTIFICATES, "")
        await ear.heard()
        assert await one.states.revision() == 2
        await ear.close()


async def test_books_and_what_is_undone_are_not_told(url: str) -> None:
    async with Database(url) as one, Database(url) as other:
        ear = Ear(one)
        await ear.heard()
        await other.handlers.put("x", b"y", [])
        bad = WrappedKey(BOB.thumbprint, None)  # type: ignore[arg-type]
        with pytest.raises(StoreTrouble):
            await other.certificates.add_with_keys([BOB.certificate], [bad], "")
        await other.accounts.put("a", "b")
        await ear.heard()
        assert ear.times == 2
        assert await one.states.revision() == 2
        await ear.close()


async def test_a_lost_connection_is_made_anew(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "AGAIN_AFTER", 0.01)
    async with Database(url) as one, Database(url) as other:
        ear = Ear(one)
        await ear.heard()
        shared().disconnect(name_of(url))
        await ear.heard()  # something may have been missed
        await other.accounts.put("a", "b")
        await ear.heard()
        await ear.close()


async def test_a_file_tells_nobody(tmp_path: Path) -> None:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/x.db", upgrade=True) as database:
        async with asyncio.timeout(LONG):
            await database.states.listen(lambda: pytest.fail("told"))


# when it goes


async def test_sessions_that_were_ended_are_made_anew(url: str) -> None:
    async with Database(url) as database:
        await database.accounts.put("a", "b")
        shared().disconnect(name_of(url))
        assert await database.accounts.password_hash("a") == "b"
        shared().disconnect(name_of(url))
        assert not await database.accounts.put("a", "c")


async def test_killed_and_started_again(server: Postgres) -> None:
    async with Database(server.new_database()) as database:
        assert await database.accounts.put("a", "b")
        server.kill()
        for use in (database.states.revision, database.states.load, database.accounts.all):
            with pytest.raises(StoreTrouble) as caught:
                await use()
            assert PASSWORD not in str(caught.value)
        with pytest.raises(StoreTrouble):
            await database.accounts.put("c", "d")
        server.start()
        assert await database.accounts.all() == ["a"]
        assert await database.accounts.put("c", "d")


async def test_killed_while_many_write(server: Postgres) -> None:
    """What was said to be stored is, and each change has moved the revision once."""
    url = server.new_database()
    stored: list[str] = []
    enough = asyncio.Event()

    async def write(database: Database, number: int) -> None:
        for turn in range(10_000):
            login = f"{number}-{turn}"
            try:
                await database.accounts.put(login, "x")
            except StoreTrouble:
                return
            stored.append(login)
            if len(stored) == 20:
                enough.set()

    async with Database(url) as one, Database(url) as other:
        writers = [asyncio.create_task(write((one, other)[n % 2], n)) for n in range(6)]
        async with asyncio.timeout(LONG):
            await enough.wait()
            await asyncio.to_thread(server.kill)
            await asyncio.gather(*writers)
        server.start()
        there = await one.accounts.all()
        assert set(stored) <= set(there)
        assert await one.states.revision() == 1 + len(there)


async def test_a_server_that_says_nothing_is_not_waited_for(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_ANSWER", 0.5)
    monkeypatch.setattr(engine, "_CONNECT", 0.5)
    async with Database(server.new_database()) as database:
        await database.accounts.put("a", "b")
        server.freeze()
        try:
            async with asyncio.timeout(LONG):
                for use in (database.states.revision, database.accounts.all):
                    with pytest.raises(StoreTrouble):
                        await use()
        finally:
            server.thaw()
        assert await until(database.accounts.all) == ["a"]


async def until(use: Callable[[], object]) -> object:
    """What it gives, as soon as it gives anything."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                return await use()  # type: ignore[misc]
            except StoreTrouble:
                await asyncio.sleep(0.05)


async def test_a_node_that_is_gone_in_the_middle_holds_nobody_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host lost its power: the connection stays open, and nothing comes any more."""
    gone = engine.connect(sa.make_url(url))
    monkeypatch.setitem(engine._SERVER_SETTINGS, "idle_in_transaction_session_timeout", "200")
    async with Database(url) as database, gone.connect() as connection:
        await connection.execute(engine._TAKE_TURN)
        assert await database.accounts.put("a", "b")
        await connection.invalidate()
    await gone.dispose()


async def test_whoever_waits_for_his_turn_too_long_is_told_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine._SERVER_SETTINGS, "lock_timeout", "100")
    slow = engine.connect(sa.make_url(url))
    async with Database(url) as database, slow.connect() as connection:
        await connection.execute(engine._TAKE_TURN)
        with pytest.raises(StoreTrouble, match="lock timeout"):
            await database.accounts.put("a", "b")
    await slow.dispose()
