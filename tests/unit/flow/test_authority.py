"""The built-in CA: what it makes, what it refuses, what it revokes."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from smimefilter.base.errors import AdminError
from smimefilter.flow.authority import NewAuthority, serials_of
from smimefilter.flow.wanted import Wanted
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.pki.export import certificates_pem
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.link import Link
from tests.support.offices import Office
from tests.support.pki import NOW
from tests.support.pki import root as another_root
from tests.support.trust import verdict

ALICE = Wanted(
    address="Alice@In.Test", common_name="Alice", organisation="Test", given_name="Alice",
    surname="A", key="p256", crl_url="http://crl.test/{ca}.crl",
)  # fmt: skip


async def issued(office: Office, wanted: Wanted = ALICE) -> Certificate:
    (stored,) = await office.desk.submit([wanted], "told")
    (done,) = await office.desk.work([stored.id])
    assert done.state is RequestState.ISSUED, done.outcome
    (entry,) = await office.database.certificates.these([done.thumbprint])
    assert entry.has_key
    return entry.certificate


async def test_root_and_intermediate_are_in_their_stores_and_issue(database: Database) -> None:
    office = await Office(database).with_ca(crl_url="http://crl.test/{ca}.crl")
    (root,) = await database.certificates.all(Shelf.ROOTS)
    (sub,) = await database.certificates.all(Shelf.CERTIFICATES)
    assert root.certificate.subject == "CN=Office Root"
    assert sub.has_key
    assert sub.certificate.crl_urls == (f"http://crl.test/{key_id(root.certificate)}.crl",)
    assert len(await database.crls.all()) == 2
    alice = await issued(office)
    assert alice.addresses == ("alice@in.test",)
    assert alice.subject.startswith("CN=Alice,")
    assert alice.key_usage == {"digitalSignature", "keyAgreement"}
    assert alice.extended_key_usage == {x509.ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string}
    assert alice.crl_urls == (f"http://crl.test/{key_id(sub.certificate)}.crl",)
    assert alice.authority_key_id == sub.certificate.subject_key_id
    assert alice.serial.bit_length() == 129
    assert alice.not_after == NOW + timedelta(days=730)


def key_id(certificate: Certificate) -> str:
    assert certificate.subject_key_id
    return certificate.subject_key_id.hex()[:16]


def openssl(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_openssl_takes_what_it_issues(database: Database, tmp_path: Path) -> None:
    office = Office(database)
    office.now = datetime.now(UTC).replace(microsecond=0)
    await office.with_ca()
    for key, purposes in (
        ("rsa2048", ("smimesign", "smimeencrypt")),
        ("p256", ("smimesign",)),  # it knows no encryption by key agreement
        ("p384", ("smimesign",)),
    ):
        alice = await issued(office, replace(ALICE, address=f"{key}@in.test", key=key))
        for name, shelf in (("root", Shelf.ROOTS), ("sub", Shelf.CERTIFICATES)):
            found = [one.certificate for one in await database.certificates.all(shelf)]
            (tmp_path / name).write_bytes(certificates_pem([one for one in found if one.is_ca]))
        (tmp_path / "alice").write_bytes(certificates_pem([alice]))
        for purpose in purposes:
            command = ["openssl", "verify", "-x509_strict", "-purpose", purpose]
            command += ["-CAfile", str(tmp_path / "root"), "-untrusted", str(tmp_path / "sub")]
            await asyncio.to_thread(openssl, *command, str(tmp_path / "alice"))


@pytest.mark.parametrize(
    ("special", "said"),
    [
        ({"name": "office root "}, "the same common name"),
        ({"name": " "}, "needs a common name"),
        ({"key": "rsa1024"}, "can be broken"),
        ({"key": "ed25519"}, "read by few programs"),
        ({"digest": "sha1"}, "SHA1 can be forged"),
        ({"key": "rsa1"}, "no such kind of key"),
        ({"digest": "md5"}, "no digest: md5"),
        ({"days": 0}, "1 to 36500 days"),
    ],
)
async def test_what_no_ca_should_be_is_refused(
    database: Database, special: dict[str, Any], said: str
) -> None:
    with pytest.raises(AdminError, match=said):
        await Office(database).with_ca(**special)
    assert await database.authorities.all() == []
    assert await database.certificates.all(Shelf.ROOTS) == []


@pytest.mark.parametrize("key", ["rsa1024", "p256"])
async def test_what_is_weak_is_made_for_those_who_insist(database: Database, key: str) -> None:
    await Office(database).with_ca(key=key, digest="sha1", force=True)
    for shelf in Shelf:
        (entry,) = await database.certificates.all(shelf)
        oid = entry.certificate.signature_algorithm
        assert oid in {"1.2.840.113549.1.1.5", "1.2.840.10045.4.1"}  # with SHA-1
    (root,) = await database.certificates.all(Shelf.ROOTS)
    (sub,) = await database.certificates.all(Shelf.CERTIFICATES)
    for one in (root, sub):
        assert Link(one.certificate).signed_by(Link(root.certificate))


async def test_two_of_one_name_are_refused(database: Database) -> None:
    office = await Office(database).with_ca()
    with pytest.raises(AdminError, match="'OFFICE CA' already"):
        await office.authority.create(
            NewAuthority(root_name="Another", name="OFFICE CA", key="p256")
        )


async def test_the_default_issues(database: Database) -> None:
    office = await Office(database).with_ca()
    await office.with_ca(root_name="Second Root", name="Second CA", make_default=False)
    assert (await issued(office)).issuer == "CN=Office CA"
    with pytest.raises(AdminError, match="a root issues no certificates"):
        await office.authority.make_default("Second Root")
    await office.authority.make_default("second ca")
    bob = await issued(office, replace(ALICE, address="bob@in.test"))
    assert bob.issuer == "CN=Second CA"
    with pytest.raises(AdminError, match="no CA is called"):
        await office.authority.find("third")


async def test_without_a_ca_nothing_is_issued(database: Database) -> None:
    office = Office(database)
    (stored,) = await office.desk.submit([ALICE], "told")
    (done,) = await office.desk.work([stored.id])
    assert done.state is RequestState.REFUSED
    assert "there is no CA that issues by default" in done.outcome


async def test_nothing_outlives_its_ca(database: Database) -> None:
    office = await Office(database).with_ca(days=100)
    assert (await issued(office)).not_after == NOW + timedelta(days=100)


async def test_an_order_that_comes_again_gets_the_same(database: Database) -> None:
    """The process died after it was issued, and before that was known."""
    office = await Office(database).with_ca()
    alice = await issued(office)
    (order,) = office.orders
    again = await office.authority.issue(order)
    assert again.certificate == alice  # type: ignore[union-attr]


# revoking


async def state_of(office: Office, certificate: Certificate) -> str:
    roots = await office.database.certificates.all(Shelf.ROOTS)
    others = await office.database.certificates.all(Shelf.CERTIFICATES)
    known = Knowledge(
        roots=[one.certificate for one in roots],
        authorities=[one.certificate for one in others],
        crls=[Crl.read(one.der) for one in await office.database.crls.all()],
    )
    return str(verdict(certificate, known).standing)


async def test_a_revoked_one_is_on_the_crl_at_once_and_stays_there(database: Database) -> None:
    office = await Office(database).with_ca()
    alice, bob = await issued(office), await issued(office, replace(ALICE, address="b@in.test"))
    assert await state_of(office, alice) == "valid"
    await office.authority.revoke_certificate(alice, "keyCompromise")
    assert [await state_of(office, one) for one in (alice, bob)] == ["revoked", "valid"]
    with pytest.raises(AdminError, match="revoked already"):
        await office.authority.revoke_certificate(alice, "")
    crl = Crl.read(await office.authority.revoke("", {0x12: "superseded"}))
    assert (crl.number, crl.count) == (3, 2)
    found = crl.find(alice.serial)
    assert found is not None
    assert found.reason == "keyCompromise"
    assert len(await database.crls.all()) == 2  # one of the root, one of the intermediate
    anew = Crl.read(await office.authority.revoke("", {0x99: ""}, anew=True))
    assert (anew.number, anew.count, anew.find(alice.serial)) == (4, 1, None)


async def test_crls_made_at_once_lose_no_entry(database: Database) -> None:
    office = await Office(database).with_ca()
    await asyncio.gather(*(office.authority.revoke("", {n: ""}) for n in range(1, 4)))
    newest = await office.authority.current_crl((await office.authority.find()).id)
    assert newest is not None
    crl = Crl.read(newest)
    assert (crl.number, crl.count) == (4, 3)
    assert all(crl.find(n) for n in range(1, 4))


async def test_what_cannot_be_revoked(database: Database) -> None:
    office = await Office(database).with_ca()
    with pytest.raises(AdminError, match="no reason for revocation: 'spite'"):
        await office.authority.revoke("", {1: "spite"})
    other = another_root("Other").certificate
    with pytest.raises(AdminError, match="no CA of ours issued it"):
        await office.authority.revoke_certificate(other, "")


async def test_crls_are_made_anew_when_half_of_their_time_has_passed(
    database: Database,
) -> None:
    office = await Office(database).with_ca()
    alice = await issued(office)
    await office.authority.revoke_certificate(alice, "")
    assert await office.authority.renew_crls() == []
    office.now += timedelta(days=4)
    assert len(await office.authority.renew_crls()) == 2
    assert await office.authority.renew_crls() == []
    assert await state_of(office, alice) == "revoked"


@pytest.mark.parametrize(("text", "serial"), [("12", 0x12), ("0xAB:cd", 0xABCD), ("00 0f", 15)])
def test_serials_as_people_write_them(text: str, serial: int) -> None:
    assert serials_of([text]) == [serial]


@pytest.mark.parametrize("text", ["", "xyz", "-1", "1" * 41])
def test_what_is_no_serial(text: str) -> None:
    with pytest.raises(AdminError, match="is no serial number"):
        serials_of([text])


def test_requests_show_no_secret() -> None:
    one = StoredRequest("ab" * 16, "told", "a@x.test", {}, b"secret", NOW, NOW, NOW)
    assert "secret" not in repr(one)
