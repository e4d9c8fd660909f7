"""The master key: proven on every start, changed all at once."""

from __future__ import annotations

from typing import Any

import pytest

from smimefilter.base.errors import AdminError
from smimefilter.flow.imports import Source, import_certificates
from smimefilter.flow.preferences import database_scopes, set_preference
from smimefilter.flow.secrets import Rotation, prove_master_key, rotate_master_key
from smimefilter.keys.master import MasterKey
from smimefilter.keys.wrapped import KeyVault
from smimefilter.pki.export import certificates_pem, key_pkcs8
from smimefilter.policy.preferences import ALL
from smimefilter.ports.requests import StoredRequest
from smimefilter.ports.stores import (
    Shelf,
    StoredPreference,
    StoreState,
    StoreTrouble,
    WrappedKey,
)
from smimefilter.store.certs import SqlCertificates
from smimefilter.store.database import Database
from tests.support.pki import NOW, root

OLD, NEW = MasterKey(bytes(32)), MasterKey(bytes(31) + b"n")
ALICE = root().issue("Alice", mail="alice@example.com", key="p256")
BOB = root().issue("Bob", mail="bob@example.com", key="p256")
SECRET = next(name for name, preference in ALL.items() if preference.secret)


async def fill(database: Database) -> None:
    """Two keys and a secret preference under the old master key."""
    await prove_master_key(database.secrets, OLD)
    wrapped = [
        WrappedKey(one.thumbprint, OLD.seal("private-key", one.thumbprint, key_pkcs8(one.key)))
        for one in (ALICE, BOB)
    ]
    certificates = [one.certificate for one in (ALICE, BOB)]
    await database.certificates.add_with_keys(certificates, wrapped, "test")
    await set_preference(database.preferences, OLD, "alice@example.com", SECRET, "hidden")
    await set_preference(database.preferences, OLD, "global", "sign", "always")


async def rotate(database: Database, old: MasterKey, new: MasterKey) -> Rotation:
    return await rotate_master_key(
        database.states, database.certificates, database.requests, database.handlers, old, new
    )


async def test_a_new_store_takes_the_key_for_its_own(database: Database) -> None:
    await prove_master_key(database.secrets, OLD)
    await prove_master_key(database.secrets, OLD)
    with pytest.raises(AdminError) as caught:
        await prove_master_key(database.secrets, NEW)
    assert "\n" not in str(caught.value)
    assert caught.value.mend


async def test_a_damaged_check_value_is_no_proof(database: Database) -> None:
    await database.secrets.set_check_value(b"junk")
    with pytest.raises(AdminError):
        await prove_master_key(database.secrets, OLD)
    await database.secrets.set_check_value(OLD.seal("check", "", b"another text"))
    with pytest.raises(AdminError):
        await prove_master_key(database.secrets, OLD)


async def test_rotation(database: Database) -> None:
    await fill(database)
    before = await database.states.load()
    assert await rotate(database, OLD, NEW) == Rotation(keys=2, preferences=1, others=0)
    state = await database.states.load()
    assert state.revision > before.revision
    await prove_master_key(database.secrets, NEW)
    with pytest.raises(AdminError):
        await prove_master_key(database.secrets, OLD)
    ring = KeyVault(NEW).ring(state.keys)
    for one in (ALICE, BOB):
        key = ring.private_key(one.thumbprint)
        assert key.public_key() == one.certificate.public_key
    setting = database_scopes(state.preferences, NEW)["alice@example.com"][SECRET]
    assert setting.value.get_secret_value() == "hidden"  # type: ignore[attr-defined]


async def test_secrets_of_requests_and_handlers_are_rotated_too(database: Database) -> None:
    def request(id_: str, secrets: bytes | None) -> StoredRequest:
        return StoredRequest(id_, "csr", "a@x.test", {}, secrets, NOW, NOW, NOW)

    one, two = "1" * 32, "2" * 32
    await database.requests.add([request(one, OLD.seal("request", one, b"key"))], [])
    await database.handlers.put("ejbca", OLD.seal("handler", "ejbca", b"{}"), [])
    real, late = database.certificates.rewrap, []

    async def while_another_comes(*args: Any) -> bool:
        if not late:
            late.append(two)
            await database.requests.add([request(two, OLD.seal("request", two, b"late"))], [])
        return await real(*args)

    database.certificates.rewrap = while_another_comes  # type: ignore[method-assign]
    assert await rotate(database, OLD, NEW) == Rotation(keys=0, preferences=0, others=3)
    found = {row.id: row.secrets for row in await database.requests.all()}
    assert {NEW.open("request", id_, sealed or b"") for id_, sealed in found.items()} == {
        b"key", b"late",
    }  # fmt: skip
    assert NEW.open("handler", "ejbca", (await database.handlers.all())["ejbca"]) == b"{}"


async def test_who_has_the_old_key_stores_nothing_under_it_any_more(
    database_url: str,
) -> None:
    async with Database(database_url) as running:
        await fill(running)
        async with Database(database_url) as other:
            await prove_master_key(other.secrets, OLD)
            await rotate(other, OLD, NEW)
            await other.preferences.put(StoredPreference("global", "verify", True))
        carol = root().issue("Carol", key="p256")
        late = WrappedKey(carol.thumbprint, OLD.seal("private-key", carol.thumbprint, b"key"))
        with pytest.raises(StoreTrouble, match="master key of the database was changed"):
            await running.certificates.add_with_keys([carol.certificate], [late], "late")
        with pytest.raises(StoreTrouble, match="restart"):
            await running.handlers.put("ejbca", OLD.seal("handler", "ejbca", b"{}"), [])
        with pytest.raises(StoreTrouble):
            await running.states.load()  # the old state stays, and opens what it has
        await prove_master_key(running.secrets, NEW)
        assert len((await running.states.load()).keys) == 2


async def test_the_wrong_old_key_changes_nothing(database: Database) -> None:
    await fill(database)
    before = await database.states.load()
    with pytest.raises(AdminError):
        await rotate(database, NEW, OLD)
    assert await database.states.load() == before
    await prove_master_key(database.secrets, OLD)


async def test_one_blob_that_does_not_open_changes_nothing(database: Database) -> None:
    await fill(database)
    carol = root().issue("Carol", key="p256")
    blob = WrappedKey(carol.thumbprint, b"junk")
    await database.certificates.add_with_keys([carol.certificate], [blob], "")
    before = await database.states.load()
    with pytest.raises(AdminError, match=carol.thumbprint[:16]):
        await rotate(database, OLD, NEW)
    assert await database.states.load() == before


class Busy:
    """States that move each time just after they were read."""

    def __init__(self, database: Database, times: int) -> None:
        self._database = database
        self._left = times

    async def revision(self) -> int:
        return await self._database.states.revision()

    async def load(self) -> StoreState:
        state = await self._database.states.load()
        if self._left:
            self._left -= 1
            issued = root(f"Root {self._left}", key="p256")
            source = Source("x", certificates_pem([issued.certificate]))
            await import_certificates(self._database.certificates, [source], Shelf.ROOTS)
        return state


@pytest.mark.parametrize(("times", "done"), [(1, True), (3, True), (100, False)])
async def test_changes_in_between(database: Database, times: int, done: bool) -> None:
    """A key that is imported while keys are rewrapped must not be left behind."""
    await fill(database)
    states = Busy(database, times)
    if done:
        await rotate_master_key(
            states, database.certificates, database.requests, database.handlers, OLD, NEW
        )
        await prove_master_key(database.secrets, NEW)
    else:
        with pytest.raises(AdminError):
            await rotate_master_key(
                states, database.certificates, database.requests, database.handlers, OLD, NEW
            )
        await prove_master_key(database.secrets, OLD)


async def test_an_empty_store(database: Database) -> None:
    await prove_master_key(database.secrets, OLD)
    assert await rotate(database, OLD, NEW) == Rotation(0, 0, 0)
    await prove_master_key(database.secrets, NEW)


async def test_no_secret_shows(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(database)
    seen: list[str] = []
    real = SqlCertificates.rewrap

    async def spying(
        self: SqlCertificates,
        keys: list[WrappedKey],
        preferences: list[StoredPreference],
        *rest: Any,
    ) -> bool:
        seen.append(repr((keys, preferences)))
        return await real(self, keys, preferences, *rest)

    monkeypatch.setattr(SqlCertificates, "rewrap", spying)
    await rotate(database, OLD, NEW)
    assert "hidden" not in seen[0]
