from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from smimefilter.base.errors import AdminError, AdminErrors, KeyTrouble
from smimefilter.flow.preferences import database_scopes, set_preference, unset_preference
from smimefilter.policy.preferences import ALL, ENCRYPT, PKCS12_PASSWORD, RESET, Encrypt
from smimefilter.policy.scopes import level_of
from smimefilter.policy.tree import Setting, Tree
from smimefilter.ports.stores import StoredPreference
from tests.support.settings import SCOPES, raw_values


class Store:
    """Preferences in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], StoredPreference] = {}

    async def put(self, preference: StoredPreference) -> None:
        self.kept[preference.scope, preference.name] = preference

    async def remove(self, scope: str, name: str) -> bool:
        return self.kept.pop((scope, name), None) is not None

    async def all(self) -> list[StoredPreference]:
        return [self.kept[key] for key in sorted(self.kept)]


class Sealer:
    """Seals by a visible mark; opens only what it sealed for the same purpose and name."""

    def seal(self, purpose: str, name: str, plain: bytes) -> bytes:
        return f"{purpose}/{name}/".encode() + bytes(byte ^ 0x55 for byte in plain)

    def open(self, purpose: str, name: str, sealed: bytes) -> bytes:
        head = f"{purpose}/{name}/".encode()
        if not sealed.startswith(head):
            raise KeyTrouble
        return bytes(byte ^ 0x55 for byte in sealed[len(head) :])


SEALER = Sealer()


async def test_what_is_set_holds() -> None:
    store = Store()
    stored = await set_preference(store, SEALER, "Alice@Example.COM", "encrypt", " Mandatory")
    assert stored == StoredPreference("alice@example.com", "encrypt", "mandatory")
    tree = Tree({}, database_scopes(await store.all(), SEALER))
    found = tree.view("alice@example.com").get(ENCRYPT)
    assert (found.value, found.scope, found.source) == (
        Encrypt.MANDATORY, "alice@example.com", "database",
    )  # fmt: skip


@pytest.mark.parametrize("raw", [None, "default"])
async def test_a_reset_is_kept(raw: str | None) -> None:
    store = Store()
    await set_preference(store, SEALER, "global", "encrypt", raw)
    found = database_scopes(await store.all(), SEALER)
    assert found["global"]["encrypt"].value is RESET


@pytest.mark.parametrize(
    ("scope", "name", "raw", "hint"),
    [
        ("global", "encypt", "allow", "did you mean 'encrypt'?"),
        ("global", "encrypt", "madatory", "did you mean 'mandatory'?"),
        ("*", "encrypt", "allow", "*.example.com"),
        ("alice@", "encrypt", "allow", "alice@"),
        ("example.com", "minimum-rsa-bits", "2048", "global"),
        ("global", "pkcs12-password", "x", "user"),
    ],
)
async def test_what_is_wrong_is_not_stored(scope: str, name: str, raw: str, hint: str) -> None:
    store = Store()
    with pytest.raises(AdminError) as caught:
        await set_preference(store, SEALER, scope, name, raw)
    assert hint in str(caught.value)
    assert not store.kept


async def test_a_secret_is_stored_wrapped_and_bound_to_its_place() -> None:
    store = Store()
    await set_preference(store, SEALER, "a@x.test", PKCS12_PASSWORD.name, "hunter2")
    [stored] = await store.all()
    assert stored.value is None
    assert stored.wrapped
    assert b"hunter2" not in stored.wrapped
    found = database_scopes([stored], SEALER)["a@x.test"][PKCS12_PASSWORD.name]
    assert found.value == SecretStr("hunter2")
    assert "hunter2" not in repr(found)
    moved = StoredPreference("b@x.test", stored.name, None, stored.wrapped)
    assert database_scopes([moved], SEALER) == {}


async def test_a_secret_that_does_not_open_keeps_nothing_else_from_being_seen() -> None:
    """As after a rotation of the master key, before the filter is started with the new one."""
    other = StoredPreference("a@x.test", "pkcs12-password", None, b"other key")
    encrypt = StoredPreference("a@x.test", "encrypt", "mandatory")
    found = database_scopes([other, encrypt], SEALER)
    assert set(found["a@x.test"]) == {"encrypt"}


async def test_unset() -> None:
    store = Store()
    await set_preference(store, SEALER, "example.com", "encrypt", "never")
    assert await unset_preference(store, "EXAMPLE.com", "encrypt")
    assert not await unset_preference(store, "example.com", "encrypt")
    assert not store.kept


BROKEN = [
    StoredPreference("global", "encypt", "allow"),
    StoredPreference("global", "encrypt", "always"),
    StoredPreference("Example.com", "encrypt", "never"),
    StoredPreference("no scope", "encrypt", "never"),
    StoredPreference("a@x.test", "minimum-rsa-bits", 2048),
    StoredPreference("a@x.test", "pkcs12-password", "in the clear"),
    StoredPreference(
        "a@x.test", "encrypt", None, SEALER.seal("preference", "a@x.test encrypt", b"never")
    ),
]


@pytest.mark.parametrize("stored", BROKEN, ids=lambda stored: f"{stored.scope} {stored.name}")
async def test_what_cannot_be_used_is_an_error_with_the_command_that_mends_it(
    stored: StoredPreference,
) -> None:
    good = StoredPreference("global", "sign", "never")
    with pytest.raises(AdminError) as caught:
        database_scopes([good, stored], SEALER)
    error = caught.value
    assert error.where == f"database: {stored.scope} {stored.name}"
    assert error.mend.startswith("smimefilter policy unset ")
    assert stored.name in error.mend
    assert "in the clear" not in str(error)
    store = Store()
    await store.put(stored)
    assert await unset_preference(store, stored.scope, stored.name)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(AdminErrors) as caught:
        database_scopes(BROKEN, SEALER)
    assert len(caught.value.errors) == len(BROKEN)


@settings(max_examples=60)
@given(data=st.data(), scope=st.sampled_from(SCOPES), name=st.sampled_from(sorted(ALL)))
async def test_database_and_files_read_values_alike(
    data: st.DataObject, scope: str, name: str
) -> None:
    preference = ALL[name]
    if level_of(scope) not in preference.levels:
        return
    raw = data.draw(st.none() | raw_values(preference))
    store = Store()
    await set_preference(store, SEALER, scope, name, raw)
    found = database_scopes(await store.all(), SEALER)
    assert found == {scope: {name: Setting(preference.parse_setting(raw), "any")}}
