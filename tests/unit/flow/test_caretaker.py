"""What the certificate authority does by itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from smimefilter.base.envelope import Client, Recipient, Transaction
from smimefilter.flow import caretaker
from smimefilter.flow.caretaker import QUIET, Caretaker
from smimefilter.flow.preferences import set_preference
from smimefilter.flow.wanted import Wanted
from smimefilter.plan.snapshot import Moment
from smimefilter.ports.handlers import NotIssued
from smimefilter.ports.journal import MailRecord
from smimefilter.ports.requests import RequestState
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.support.offices import MASTER, Office
from tests.support.plans import World

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


@pytest.mark.parametrize(("days", "renewed"), [(40, False), (20, True)])
async def test_what_ends_soon_is_renewed_and_the_old_key_stays(
    scene: Scene, days: int, renewed: bool
) -> None:
    office = scene.office
    wanted = Wanted(address=ALICE, common_name="Alice A", key="p256", days=days)
    (one,) = await office.desk.submit([wanted], "told")
    await office.desk.work([one.id])
    office.now += QUIET + timedelta(days=1) if renewed else timedelta(0)
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
