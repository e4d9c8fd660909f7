"""What the certificate authority does by itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest
from cryptography import x509

from smimefilter.base.envelope import Client, Recipient, Transaction
from smimefilter.flow import caretaker
from smimefilter.flow.caretaker import QUIET, Caretaker
from smimefilter.flow.preferences import set_preference
from smimefilter.flow.wanted import Wanted
from smimefilter.pki.build import Profile, certify
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.snapshot import Moment
from smimefilter.ports.handlers import Issued, NotIssued
from smimefilter.ports.journal import MailRecord
from smimefilter.ports.requests import RequestState
from smimefilter.ports.stores import Shelf, StoreTrouble
from smimefilter.store.database import Database
from tests.support.offices import MASTER, Office
from tests.support.pki import NOW
from tests.support.plans import AUTHORITY, ROOT, World

ALICE = "alice@in.test"


class Scene:
    """A caretaker over a database, with the policy of a world."""

    def __init__(self, office: Office, world: World) -> None:
        self.office, self.world = office, world
        self.journal = office.journal
        self.snapshots = cast(Any, type("Snapshots", (), {})())
        self.sut = Caretaker(
            snapshots=self.snapshots,
            authority=office.authority,
            desk=office.desk,
            requests=office.database.requests,
            journal=office.journal,
            clock=lambda: office.now,
        )

    async def load(self) -> None:
        """The state as it is stored, but for preferences: those are the world's."""
        database = self.office.database
        moment: Moment = self.world.moment()
        keys = {key.thumbprint: key.blob for key in await database.certificates.keys()}
        snapshot = await stored(database, moment, keys)
        self.snapshots.current = type("State", (), {"snapshot": snapshot})()

    async def mail_of(self, sender: str, *, ours: bool = True) -> None:
        await self.load()
        transaction = Transaction("id", sender, (Recipient("x@x.test"),), b"", client=Client())
        self.sut.mail(MailRecord(transaction, None, (), 1.0, ours=ours))
        await self.sut._request_for_senders()

    async def requests(self) -> list[Any]:
        return await self.office.database.requests.all()


async def stored(database: Database, moment: Moment, keys: dict[str, bytes]) -> Any:
    from smimefilter.plan.snapshot import CertificateIndex, Snapshot
    from smimefilter.trust.cache import Trust
    from smimefilter.trust.knowledge import Knowledge

    entries = await database.certificates.all(Shelf.CERTIFICATES)
    roots = await database.certificates.all(Shelf.ROOTS)
    index = CertificateIndex(
        (one.certificate, one.certificate.thumbprint, one.addresses) for one in entries
    )
    knowledge = Knowledge(
        roots=[one.certificate for one in roots],
        authorities=[one.certificate for one in entries],
    )
    revision = await database.states.revision()
    return Snapshot(
        revision, moment.snapshot.tree, index, Trust(knowledge), keys=frozenset(keys)
    )


@pytest.fixture
async def scene(database: Database) -> Scene:
    office = await Office(database).with_ca()
    world = World().set(
        "in.test", locality="internal", auto_request="yes", ca_request_handler="told",
        ca_key="p256", renew_before=30, ca_validity=365,
    )  # fmt: skip
    return Scene(office, world)


async def test_an_internal_sender_without_a_certificate_gets_one(scene: Scene) -> None:
    await scene.mail_of(ALICE)
    (one,) = await scene.requests()
    assert (one.address, one.state, one.handler) == (ALICE, RequestState.PENDING, "told")
    await scene.mail_of(ALICE)
    assert len(await scene.requests()) == 1  # it is under way
    await scene.sut._work()
    (one,) = await scene.requests()
    assert one.state is RequestState.ISSUED
    await scene.mail_of(ALICE)
    assert len(await scene.requests()) == 1
    assert ("certificate requested", ALICE) in [
        (event, facts.get("address")) for event, facts in scene.journal.notes
    ]


@pytest.mark.parametrize("sender", ["x@out.test", "", "nobody", "bob@quiet.test"])
async def test_nobody_else_does(scene: Scene, sender: str) -> None:
    scene.world.set("quiet.test", locality="internal")
    await scene.mail_of(sender)
    assert await scene.requests() == []


async def test_who_was_refused_is_left_alone_for_a_while(scene: Scene) -> None:
    async def never(*_: Any) -> Any:
        return NotIssued("no")

    scene.office.answer = never
    await scene.mail_of(ALICE)
    await scene.sut._work()
    scene.sut._looked_at.clear()
    await scene.mail_of(ALICE)
    assert [one.state for one in await scene.requests()] == [RequestState.REFUSED]
    scene.office.now += QUIET + timedelta(hours=1)
    scene.sut._looked_at.clear()
    await scene.mail_of(ALICE)
    assert len(await scene.requests()) == 2


async def given(scene: Scene, days: int = 60) -> Certificate:
    """A certificate that Alice got by a request."""
    office = scene.office
    wanted = Wanted(address=ALICE, common_name="Alice A", key="p256", days=days)
    (one,) = await office.desk.submit([wanted], "told")
    (done,) = await office.desk.work([one.id])
    (entry,) = await office.database.certificates.these([done.thumbprint])
    return entry.certificate


@pytest.mark.parametrize(
    ("days", "after", "renewed"),
    [(120, 85, False), (120, 95, True), (60, 35, False), (60, 45, True)],  # 30 days, a third
)
async def test_what_ends_soon_is_renewed_and_the_old_key_stays(
    scene: Scene, days: int, after: int, renewed: bool
) -> None:
    office = scene.office
    await given(scene, days)
    office.now += timedelta(days=after)
    await scene.load()
    await scene.sut._renew_certificates()
    await scene.sut._renew_certificates()
    await scene.sut._work()
    found = await scene.requests()
    assert len(found) == (2 if renewed else 1)
    assert all(request.state is RequestState.ISSUED for request in found)
    if renewed:
        assert found[1].fields["common_name"] == "Alice A"
        assert len(await office.database.certificates.keys()) == 4  # CA, root, old and new


@pytest.mark.parametrize("chosen", [True, False])
async def test_where_one_is_chosen_by_hand_none_is_renewed(scene: Scene, chosen: bool) -> None:
    certificate = await given(scene)
    if chosen:
        scene.world.set(ALICE, signing_certificate=certificate.thumbprint)
    scene.office.now += timedelta(days=50)
    await scene.load()
    await scene.sut._renew_certificates()
    assert len(await scene.requests()) == (1 if chosen else 2)


async def test_a_certificate_whose_key_is_elsewhere_holds_back_no_renewal(
    scene: Scene,
) -> None:
    await given(scene)
    elsewhere = AUTHORITY.issue("card", mail=ALICE, not_after=NOW + timedelta(days=900))
    await scene.office.database.certificates.add(
        [elsewhere.certificate, AUTHORITY.certificate], Shelf.CERTIFICATES, "card"
    )
    await scene.office.database.certificates.add([ROOT.certificate], Shelf.ROOTS, "card")
    scene.office.now += timedelta(days=50)
    await scene.load()
    await scene.sut._renew_certificates()
    assert len(await scene.requests()) == 2


async def test_a_renewed_one_that_cannot_be_used_is_not_renewed_again(scene: Scene) -> None:
    """Else it would be ordered anew each week, and paid for."""
    await given(scene)
    scene.office.now += timedelta(days=45)

    async def by_a_stranger(order: Any, _: Any) -> Any:
        key = x509.load_der_x509_csr(order.csr).public_key()
        profile = Profile(
            common_name="Alice A", addresses=(ALICE,), not_before=scene.office.now,
            not_after=scene.office.now + timedelta(days=365),
        )  # fmt: skip
        return Issued(certify(profile, key, AUTHORITY.identity))

    scene.office.answer = by_a_stranger
    for _ in range(3):
        await scene.load()
        await scene.sut._renew_certificates()
        await scene.sut._work()
        scene.office.now += QUIET + timedelta(hours=1)
    assert len(await scene.requests()) == 2


async def test_who_has_one_that_is_worth_nothing_gets_no_other_one(scene: Scene) -> None:
    """Revoked, or of a CA that is not trusted: a machine gives nobody a new one for that."""
    certificate = await given(scene)
    await scene.office.authority.revoke_certificate(certificate, "cessationOfOperation")
    await scene.office.database.certificates.remove(
        (await scene.office.database.certificates.all(Shelf.ROOTS))[0].certificate.thumbprint,
        Shelf.ROOTS,
    )
    scene.office.now += QUIET + timedelta(days=1)
    await scene.mail_of(ALICE)
    assert len(await scene.requests()) == 1
    scene.office.now += timedelta(days=90)  # it has expired
    scene.sut._looked_at.clear()
    await scene.mail_of(ALICE)
    assert len(await scene.requests()) == 2


@pytest.mark.parametrize(
    "sender",
    ['"victim@other.example"@in.test', '"x,y"@in.test', "bücher@in.test"],
)
async def test_nothing_is_requested_for_strange_addresses(scene: Scene, sender: str) -> None:
    await scene.mail_of(sender)
    assert await scene.requests() == []


async def test_nobody_from_outside_makes_anything_be_requested(scene: Scene) -> None:
    await scene.mail_of(ALICE, ours=False)
    assert await scene.requests() == []


async def test_no_more_than_so_many_a_day(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "MOST_A_DAY", 3)
    for number in range(5):
        await scene.mail_of(f"u{number}@in.test")
    assert len(await scene.requests()) == 3
    held = [event for event, _ in scene.journal.notes if event == "certificates not requested"]
    assert len(held) == 1
    scene.office.now += timedelta(days=1, seconds=1)
    scene.sut._looked_at.clear()
    await scene.mail_of("u4@in.test")
    assert len(await scene.requests()) == 4


async def test_two_nodes_request_once(scene: Scene) -> None:
    other = Scene(scene.office, scene.world)
    await scene.load()
    await other.load()
    for one in (scene, other):
        one.sut._senders[ALICE] = None
    await asyncio.gather(scene.sut._request_for_senders(), other.sut._request_for_senders())
    assert len(await scene.requests()) == 1


async def test_one_that_does_not_lead_sees_to_its_own_senders_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    async def note(what: str, _: object) -> None:
        done.append(what)
        if len(done) >= 6:
            raise asyncio.CancelledError

    monkeypatch.setattr(caretaker, "LOOK_EVERY", 0)
    monkeypatch.setattr(scene.sut, "_do", note)
    monkeypatch.setattr(scene.sut, "_leads", False)
    with pytest.raises(asyncio.CancelledError):
        await scene.sut.run()
    assert set(done) == {"requests for senders"}


async def test_two_nodes_renew_once(scene: Scene) -> None:
    await given(scene)
    scene.office.now += timedelta(days=45)
    other = Scene(scene.office, scene.world)
    await scene.load()
    await other.load()
    await asyncio.gather(scene.sut._renew_certificates(), other.sut._renew_certificates())
    assert len(await scene.requests()) == 2


async def test_senders_wait_while_the_database_is_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(**_: Any) -> Any:
        raise StoreTrouble("gone")

    with monkeypatch.context() as patch:
        patch.setattr(scene.sut._requests, "all", away)
        for sender in (ALICE, "bob@in.test"):
            with pytest.raises(StoreTrouble):
                await scene.mail_of(sender)
    await scene.sut._request_for_senders()
    assert {one.address for one in await scene.requests()} == {ALICE, "bob@in.test"}


async def test_it_goes_on_whatever_goes_wrong(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(caretaker, "CRLS_EVERY", 0.0)
    await scene.load()
    made = asyncio.Event()

    async def broken() -> Any:
        raise OSError("gone")

    async def crls() -> list[Any]:
        made.set()
        return []

    scene.sut._work = broken  # type: ignore[method-assign]
    monkeypatch.setattr(scene.office.authority, "renew_crls", crls)
    task = asyncio.create_task(scene.sut.run())
    await asyncio.wait_for(made.wait(), 20)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert scene.journal.troubles == ["requests not seen to"]  # once, until it goes well


async def test_a_name_set_for_a_user_is_that_in_the_certificate(scene: Scene) -> None:
    await set_preference(
        scene.office.database.preferences, MASTER, ALICE, "display-name", "Alice Example"
    )
    scene.world.set(ALICE, display_name="Alice Example")
    await scene.mail_of(ALICE)
    (one,) = await scene.requests()
    assert one.fields["common_name"] == "Alice Example"
