"""The stores keep what `ports/stores.py` promises, all or nothing, and move the revision."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.keys.master import MasterKey
from smimefilter.ports.stores import (
    Shelf,
    StoredPreference,
    StoreTrouble,
    WrappedKey,
)
from smimefilter.store import tables
from smimefilter.store.database import Database
from smimefilter.store.engine import Sessions, connect
from smimefilter.trust.ctl import Listing, TrustListEntry
from tests.support.database import KINDS, new_url
from tests.support.pki import root

CA = root()
ALICE = CA.issue("Alice", mail=["alice@example.com", "a@example.com"])
BOB = CA.issue("Bob", mail="bob@example.com", key="p256")
FACTS = ["der", "thumbprint", "subject", "issuer", "serial", "not_before", "not_after", "is_ca"]
MASTER = MasterKey(b"m" * 32)
THREE = [one.certificate for one in (ALICE, BOB, CA)]


async def moved(database: Database, since: int) -> bool:
    return await database.states.revision() > since


# certificates


async def test_what_is_new_and_what_was_there(database: Database) -> None:
    store = database.certificates
    assert await store.add(THREE[:2], Shelf.CERTIFICATES, "first") == [True, True]
    assert await store.add(THREE, Shelf.CERTIFICATES, "second") == [False, False, True]
    assert await store.add([THREE[0]], Shelf.ROOTS, "other shelf") == [True]
    listed = await store.all(Shelf.CERTIFICATES)
    assert [entry.certificate for entry in listed] == THREE
    assert [entry.origin for entry in listed] == ["first", "first", "second"]


async def test_one_certificate_twice_in_one_call(database: Database) -> None:
    twice = [THREE[0], THREE[0]]
    assert await database.certificates.add(twice, Shelf.CERTIFICATES, "") == [True, False]


async def test_nothing_to_add(database: Database) -> None:
    before = await database.states.revision()
    assert await database.certificates.add([], Shelf.CERTIFICATES, "") == []
    assert not await moved(database, before)


async def test_the_revision_moves_with_a_change_only(database: Database) -> None:
    before = await database.states.revision()
    await database.certificates.add(THREE, Shelf.CERTIFICATES, "")
    first = await database.states.revision()
    assert first > before
    await database.certificates.add(THREE, Shelf.CERTIFICATES, "")
    assert await database.states.revision() == first


async def test_an_entry_says_what_the_certificate_says(database: Database) -> None:
    start = datetime.now(UTC) - timedelta(seconds=1)
    await database.certificates.add(THREE, Shelf.CERTIFICATES, "import a.pem")
    for entry, original in zip(
        await database.certificates.all(Shelf.CERTIFICATES), THREE, strict=True
    ):
        found = entry.certificate
        assert entry.addresses == found.addresses == original.addresses
        for fact in FACTS:
            assert getattr(found, fact) == getattr(original, fact), fact
        assert "parsed" not in vars(found)
        assert start <= entry.added <= datetime.now(UTC)


async def test_removing(database: Database) -> None:
    store = database.certificates
    await store.add(THREE, Shelf.CERTIFICATES, "")
    await store.add(THREE[:1], Shelf.ROOTS, "")
    before = await database.states.revision()
    assert await store.remove(ALICE.thumbprint, Shelf.CERTIFICATES)
    assert await moved(database, before)
    assert not await store.remove(ALICE.thumbprint, Shelf.CERTIFICATES)
    assert len(await store.all(Shelf.ROOTS)) == 1
    assert len(await store.all(Shelf.CERTIFICATES)) == 2


async def test_more_rows_than_one_statement_takes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smimefilter.store.engine._AT_ONCE", 2)
    assert await database.certificates.add(THREE, Shelf.CERTIFICATES, "") == [True] * 3
    assert len(await database.certificates.all(Shelf.CERTIFICATES)) == 3


async def test_more_certificates_than_one_statement_asks_for(database: Database) -> None:
    key = BOB.key
    many = [CA.issue(f"User {i}", key=key).certificate for i in range(40)]
    store = database.certificates
    assert sum(await store.add(many * 60, Shelf.CERTIFICATES, "")) == 40
    assert sum(await store.add(many * 60, Shelf.CERTIFICATES, "")) == 0
    assert len(await store.all(Shelf.CERTIFICATES)) == 40


# keys


async def test_keys_come_and_go_with_their_certificates(database: Database) -> None:
    store = database.certificates
    keys = [WrappedKey(ALICE.thumbprint, b"sealed")]
    assert await store.add_with_keys(THREE, keys, "p12") == [True, True, True]
    assert await store.keys() == keys
    listed = await store.all(Shelf.CERTIFICATES)
    assert [entry.has_key for entry in listed] == [True, False, False]
    await store.remove(ALICE.thumbprint, Shelf.CERTIFICATES)
    assert await store.keys() == []


async def test_a_key_for_a_certificate_that_is_there(database: Database) -> None:
    store = database.certificates
    await store.add([BOB.certificate], Shelf.CERTIFICATES, "")
    keys = [WrappedKey(BOB.thumbprint, b"sealed")]
    assert await store.add_with_keys([BOB.certificate], keys, "") == [False]
    assert await store.keys() == keys


async def test_a_key_that_is_there_stays(database: Database) -> None:
    store = database.certificates
    await store.add_with_keys([BOB.certificate], [WrappedKey(BOB.thumbprint, b"first")], "")
    before = await database.states.revision()
    await store.add_with_keys([BOB.certificate], [WrappedKey(BOB.thumbprint, b"second")], "")
    assert [key.blob for key in await store.keys()] == [b"first"]
    assert not await moved(database, before)


async def test_a_root_has_no_key(database: Database) -> None:
    await database.certificates.add_with_keys(
        [CA.certificate], [WrappedKey(CA.thumbprint, b"sealed")], ""
    )
    await database.certificates.add([CA.certificate], Shelf.ROOTS, "")
    (entry,) = await database.certificates.all(Shelf.ROOTS)
    assert not entry.has_key
    await database.certificates.remove(CA.thumbprint, Shelf.ROOTS)
    assert len(await database.certificates.keys()) == 1


async def test_rewrapping_all(database: Database) -> None:
    store = database.certificates
    keys = [WrappedKey(one.thumbprint, b"old") for one in THREE]
    await store.add_with_keys(THREE, keys, "")
    secret = StoredPreference("example.com", "x", None, b"old")
    await database.preferences.put(secret)
    await database.preferences.put(StoredPreference("global", "sign", "always"))
    revision = await database.states.revision()
    again = [WrappedKey(one.thumbprint, b"new") for one in THREE]
    changed = StoredPreference("example.com", "x", None, b"new")
    assert await store.rewrap(again, [changed], {}, b"check", revision, MASTER)
    state = await database.states.load()
    assert set(state.keys.values()) == {b"new"}
    assert [one.wrapped for one in state.preferences] == [b"new", None]
    assert await database.secrets.check_value() == b"check"
    assert state.revision > revision


async def test_rewrapping_what_has_changed_meanwhile(database: Database) -> None:
    store = database.certificates
    await store.add_with_keys(THREE[:1], [WrappedKey(ALICE.thumbprint, b"old")], "")
    revision = await database.states.revision()
    await store.add(THREE[1:2], Shelf.CERTIFICATES, "")
    again = [WrappedKey(ALICE.thumbprint, b"new")]
    assert not await store.rewrap(again, [], {}, b"check", revision, MASTER)
    assert [key.blob for key in await store.keys()] == [b"old"]
    assert await database.secrets.check_value() is None


# all or nothing


async def test_a_failing_write_leaves_nothing(database: Database) -> None:
    """The second of two statements fails: the first is undone."""
    before = await database.states.revision()
    too_much = WrappedKey(ALICE.thumbprint, None)  # type: ignore[arg-type]  # violates NOT NULL
    with pytest.raises(StoreTrouble):
        await database.certificates.add_with_keys(THREE, [too_much], "")
    assert await database.certificates.all(Shelf.CERTIFICATES) == []
    assert not await moved(database, before)


async def test_trouble_shows_no_parameters(database: Database) -> None:
    bad = WrappedKey(ALICE.thumbprint, None)  # type: ignore[arg-type]
    with pytest.raises(StoreTrouble) as caught:
        await database.certificates.add_with_keys(THREE, [bad], "a secret origin")
    for error in (caught.value, caught.value.__cause__):
        assert "a secret origin" not in str(error)
        assert ALICE.thumbprint not in str(error)
    assert caught.value.reply == "451 4.3.0 store not available, try again later"


async def test_an_exception_in_between_undoes_everything(
    database_url: str, database: Database
) -> None:
    engine = connect(sa.make_url(database_url))

    async def write_and_fail() -> None:
        async with Sessions(engine).writing() as transaction:
            await transaction.put(tables.accounts, {"login": "x", "password_hash": "y"})
            raise KeyError

    with pytest.raises(KeyError):
        await write_and_fail()
    await engine.dispose()
    assert await database.accounts.all() == []


# the state as a whole


async def test_the_whole_state(database: Database) -> None:
    await database.certificates.add_with_keys(
        [ALICE.certificate], [WrappedKey(ALICE.thumbprint, b"sealed")], "p12"
    )
    await database.certificates.add([CA.certificate], Shelf.ROOTS, "root")
    crl = CA.crl([BOB])
    await database.crls.add([crl], "crl")
    entry = TrustListEntry(BOB.thumbprint, Listing.BLACK, note="stolen")
    await database.trust_list.put(entry)
    preference = StoredPreference("global", "sign", ["always", {"a": None}])
    await database.preferences.put(preference)
    state = await database.states.load()
    assert [(one.certificate, one.shelf, one.has_key) for one in state.certificates] == [
        (ALICE.certificate, Shelf.CERTIFICATES, True),
        (CA.certificate, Shelf.ROOTS, False),
    ]
    assert state.keys == {ALICE.thumbprint: b"sealed"}
    assert [one.der for one in state.crls] == [crl]
    assert list(state.trust_list) == [entry]
    assert list(state.preferences) == [preference]
    assert state.revision == await database.states.revision()


async def test_loading_parses_no_certificate(database: Database) -> None:
    await database.certificates.add(THREE, Shelf.CERTIFICATES, "")
    for entry in (await database.states.load()).certificates:
        assert entry.certificate.thumbprint
        assert isinstance(entry.certificate.is_ca, bool)
        assert entry.certificate.addresses == entry.addresses
        assert "parsed" not in vars(entry.certificate)


async def test_a_state_is_of_one_revision(database: Database) -> None:
    """While another writes, each load sees as many certificates as its revision has."""
    start = await database.states.revision()
    some = [CA.issue(f"User {i}", key=BOB.key).certificate for i in range(30)]

    async def write() -> None:
        for one in some:
            await database.certificates.add([one], Shelf.CERTIFICATES, "")

    writing = asyncio.create_task(write())
    while not writing.done():
        state = await database.states.load()
        assert len(state.certificates) == state.revision - start
    await writing


async def test_writers_take_turns(database_url: str, database: Database) -> None:
    """Two processes' worth of connections add the same certificates at once."""
    some = [CA.issue(f"User {i}", key=BOB.key).certificate for i in range(20)]
    start = await database.states.revision()
    async with Database(database_url) as other:
        results = await asyncio.gather(
            *(
                one.certificates.add([certificate], Shelf.CERTIFICATES, "")
                for certificate in some
                for one in (database, other, database)
            )
        )
    assert sum(new for (new,) in results) == len(some)
    assert len(await database.certificates.all(Shelf.CERTIFICATES)) == len(some)
    assert await database.states.revision() == start + len(some)


# the other stores


async def test_trust_list(database: Database) -> None:
    store = database.trust_list
    white = TrustListEntry(BOB.thumbprint, Listing.WHITE, allow_expired=True)
    assert await store.put(white)
    assert not await store.put(TrustListEntry(BOB.thumbprint, Listing.BLACK))
    assert await store.all() == [TrustListEntry(BOB.thumbprint, Listing.BLACK)]
    before = await database.states.revision()
    assert await store.remove(BOB.thumbprint)
    assert await moved(database, before)
    assert not await store.remove(BOB.thumbprint)
    assert await store.all() == []


async def test_crls(database: Database) -> None:
    first, second = CA.crl(), CA.crl([1])
    assert await database.crls.add([first, second, first], "x") == [True, True, False]
    assert await database.crls.add([second], "y") == [False]
    entries = await database.crls.all()
    assert [entry.der for entry in entries] == [first, second]
    assert await database.crls.remove(entries[0].sha256)
    assert not await database.crls.remove(entries[0].sha256)
    assert [entry.der for entry in await database.crls.all()] == [second]


async def test_preferences(database: Database) -> None:
    store = database.preferences
    await store.put(StoredPreference("global", "sign", "always"))
    await store.put(StoredPreference("global", "sign", "never"))
    await store.put(StoredPreference("example.com", "sign", None, b"sealed"))
    assert await store.all() == [
        StoredPreference("example.com", "sign", None, b"sealed"),
        StoredPreference("global", "sign", "never"),
    ]
    assert await store.remove("global", "sign")
    assert not await store.remove("global", "sign")


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(value=JSON)
def test_any_json_value_comes_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, value: object
) -> None:
    folder = tmp_path_factory.mktemp("json")

    async def there_and_back() -> object:
        async with Database(new_url(kind, folder)) as database:
            await database.preferences.put(StoredPreference("global", "x", value))
            (found,) = await database.preferences.all()
            return found.value

    assert asyncio.run(there_and_back()) == value


async def test_accounts(database: Database) -> None:
    store = database.accounts
    assert await store.put("mallory", "hash 1")
    assert await store.put("alice@example.com", "hash 2")
    assert not await store.put("mallory", "hash 3")
    assert await store.all() == ["alice@example.com", "mallory"]
    assert await store.password_hash("mallory") == "hash 3"
    assert await store.password_hash("MALLORY") is None
    assert await store.remove("mallory")
    assert not await store.remove("mallory")


async def test_check_value(database: Database) -> None:
    assert await database.secrets.check_value() is None
    await database.secrets.set_check_value(b"sealed")
    assert await database.secrets.check_value() == b"sealed"
