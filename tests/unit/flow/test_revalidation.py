"""Verdicts ahead of need, and what is reported of them; who counts as active."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from smimefilter.base.envelope import Delivered, Recipient, Transaction
from smimefilter.base.errors import AdminError
from smimefilter.flow import activity, revalidation
from smimefilter.flow.activity import ACTIVE_FOR, Activity
from smimefilter.flow.revalidation import Revalidation
from smimefilter.flow.snapshots import Snapshots, State
from smimefilter.flow.witnessed import Witnessed
from smimefilter.plan.snapshot import Moment, Snapshot
from smimefilter.ports.journal import MailRecord
from smimefilter.ports.stores import ActiveUser, StoreTrouble
from smimefilter.trust.verdict import Purpose
from tests.support.pki import NOW
from tests.support.plans import World
from tests.support.smtp import until
from tests.unit.flow.test_concerns import ALICE, BOB, at

HOUR = timedelta(hours=1)


class Journal:
    def __init__(self) -> None:
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.troubles: list[str] = []
        self.records: list[MailRecord] = []

    def mail(self, record: MailRecord) -> None:
        self.records.append(record)

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        self.troubles.append(what)

    def note(self, event: str, **about: object) -> None:
        self.notes.append((event, about))

    warn = note


class Meter:
    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}

    def mail(self, record: MailRecord) -> None:
        pass

    def concerns(self, found: Mapping[tuple[str, str], int]) -> None:
        self.counts = {labels: count for labels, count in found.items() if count}


class Store:
    """`ports.ActiveUsers` in memory."""

    def __init__(self, *users: ActiveUser) -> None:
        self.users = {(user.address, user.purpose): user for user in users}
        self.broken = False
        self.writes = 0

    async def put(self, users: Sequence[ActiveUser], forget_before: datetime) -> None:
        if self.broken:
            raise StoreTrouble
        self.writes += 1
        self.users |= {(user.address, user.purpose): user for user in users}
        self.users = {k: user for k, user in self.users.items() if user.seen >= forget_before}

    async def since(self, moment: datetime) -> list[ActiveUser]:
        found = [user for user in self.users.values() if user.seen >= moment]
        return sorted(found, key=lambda user: user.seen)


class Scene:
    """Everything around, with a clock that is set."""

    def __init__(self, world: World, *users: ActiveUser) -> None:
        self.now = NOW
        self.world = world
        self.journal, self.meter, self.store = Journal(), Meter(), Store(*users)
        self.activity = Activity(self.journal, self.store, lambda: self.now)
        self.snapshots = cast(Any, type("Snapshots", (), {"current": None})())
        self.show(at(world))
        self.revalidation = Revalidation(
            cast(Snapshots, self.snapshots),
            self.activity,
            self.journal,
            self.meter,
            lambda: self.now,
        )

    def show(self, moment: Moment) -> None:
        self.snapshots.current = State(moment.snapshot, cast(Any, None))

    def mail(self, sender: str, *recipients: str) -> None:
        plan = self.world.plan(sender, *recipients)
        transaction = Transaction("id", sender, tuple(map(Recipient, recipients)), b"")
        fates = tuple(Delivered("Q", "ok") for _ in recipients)
        self.activity.mail(MailRecord(transaction, plan, fates, 1.0))

    async def review(self) -> None:
        await self.revalidation.review()


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revalidation, "REST", 0.0)
    monkeypatch.setattr(revalidation, "LOOK_EVERY", 0.001)


def scene() -> Scene:
    world = World()
    world.set("in.test", locality="internal", sign="always")
    world.person(ALICE, key=True)
    world.person(BOB)
    return Scene(world)


def test_whose_certificates_were_considered_is_active() -> None:
    sut = scene()
    sut.mail(ALICE, BOB, ALICE)
    assert [(user.address, user.purpose) for user in sut.activity.users()] == [
        (ALICE, Purpose.SIGN),
        (BOB, Purpose.ENCRYPT),
    ]
    sut.now += ACTIVE_FOR + HOUR
    assert sut.activity.users() == []


async def test_what_is_revoked_is_reported_once_and_counted() -> None:
    sut = scene()
    sut.mail(ALICE, BOB)
    await sut.review()
    assert (sut.journal.notes, sut.meter.counts) == ([], {})
    sut.show(at(sut.world, sut.world.people[BOB]))
    for _ in range(2):
        await sut.review()
    ((event, facts),) = sut.journal.notes
    assert event == "certificate of an active user"
    assert (facts["user"], facts["trouble"], facts["covered"]) == (BOB, "revoked", False)
    assert sut.meter.counts == {("encrypt", "revoked"): 1}
    sut.show(at(sut.world))
    await sut.review()
    assert [event for event, _ in sut.journal.notes][1:] == [
        "certificate of an active user no longer in trouble"
    ]
    assert sut.meter.counts == {}


async def test_of_several_processes_one_reports() -> None:
    sut = scene()
    sut.mail(ALICE, BOB)
    sut.revalidation._reports = False
    sut.show(at(sut.world, sut.world.people[BOB]))
    await sut.review()
    assert (sut.journal.notes, sut.meter.counts) == ([], {})


async def test_verdicts_are_made_before_the_next_mail_needs_them() -> None:
    sut = scene()
    sut.mail(ALICE, BOB)
    moment = at(sut.world)
    sut.show(moment)
    await sut.review()
    asked: list[object] = []
    judge = moment.snapshot.trust.verdict
    object.__setattr__(
        moment.snapshot.trust, "verdict", lambda *args: asked.append(args) or judge(*args)
    )
    sut.world.moment = lambda: moment  # type: ignore[method-assign]
    plan = sut.world.plan(ALICE, BOB)
    assert plan.copies[0].encryption
    assert asked == []


async def test_a_change_brings_a_review_and_a_defect_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sut = scene()
    reviewed: list[Snapshot] = []

    async def review() -> None:
        reviewed.append(sut.snapshots.current.snapshot)
        if len(reviewed) == 2:
            raise AdminError("a defect")

    monkeypatch.setattr(sut.revalidation, "review", review)
    task = asyncio.create_task(sut.revalidation.run())
    await asyncio.sleep(0.05)
    assert len(reviewed) == 1
    for revision in (7, 8):
        moment = at(sut.world)
        object.__setattr__(moment.snapshot, "revision", revision)
        sut.show(moment)
        await asyncio.sleep(0.05)
    assert len(reviewed) == 3
    assert sut.journal.troubles == ["certificates of active users not reviewed"]
    monkeypatch.setattr(revalidation, "REVIEW_EVERY", -1.0)
    sut.show(at(sut.world))
    await asyncio.sleep(0.05)
    assert len(reviewed) > 4  # though nothing changes any more
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_active_users_survive_a_restart() -> None:
    sut = scene()
    sut.mail(ALICE, BOB)
    await sut.activity.write()
    again = Scene(sut.world, *sut.store.users.values())
    await again.activity.load()
    keeping = asyncio.create_task(again.activity.keep())
    await asyncio.sleep(0.01)
    assert {user.address for user in again.activity.users()} == {ALICE, BOB}
    again.mail(ALICE, "carol@out.test")
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert ("carol@out.test", Purpose.ENCRYPT) in again.store.users  # written at the end


async def test_who_was_written_lately_is_not_written_again() -> None:
    sut = scene()
    sut.mail(ALICE, BOB)
    await sut.activity.write()
    sut.now += HOUR / 2
    sut.mail(ALICE, BOB)
    await sut.activity.write()
    assert sut.store.writes == 1
    sut.now += HOUR
    sut.mail(ALICE, BOB)
    await sut.activity.write()
    assert sut.store.writes == 2


async def test_whom_other_processes_have_seen_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "WRITE_EVERY", 0.001)
    sut = scene()
    other = Scene(sut.world)
    other.activity._store = sut.store
    keeping = asyncio.create_task(other.activity.keep())
    sut.mail(ALICE, BOB)
    await sut.activity.write()
    await until(lambda: {user.address for user in other.activity.users()} == {ALICE, BOB})
    assert sut.store.writes == 1  # nor does the other one write them again
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_broken_store_stops_nothing() -> None:
    sut = scene()
    sut.store.broken = True
    keeping = asyncio.create_task(sut.activity.keep())
    await asyncio.sleep(0)
    sut.mail(ALICE, BOB)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert sut.journal.troubles == ["active users not written"]


def test_a_witness_sees_what_is_written() -> None:
    written, witness = Journal(), Journal()
    sut = Witnessed(written, [witness])
    record = MailRecord(Transaction("id", ALICE, (), b""), None, (), 1.0)
    sut.mail(record)
    sut.note("event", a=1)
    sut.trouble("trouble", AdminError("x"))
    assert written.records == witness.records == [record]
    assert (written.notes, written.troubles) == ([("event", {"a": 1})], ["trouble"])
    assert (witness.notes, witness.troubles) == ([], [])
