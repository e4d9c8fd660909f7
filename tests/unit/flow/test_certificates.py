"""Finding, searching, removing and exporting certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import (
    Form,
    Query,
    Validity,
    chain_of,
    export_certificates,
    export_key,
    find,
    remove,
    search,
)
from smimefilter.keys.master import MasterKey
from smimefilter.keys.wrapped import KeyVault, WrappedKeyRing
from smimefilter.pki.export import key_pkcs8
from smimefilter.pki.keyfile import read
from smimefilter.ports.keys import PRIVATE_KEY
from smimefilter.ports.stores import Shelf, WrappedKey
from smimefilter.store.database import Database
from tests.support.pki import NOW, Issued, root

MASTER = MasterKey(bytes(32))
CA = root("Test Root")
SUB = CA.issue("Sub", ca=True)
ALICE = SUB.issue("Alice", mail="alice@example.com", organisation="Müller GmbH")
BOB = SUB.issue("Bob", mail=["bob@example.org", "bob@xn--bcher-kva.example"], key="p256")
CAROL = CA.issue(
    "Carol", mail="carol@example.com", not_after=NOW - timedelta(days=1), serial=0x0ABC
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as opened:
        store = opened.certificates
        sealed = MASTER.seal(PRIVATE_KEY, ALICE.thumbprint, key_pkcs8(ALICE.key))
        issued = [ALICE, BOB, CAROL, SUB, CA]
        certificates = [one.certificate for one in issued]
        await store.add_with_keys(certificates, [WrappedKey(ALICE.thumbprint, sealed)], "test")
        await store.add([CA.certificate], Shelf.ROOTS, "test")
        yield opened


async def ring(database: Database) -> WrappedKeyRing:
    keys = {key.thumbprint: key.blob for key in await database.certificates.keys()}
    return KeyVault(MASTER).ring(keys)


# searching


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (Query(), "Alice Bob Carol Sub Root"),
        (Query(address="ALICE@Example.com"), "Alice"),
        (Query(address="lice@example.com"), ""),
        (Query(address="bob@bücher.example"), "Bob"),
        (Query(address="example.com"), "Alice Carol"),
        (Query(address="nobody@example.com"), ""),
        (Query(subject="ali"), "Alice"),
        (Query(subject="MÜLLER"), "Alice"),
        (Query(issuer="sub"), "Alice Bob"),
        (Query(issuer="test root"), "Carol Sub Root"),
        (Query(serial="abc"), "Carol"),
        (Query(serial="0A:BC"), "Carol"),
        (Query(serial="0x0abc"), "Carol"),
        (Query(serial="ab"), ""),
        (Query(thumbprint=BOB.thumbprint[:8].upper()), "Bob"),
        (Query(validity=Validity.EXPIRED), "Carol"),
        (Query(validity=Validity.UNEXPIRED), "Alice Bob Sub Root"),
        (Query(with_key=True), "Alice"),
        (Query(with_key=True, subject="bob"), ""),
        (Query(issuer="sub", address="example.org"), "Bob"),
    ],
)
async def test_searching(database: Database, query: Query, names: str) -> None:
    found = await search(database.certificates, Shelf.CERTIFICATES, query, NOW)
    assert {entry.certificate.common_name.split()[-1] for entry in found} == set(names.split())


async def test_searching_parses_nothing(database: Database) -> None:
    query = Query(subject="a", issuer="s", serial="1", validity=Validity.UNEXPIRED)
    entries = await database.certificates.all(Shelf.CERTIFICATES)
    await search(database.certificates, Shelf.CERTIFICATES, query, NOW)
    assert all("parsed" not in vars(entry.certificate) for entry in entries)


async def test_each_shelf_by_itself(database: Database) -> None:
    (entry,) = await search(database.certificates, Shelf.ROOTS, Query(), NOW)
    assert entry.certificate == CA.certificate


# finding


@pytest.mark.parametrize(
    "written",
    [
        ALICE.thumbprint,
        ALICE.thumbprint[:8],
        ALICE.thumbprint[:40].upper(),
        f"sha512:{ALICE.thumbprint}",
        ":".join(ALICE.thumbprint[i : i + 2] for i in range(0, 20, 2)),
    ],
)
async def test_finding(database: Database, written: str) -> None:
    assert (await find(database.certificates, written)).certificate == ALICE.certificate


@pytest.mark.parametrize(
    "written", ["", ALICE.thumbprint[:7], "0" * 8, ALICE.certificate.sha256, "not hex digits"]
)
async def test_finding_nothing(database: Database, written: str) -> None:
    with pytest.raises(AdminError) as caught:
        await find(database.certificates, written)
    assert caught.value.mend


async def test_on_both_shelves_it_is_one_certificate(database: Database) -> None:
    both = await find(database.certificates, CA.thumbprint)
    root_only = await find(database.certificates, CA.thumbprint, Shelf.ROOTS)
    assert both.shelf is Shelf.CERTIFICATES
    assert root_only.shelf is Shelf.ROOTS
    with pytest.raises(AdminError):
        await find(database.certificates, ALICE.thumbprint, Shelf.ROOTS)


async def test_a_beginning_of_several(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smimefilter.flow.certificates.SHORTEST_PREFIX", 0)
    with pytest.raises(AdminError, match="5 certificates"):
        await find(database.certificates, "")


# removing


async def test_removing(database: Database) -> None:
    store = database.certificates
    with pytest.raises(AdminError, match="private key would be gone"):
        await remove(store, ALICE.thumbprint, Shelf.CERTIFICATES)
    removed = await remove(store, ALICE.thumbprint[:12], Shelf.CERTIFICATES, with_key=True)
    assert removed.certificate == ALICE.certificate
    assert removed.has_key
    assert await store.keys() == []
    with pytest.raises(AdminError):
        await remove(store, ALICE.thumbprint, Shelf.CERTIFICATES)


async def test_removing_from_one_shelf_leaves_the_other(database: Database) -> None:
    await remove(database.certificates, CA.thumbprint, Shelf.ROOTS)
    assert (await find(database.certificates, CA.thumbprint)).shelf is Shelf.CERTIFICATES


# exporting


@pytest.mark.parametrize("form", [Form.PEM, Form.PKCS7])
def test_exporting_certificates(form: Form) -> None:
    chosen = [ALICE.certificate, BOB.certificate]
    assert set(read(export_certificates(chosen, form)).certificates) == set(chosen)


def test_exporting_one_certificate() -> None:
    assert export_certificates([BOB.certificate], Form.DER) == BOB.certificate.der


@pytest.mark.parametrize("form", [Form.DER, Form.PKCS12, Form.PKCS12_OLD])
def test_formats_that_do_not_fit_certificates(form: Form) -> None:
    with pytest.raises(AdminError):
        export_certificates([ALICE.certificate, BOB.certificate], form)


@pytest.mark.parametrize("form", [Form.PEM, Form.PKCS12])
async def test_exporting_a_key_with_its_chain(database: Database, form: Form) -> None:
    keys = await ring(database)
    data = await export_key(database.certificates, keys, ALICE.certificate, "secret", form)
    found = read(data, "secret")
    assert [one.certificate for one in found.identities] == [ALICE.certificate]
    assert set(found.certificates) == {ALICE.certificate, SUB.certificate, CA.certificate}


@pytest.mark.parametrize(
    ("form", "password"), [(Form.DER, "secret"), (Form.PKCS7, "secret"), (Form.PKCS12, "")]
)
async def test_keys_that_must_not_leave_so(
    database: Database, form: Form, password: str
) -> None:
    with pytest.raises(AdminError):
        await export_key(
            database.certificates, await ring(database), ALICE.certificate, password, form
        )


async def test_exporting_a_key_that_is_not_there(database: Database) -> None:
    with pytest.raises(AdminError):
        await export_key(
            database.certificates, await ring(database), BOB.certificate, "x", Form.PEM
        )


# chains


@pytest.mark.parametrize(
    ("of", "chain"),
    [
        (ALICE, [SUB, CA]),
        (SUB, [CA]),
        (CA, []),
        (CAROL, [CA]),
        (root("Stranger").issue("X"), []),
    ],
)
async def test_chains(database: Database, of: Issued, chain: list[Issued]) -> None:
    found = await chain_of(database.certificates, of.certificate)
    assert list(found) == [one.certificate for one in chain]


async def test_a_namesake_is_no_issuer(database: Database) -> None:
    """Another CA of the same name: the signature decides."""
    namesake = root("Test Root", key="p256")
    await database.certificates.add([namesake.certificate], Shelf.ROOTS, "")
    dave = namesake.issue("Dave")
    found = await chain_of(database.certificates, dave.certificate)
    assert found == (namesake.certificate,)


async def test_cas_that_certify_each_other(database: Database) -> None:
    one, two = root("One", key="p256"), root("Two", key="p256")
    cross = [one.issue("Two", ca=True, key=two.key), two.issue("One", ca=True, key=one.key)]
    await database.certificates.add([c.certificate for c in cross], Shelf.CERTIFICATES, "")
    leaf = one.issue("Leaf")
    assert len(await chain_of(database.certificates, leaf.certificate)) == 2
