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
from cryptography.hazmat.primitives.serialization import load_der_private_key

from smimefilter.base.errors import AdminError
from smimefilter.flow.authority_names import Authority, called, serials_of
from smimefilter.flow.new_authority import NewAuthority
from smimefilter.flow.wanted import Wanted
from smimefilter.pki.build import Identity, Profile, build_crl, generate_key, issue
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.pki.export import certificates_pem
from smimefilter.pki.request import make_csr, read_csr
from smimefilter.ports.handlers import HandlerTrouble, Issued, NotIssued
from smimefilter.ports.keys import PRIVATE_KEY
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from smimefilter.trust.ctl import Listing, TrustListEntry
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.link import Link
from tests.support.offices import MASTER, Office
from tests.support.pki import NOW, root
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
    (root_,) = await database.certificates.all(Shelf.ROOTS)
    (sub,) = await database.certificates.all(Shelf.CERTIFICATES)
    assert root_.certificate.subject == "CN=Office Root"
    assert sub.has_key
    assert sub.certificate.crl_urls == (f"http://crl.test/{key_id(root_.certificate)}.crl",)
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
    (root_,) = await database.certificates.all(Shelf.ROOTS)
    (sub,) = await database.certificates.all(Shelf.CERTIFICATES)
    for one in (root_, sub):
        assert Link(one.certificate).signed_by(Link(root_.certificate))


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


# a CA that may not issue


async def refusal(office: Office) -> str:
    (stored,) = await office.desk.submit([ALICE], "told")
    (done,) = await office.desk.work([stored.id])
    assert done.state is RequestState.REFUSED
    return done.outcome


async def both_of(office: Office) -> tuple[Authority, Authority]:
    root_, sub = await office.authority.all()
    return root_, sub


@pytest.mark.parametrize("reason", ["keyCompromise", "certificateHold"])
async def test_a_ca_that_is_revoked_issues_no_longer(database: Database, reason: str) -> None:
    office = await Office(database).with_ca()
    await issued(office)
    _, sub = await both_of(office)
    await office.authority.revoke_certificate(sub.certificate, reason, authority=True)
    assert "there is no CA that issues by default" in await refusal(office)
    records = await database.audit.find(sub.certificate.thumbprint)
    assert [one.event for one in records][-1] == "CA is the default no longer"
    with pytest.raises(AdminError, match="the CA is revoked: CN=Office CA"):
        await office.authority.make_default("Office CA")
    with pytest.raises(HandlerTrouble, match="no CA that issues by default"):
        await office.authority.test()


async def test_a_ca_that_another_crl_revokes_issues_no_longer(database: Database) -> None:
    """As when the root is offline and its CRL is made there."""
    office = await Office(database).with_ca()
    root_, sub = await both_of(office)
    key = await office.authority._opened(root_)
    office.now += timedelta(hours=1)
    crl = build_crl(
        key, [(sub.certificate.serial, NOW)], number=2,
        this_update=office.now, next_update=NOW + timedelta(days=1),
    )  # fmt: skip
    await database.crls.add([crl], "import")
    assert await refusal(office) == "the CA is revoked: CN=Office CA"
    with pytest.raises(HandlerTrouble, match="the CA is revoked"):
        await office.authority.test()


@pytest.mark.parametrize("which", [0, 1])
async def test_a_ca_that_is_black_listed_issues_no_longer(
    database: Database, which: int
) -> None:
    office = await Office(database).with_ca()
    thumbprint = (await both_of(office))[which].certificate.thumbprint
    await database.trust_list.put(TrustListEntry(thumbprint, Listing.BLACK))
    assert await refusal(office) == "the CA is black-listed: CN=Office CA"


@pytest.mark.parametrize(("days", "said"), [(-1, "not yet valid"), (8000, "has expired")])
async def test_a_ca_out_of_its_time_issues_nothing(
    database: Database, days: int, said: str
) -> None:
    office = await Office(database).with_ca()
    office.now += timedelta(days=days)
    with pytest.raises(HandlerTrouble, match=said):
        await office.authority.test()
    office.now = NOW
    (stored,) = await office.desk.submit([ALICE], "told")
    office.now += timedelta(days=days)
    (done,) = await office.desk.work([stored.id])
    assert said in done.outcome


# what a CA may speak for


async def test_an_intermediate_is_for_mail_and_for_its_domains(database: Database) -> None:
    office = await Office(database).with_ca(domains=("IN.test", ".below.test"))
    root_, sub = await both_of(office)
    usage = {x509.ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string}
    assert (root_.certificate.extended_key_usage, sub.certificate.extended_key_usage) == (
        None, usage,
    )  # fmt: skip
    found = sub.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert found.critical
    permitted = found.value.permitted_subtrees
    assert [one.value for one in permitted or ()] == ["in.test", ".below.test"]
    alice = await issued(office)
    assert await state_of(office, alice) == "valid"
    await issued(office, replace(ALICE, address="a@deep.below.test"))
    (stored,) = await office.desk.submit([replace(ALICE, address="a@out.test")], "told")
    (done,) = await office.desk.work([stored.id])
    assert done.outcome == "the CA does not speak for a@out.test: CN=Office CA"


@pytest.mark.parametrize("domain", ["", "a@in.test", "in test", "*.in.test"])
async def test_what_is_no_domain(database: Database, domain: str) -> None:
    with pytest.raises(AdminError, match="is no domain"):
        await Office(database).with_ca(domains=(domain,))


async def test_an_order_that_comes_again_gets_the_same(database: Database) -> None:
    """The process died after it was issued, and before that was known."""
    office = await Office(database).with_ca()
    alice = await issued(office)
    (order,) = office.orders
    again = await office.authority.issue(order)
    assert again.certificate == alice  # type: ignore[union-attr]


async def test_an_order_that_comes_again_for_another_key_gets_one_of_that(
    database: Database,
) -> None:
    """The request was deleted, and asked for again under the same id."""
    office = await Office(database).with_ca()
    alice = await issued(office)
    (order,) = office.orders
    csr = make_csr(generate_key("p256"), address="alice@in.test", common_name="Alice")
    new = await office.authority.issue(replace(order, csr=csr))
    assert isinstance(new, Issued)
    assert read_csr(csr).is_answered_by(new.certificate)
    again = await office.authority.issue(replace(order, csr=csr))
    assert (again.certificate, new.certificate != alice) == (new.certificate, True)  # type: ignore[union-attr]
    assert (await office.authority.issue(order)).certificate == alice  # type: ignore[union-attr]


async def test_an_order_that_comes_again_gets_nothing_that_is_revoked(
    database: Database,
) -> None:
    office = await Office(database).with_ca()
    alice = await issued(office)
    (order,) = office.orders
    await office.authority.revoke_certificate(alice, "keyCompromise")
    refused = NotIssued(f"what was issued was revoked, serial {alice.serial_hex}")
    assert await office.authority.issue(order) == refused
    _, sub = await both_of(office)
    await office.authority.revoke_certificate(sub.certificate, "superseded", authority=True)
    assert await office.authority.issue(order) == refused


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
    crl = Crl.read(await office.authority.revoke("", {0x12: "superseded"}, unknown=True))
    assert (crl.number, crl.count) == (3, 2)
    found = crl.find(alice.serial)
    assert found is not None
    assert found.reason == "keyCompromise"
    assert len(await database.crls.all()) == 2  # one of the root, one of the intermediate
    anew = Crl.read(await office.authority.revoke("", {}, anew=True, force=True))
    assert (anew.number, anew.count, anew.find(alice.serial)) == (4, 0, None)


async def crl_of(office: Office, *serials: int, **how: Any) -> Crl:
    reason = how.pop("reason", "")
    asked = dict.fromkeys(serials, reason)
    return Crl.read(await office.authority.revoke("", asked, unknown=True, **how))


async def told(office: Office) -> list[str]:
    """What the audit trail has of serial numbers."""
    sub = await office.authority.find()
    records = await office.database.audit.find(sub.certificate.thumbprint)
    return [f"{one.event}: {one.detail}" for one in records if "serial" in one.detail]


async def test_a_hold_is_lifted_or_becomes_a_revocation(database: Database) -> None:
    office = await Office(database).with_ca()
    await crl_of(office, 0x12, 0x13, reason="certificateHold")
    office.now += timedelta(hours=1)
    lifted = await crl_of(office, 0x12, reason="removeFromCRL")
    assert (lifted.find(0x12), lifted.count) == (None, 1)
    found = (await crl_of(office, 0x13, reason="keyCompromise")).find(0x13)
    assert found is not None
    assert (found.reason, found.date) == ("keyCompromise", NOW)
    for serial, said in ((0x12, "serial 12 is not revoked"), (0x13, "is revoked for good")):
        with pytest.raises(AdminError, match=said):
            await crl_of(office, serial, reason="removeFromCRL")
    with pytest.raises(AdminError, match="revoked already, for keyCompromise"):
        await crl_of(office, 0x13, reason="certificateHold")
    assert await told(office) == [
        "revoked: serial 12: certificateHold",
        "revoked: serial 13: certificateHold",
        f"revoked no longer: serial 12: certificateHold since {NOW:%Y-%m-%d %H:%M:%S} UTC",
        "revoked: serial 13: keyCompromise, was certificateHold",
    ]


async def test_a_certificate_on_hold_comes_back(database: Database) -> None:
    office = await Office(database).with_ca()
    alice = await issued(office)
    for reason, standing in (
        ("certificateHold", "revoked"),
        ("removeFromCRL", "valid"),
        ("superseded", "revoked"),
        ("keyCompromise", "revoked"),
    ):
        await office.authority.revoke_certificate(alice, reason)
        assert await state_of(office, alice) == standing
    with pytest.raises(AdminError, match="revoked already"):
        await office.authority.revoke_certificate(alice, "superseded")


async def test_all_anew_takes_force_keeps_what_is_named_and_tells_what_goes(
    database: Database,
) -> None:
    office = await Office(database).with_ca()
    await crl_of(office, 0x1, 0x2, reason="superseded")
    office.now += timedelta(hours=1)
    with pytest.raises(AdminError, match=r"no longer: 1 \(say --force"):
        await crl_of(office, 0x2, 0x3, anew=True)
    crl = await crl_of(office, 0x2, 0x3, anew=True, force=True)
    kept = crl.find(0x2)
    assert kept is not None
    assert (crl.count, kept.date, kept.reason) == (2, NOW, "superseded")
    assert (await told(office))[-1].startswith("revoked no longer: serial 1: superseded since")
    await crl_of(office, 0x2, 0x3, anew=True)  # nothing goes


async def test_a_forged_certificate_revokes_nobody(database: Database) -> None:
    """With the names, key id and serial number of one that a CA of ours issued."""
    office = await Office(database).with_ca()
    alice, (_, sub) = await issued(office), await both_of(office)
    forger = root("Office CA", key="p256")
    forged = alice.der.replace(b"alice@in.test", b"malice@i.test")
    profile = Profile(common_name="X", not_before=NOW, not_after=NOW, serial=alice.serial)
    mine = issue(profile, forger.key, Identity(sub.certificate, forger.key)).certificate
    assert (mine.issuer, mine.serial) == (alice.issuer, alice.serial)
    assert mine.authority_key_id == alice.authority_key_id
    for one in (mine, Certificate(forged)):
        with pytest.raises(AdminError, match="no CA of ours issued it"):
            await office.authority.revoke_certificate(one, "keyCompromise")
    assert await state_of(office, alice) == "valid"


@pytest.mark.parametrize("days", [-3, 0, 367, 10**7])
async def test_a_crl_of_no_time_or_of_ages(database: Database, days: int) -> None:
    office = await Office(database).with_ca()
    with pytest.raises(AdminError, match=f"after 1 to 366 days, not {days}"):
        await crl_of(office, days=days)
    with pytest.raises(AdminError, match="no digest: md5"):
        await crl_of(office, digest="md5")


async def test_crls_made_at_once_lose_no_entry(database: Database) -> None:
    office = await Office(database).with_ca()
    await asyncio.gather(
        *(office.authority.revoke("", {n: ""}, unknown=True) for n in range(1, 4))
    )
    (_, newest) = await office.authority.published()
    assert newest.crl is not None
    crl = Crl.read(newest.crl)
    assert (crl.number, crl.count) == (4, 3)
    assert all(crl.find(n) for n in range(1, 4))


async def test_what_was_never_issued_is_revoked_where_that_is_said(database: Database) -> None:
    office = await Office(database).with_ca()
    alice = await issued(office)
    said = r"CN=Office CA: it never issued a certificate with the serial 12, 13 \(say --unknown"
    with pytest.raises(AdminError, match=said):
        await office.authority.revoke("", {alice.serial: "", 0x12: "", 0x13: ""})
    assert await state_of(office, alice) == "valid"
    assert (await crl_of(office, 0x12)).count == 1
    await office.authority.revoke("", {alice.serial: "", 0x12: "keyCompromise"})  # known by now
    assert await state_of(office, alice) == "revoked"
    await office.authority.revoke("", {}, anew=True, force=True)
    with pytest.raises(AdminError, match="never issued"):
        await office.authority.revoke("", {0x12: ""})


async def test_a_ca_is_revoked_where_that_is_said_with_what_falls(database: Database) -> None:
    office = await Office(database).with_ca()
    (above, sub), alice = await both_of(office), await issued(office)
    bob = await issued(office, replace(ALICE, address="b@in.test"))
    short = await issued(office, replace(ALICE, address="c@in.test", days=1))
    profile = Profile(
        common_name="X",
        not_before=NOW,
        not_after=NOW + timedelta(days=9),
        addresses=("x@y.test",),
    )
    signer = Identity(sub.certificate, await key_of(office, sub))
    stranger = issue(profile, generate_key("p256"), signer).certificate
    await database.certificates.add([stranger], Shelf.CERTIFICATES, "import")
    await office.authority.revoke_certificate(bob, "superseded")
    office.now += timedelta(days=2)
    assert short.not_after < office.now
    assert await office.authority.below(sub.certificate) == 2  # alice and the stranger
    said = r"CN=Office CA: this is a CA, and with it would fall 2 valid certificates"
    with pytest.raises(AdminError, match=said):
        await office.authority.revoke_certificate(sub.certificate, "cACompromise")
    for flags in ({}, {"unknown": True}):
        with pytest.raises(AdminError, match=said):
            await office.authority.revoke(above.id, {sub.certificate.serial: ""}, **flags)
    assert await state_of(office, alice) == "valid"
    hold, lift = "certificateHold", "removeFromCRL"
    await office.authority.revoke_certificate(sub.certificate, hold, authority=True)
    assert (await office.judged(sub.certificate)).standing == "revoked"
    await office.authority.revoke_certificate(sub.certificate, lift)
    assert (await office.judged(sub.certificate)).standing == "valid"


async def key_of(office: Office, one: Authority) -> Any:
    wrapped = await office.database.certificates.key(one.certificate.thumbprint)
    assert wrapped is not None
    plain = MASTER.open(PRIVATE_KEY, one.certificate.thumbprint, wrapped.blob)
    return load_der_private_key(plain, None)


async def test_a_ca_is_called_by_its_name_or_the_beginning_of_its_id(
    database: Database,
) -> None:
    office = await Office(database).with_ca()
    (above, sub), find = await both_of(office), office.authority.find
    thumbprint = sub.certificate.thumbprint
    for which in (
        sub.id,
        sub.id[:4],
        sub.id[:6].upper(),
        "office ca",
        thumbprint[:4],
        thumbprint,
    ):
        assert (await find(which)).id == sub.id
    assert called([sub], sub.id[:4]) == called([sub], thumbprint[:4]) == sub
    assert (await find(above.id[:8])).id == above.id
    with pytest.raises(AdminError, match=r"no CA is called '0' .of an id .* 4 digits or more"):
        await find("0")
    with pytest.raises(AdminError, match=r"no CA is called 'Office' .list them"):
        await find("Office")
    twin = replace(above, id=sub.id[:8] + "0" * 8)
    with pytest.raises(
        AdminError, match=f"2 CAs are called '{sub.id[:5]}': {sub.id} CN=Office CA"
    ):
        called([sub, twin], sub.id[:5])


@pytest.mark.parametrize(
    ("special", "said"),
    [
        ({"email": "nonsense"}, "'nonsense' is not a mail address"),
        ({"email": "a b@x.test"}, "is not a mail address"),
        ({"name": "N" * 65}, f"common name {'N' * 64}: takes at most 64 printable"),
        ({"root_name": "N" * 70}, "takes at most 64 printable characters, this is 70"),
        ({"name": "N\x07"}, "takes at most 64 printable"),
        ({"key": "x25519", "force": True}, "does not sign certificates"),
        ({"key": "ed25519", "digest": "sha1", "force": True}, "does not sign with SHA-1"),
    ],
)
async def test_a_ca_that_no_certificate_can_name_is_not_made(
    database: Database, special: dict[str, Any], said: str
) -> None:
    office = Office(database)
    with pytest.raises(AdminError, match=said):
        await office.with_ca(**special)
    assert await database.authorities.all() == []
    assert await database.crls.all() == []
    await office.with_ca(name="N" * 64, root_name="R" * 64, email="ca@x.test")
    with pytest.raises(AdminError, match="there is a CA called"):
        await office.with_ca(name=f" {'N' * 64} ", root_name="Another")


async def test_what_cannot_be_revoked(database: Database) -> None:
    office = await Office(database).with_ca()
    with pytest.raises(AdminError, match="no reason for revocation: 'spite'"):
        await office.authority.revoke("", {1: "spite"})
    other = root("Other").certificate
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


async def test_a_root_that_is_offline_keeps_no_other_from_its_crl(database: Database) -> None:
    office = await Office(database).with_ca()
    root_, sub = await both_of(office)
    with pytest.raises(AdminError, match="an intermediate needs its key"):
        await office.authority.forget_key(sub.id)
    assert not (await office.authority.forget_key(root_.id)).has_key
    assert await database.certificates.key(root_.certificate.thumbprint) is None
    with pytest.raises(AdminError, match="its private key is not at hand"):
        await office.authority.forget_key(root_.id)
    await issued(office)
    office.now += timedelta(days=4)
    assert [one.id for one in await office.authority.renew_crls()] == [sub.id]
    assert office.journal.troubles == ["CRL not made anew"]
    await office.authority.renew_crls()
    assert office.journal.troubles == ["CRL not made anew"]  # once


async def test_a_key_that_cannot_be_opened_keeps_no_other_from_its_crl(
    database: Database,
) -> None:
    office = await Office(database).with_ca()
    thumbprint = (await both_of(office))[0].certificate.thumbprint
    await office.with_ca(root_name="Second Root", name="Second CA")
    wrapped = await database.certificates.key(thumbprint)
    assert wrapped is not None
    await database.authorities.forget_key(thumbprint, [])
    spoilt = replace(wrapped, blob=wrapped.blob[:-1] + bytes([wrapped.blob[-1] ^ 1]))
    (entry,) = await database.certificates.these([thumbprint])
    await database.certificates.add_with_keys([entry.certificate], [spoilt], "test", [])
    office.now += timedelta(days=4)
    assert len(await office.authority.renew_crls()) == 3
    assert office.journal.troubles == ["CRL not made anew"]


@pytest.mark.parametrize(("text", "serial"), [("12", 0x12), ("0xAB:cd", 0xABCD), ("00 0f", 15)])
def test_serials_as_people_write_them(text: str, serial: int) -> None:
    assert serials_of([text]) == [serial]


@pytest.mark.parametrize("text", ["", "xyz", "-1", "0", "00", "0x0", "1" * 41])
def test_what_is_no_serial(text: str) -> None:
    with pytest.raises(AdminError, match="is no serial number"):
        serials_of([text])


def test_requests_show_no_secret() -> None:
    one = StoredRequest("ab" * 16, "told", "a@x.test", {}, b"secret", NOW, NOW, NOW)
    assert "secret" not in repr(one)
