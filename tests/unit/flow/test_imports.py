"""Importing: what is stored, what was there, what is refused and why; all or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from smimefilter.base.errors import AdminError
from smimefilter.flow import imports
from smimefilter.flow.imports import (
    Item,
    NeedsPassword,
    Outcome,
    Source,
    Summary,
    import_certificates,
    import_crls,
    import_keys,
)
from smimefilter.keys.master import MasterKey
from smimefilter.keys.wrapped import KeyVault
from smimefilter.pki.export import certificates_pem
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.support.pki import Issued, root

MASTER = MasterKey(bytes(32))
CA = root("Test Root")
SUB = CA.issue("Sub", ca=True)
ALICE = SUB.issue("Alice", mail="alice@example.com")
BOB = SUB.issue("Bob", mail="bob@example.com", key="p256")
PKCS12 = Source(
    "alice.p12",
    serialize_key_and_certificates(
        None,
        ALICE.key,  # type: ignore[arg-type]
        ALICE.certificate.parsed,
        [one.parsed for one in ALICE.chain],
        BestAvailableEncryption(b"secret"),
    ),
)
GARBAGE = Source("garbage.cer", b"this is no certificate")


def pem(*issued: Issued) -> bytes:
    return certificates_pem([one.certificate for one in issued])


def key_of(one: Issued) -> bytes:
    return one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def outcomes(summary: Summary) -> dict[str, Outcome]:
    return {item.what: item.outcome for item in summary.items}


async def stored(database: Database, shelf: Shelf = Shelf.CERTIFICATES) -> set[str]:
    return {entry.certificate.subject for entry in await database.certificates.all(shelf)}


def refused(summary: Summary) -> list[Item]:
    return [item for item in summary.items if item.outcome is Outcome.REFUSED]


# certificates


async def test_added_and_already_there(database: Database) -> None:
    store = database.certificates
    first = await import_certificates(
        store, [Source("a.pem", pem(ALICE, SUB))], Shelf.CERTIFICATES
    )
    assert first.count(Outcome.ADDED) == 2
    second = await import_certificates(
        store, [Source("b.pem", pem(ALICE, BOB))], Shelf.CERTIFICATES
    )
    assert outcomes(second) == {"CN=Alice": Outcome.PRESENT, "CN=Bob": Outcome.ADDED}
    assert second.items[0].thumbprint == ALICE.thumbprint
    origins = {entry.origin for entry in await store.all(Shelf.CERTIFICATES)}
    assert origins == {"import a.pem", "import b.pem"}


async def test_several_files_are_one_change(database: Database) -> None:
    before = await database.states.revision()
    sources = [Source("a.cer", ALICE.certificate.der), Source("b.pem", pem(BOB, ALICE))]
    summary = await import_certificates(database.certificates, sources, Shelf.CERTIFICATES)
    assert summary.count(Outcome.ADDED) == 2
    assert await database.states.revision() == before + 1


async def test_a_file_that_cannot_be_read_stops_everything(database: Database) -> None:
    sources = [Source("a.pem", pem(ALICE)), GARBAGE]
    with pytest.raises(AdminError) as caught:
        await import_certificates(database.certificates, sources, Shelf.CERTIFICATES)
    assert caught.value.where == "garbage.cer"
    assert caught.value.mend
    assert "\n" not in str(caught.value)
    assert await stored(database) == set()


async def test_an_item_that_cannot_be_read_is_refused_beside_the_others(
    database: Database,
) -> None:
    content = pem(ALICE) + b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    summary = await import_certificates(
        database.certificates, [Source("a.pem", content)], Shelf.CERTIFICATES
    )
    assert summary.count(Outcome.ADDED) == 1
    assert [bool(item.reason) for item in refused(summary)] == [True]


async def test_a_self_signed_ca_may_be_a_certificate(database: Database) -> None:
    summary = await import_certificates(
        database.certificates, [Source("ca.pem", pem(CA))], Shelf.CERTIFICATES
    )
    assert summary.count(Outcome.ADDED) == 1
    assert await stored(database, Shelf.ROOTS) == set()


async def test_keys_and_crls_in_a_certificate_file_are_refused(database: Database) -> None:
    content = pem(ALICE) + key_of(ALICE)
    bundle = pkcs7.serialize_certificates([BOB.certificate.parsed], Encoding.PEM)
    sources = [Source("a.pem", content), Source("b.p7b", bundle), Source("c.crl", CA.crl())]
    summary = await import_certificates(database.certificates, sources, Shelf.CERTIFICATES)
    assert summary.count(Outcome.ADDED) == 2
    assert summary.count(Outcome.REFUSED) == 2
    assert await database.certificates.keys() == []
    assert await database.crls.all() == []


# roots


async def test_roots(database: Database) -> None:
    summary = await import_certificates(
        database.certificates, [Source("chain.pem", pem(ALICE, SUB, CA))], Shelf.ROOTS
    )
    assert {item.what: item.reason for item in summary.items} == {
        "CN=Test Root": "",
        "CN=Sub": imports.NOT_SELF_ISSUED,
        "CN=Alice": imports.NOT_A_CA,
    }
    assert await stored(database, Shelf.ROOTS) == {"CN=Test Root"}


async def test_an_intermediate_is_a_root_when_forced(database: Database) -> None:
    summary = await import_certificates(
        database.certificates, [Source("x.pem", pem(ALICE, SUB))], Shelf.ROOTS, force=True
    )
    assert outcomes(summary) == {"CN=Sub": Outcome.ADDED, "CN=Alice": Outcome.REFUSED}


# keys


async def test_keys_come_with_certificate_and_chain(database: Database) -> None:
    summary = await import_keys(database.certificates, MASTER, [PKCS12], "secret")
    assert {item.what: item.with_key for item in summary.items} == {
        "CN=Alice": True, "CN=Sub": False, "CN=Test Root": False,
    }  # fmt: skip
    assert summary.count(Outcome.ADDED) == 3
    assert await stored(database, Shelf.ROOTS) == set()
    state = await database.states.load()
    key = KeyVault(MASTER).ring(state.keys).private_key(ALICE.thumbprint)
    assert key.public_key() == ALICE.certificate.public_key


async def test_no_key_is_stored_in_clear(database: Database, tmp_path: Path) -> None:
    await import_keys(database.certificates, MASTER, [PKCS12], "secret")
    secret = ALICE.key.private_numbers().d.to_bytes(256)  # type: ignore[union-attr]
    assert secret[:32] not in all_bytes(tmp_path)


async def test_the_same_keys_again(database: Database) -> None:
    await import_keys(database.certificates, MASTER, [PKCS12], "secret")
    before = await database.states.load()
    again = await import_keys(database.certificates, MASTER, [PKCS12], "secret")
    assert again.count(Outcome.PRESENT) == 3
    assert await database.states.load() == before


async def test_a_key_for_a_certificate_that_was_there(database: Database) -> None:
    await import_certificates(
        database.certificates, [Source("a", pem(ALICE, SUB, CA))], Shelf.CERTIFICATES
    )
    summary = await import_keys(database.certificates, MASTER, [PKCS12], "secret")
    assert outcomes(summary) == {
        "CN=Alice": Outcome.ADDED, "CN=Sub": Outcome.PRESENT, "CN=Test Root": Outcome.PRESENT,
    }  # fmt: skip


async def test_a_key_alone_finds_its_certificate_in_the_store(database: Database) -> None:
    renewed = SUB.issue("Bob", mail="bob@example.com", key=BOB.key)
    await import_certificates(
        database.certificates, [Source("b", pem(BOB, renewed, ALICE))], Shelf.CERTIFICATES
    )
    key = Source("bob.key", key_of(BOB))
    summary = await import_keys(database.certificates, MASTER, [key], None)
    assert [item.with_key for item in summary.items] == [True, True]
    wrapped = {key.thumbprint for key in await database.certificates.keys()}
    assert wrapped == {BOB.thumbprint, renewed.thumbprint}


async def test_a_key_in_one_file_and_its_certificate_in_another(database: Database) -> None:
    sources = [Source("bob.key", key_of(BOB)), Source("bob.pem", pem(BOB))]
    summary = await import_keys(database.certificates, MASTER, sources, None)
    assert [(item.what, item.with_key) for item in summary.items] == [("CN=Bob", True)]


async def test_a_key_without_any_certificate(database: Database) -> None:
    sources = [Source("bob.key", key_of(BOB)), Source("a.pem", pem(ALICE) + key_of(ALICE))]
    summary = await import_keys(database.certificates, MASTER, sources, None)
    assert [item.reason for item in refused(summary)] == [imports.NO_CERTIFICATE]
    assert [key.thumbprint for key in await database.certificates.keys()] == [ALICE.thumbprint]


async def test_passwords(database: Database) -> None:
    for password, kind in ((None, NeedsPassword), ("wrong", AdminError), ("", AdminError)):
        with pytest.raises(kind) as caught:
            await import_keys(database.certificates, MASTER, [PKCS12], password)
        assert caught.value.where == "alice.p12"
        assert "wrong" not in (caught.value.mend + caught.value.where)
    assert await stored(database) == set()


async def test_a_bad_file_among_good_ones(database: Database) -> None:
    with pytest.raises(AdminError):
        await import_keys(database.certificates, MASTER, [PKCS12, GARBAGE], "secret")
    assert await stored(database) == set()
    assert await database.certificates.keys() == []


# CRLs


async def test_crls(database: Database) -> None:
    crl = CA.crl([BOB])
    source = Source("ca.crl", crl)
    summary = await import_crls(database.crls, [source])
    assert [(item.outcome, item.what) for item in summary.items] == [
        (Outcome.ADDED, "CRL of CN=Test Root")
    ]
    again = await import_crls(database.crls, [source, Source("x.pem", pem(ALICE))])
    assert [item.outcome for item in again.items] == [Outcome.PRESENT, Outcome.REFUSED]
    (entry,) = await database.crls.all()
    assert entry.der == crl


async def test_what_is_no_crl(database: Database) -> None:
    with pytest.raises(AdminError):
        await import_crls(database.crls, [Source("a.crl", CA.crl()), GARBAGE])
    assert await database.crls.all() == []
