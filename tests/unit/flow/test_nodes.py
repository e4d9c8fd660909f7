"""Several nodes on one database: changes reach all of them, work is done once, and a database
that goes away and comes back stops nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from smimefilter.flow.crl_intake import CrlIntake
from smimefilter.flow.crl_turns import Turns
from smimefilter.flow.crls import CrlUpdates
from smimefilter.flow.requests import LEASE
from smimefilter.flow.snapshots import Snapshots
from smimefilter.flow.wanted import Wanted
from smimefilter.keys.wrapped import KeyVault
from smimefilter.policy.tree import Scopes
from smimefilter.ports.handlers import Order, Remember
from smimefilter.ports.meter import NoMeter
from smimefilter.ports.requests import RequestState
from smimefilter.ports.stores import Shelf, StoreTrouble
from smimefilter.store.database import Database
from tests.support.offices import MASTER, Office
from tests.support.pki import NOW
from tests.support.postgres import Postgres
from tests.unit.flow.test_crls import BOB, OTHER, ROOT, ROOTS, SUB, SUBS, NetStub, crl, until
from tests.unit.flow.test_revalidation import Journal


class NoFiles:
    """A folder of policies in which nothing happens."""

    def load(self) -> Scopes:
        return {}

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        await asyncio.Event().wait()


class Meter(NoMeter):
    def __init__(self) -> None:
        self.reachable: list[bool] = []

    def store(self, *, reachable: bool) -> None:
        if self.reachable[-1:] != [reachable]:
            self.reachable.append(reachable)


class Node:
    """What one process holds in memory, kept current."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.journal, self.meter = Journal(), Meter()
        self.snapshots = Snapshots(
            states=database.states,
            policies=NoFiles(),
            ring=KeyVault(MASTER).ring,
            sealer=MASTER,
            journal=self.journal,
            answers=database.ocsp_answers,
            clock=lambda: NOW,
        )

    def knows(self, thumbprint: str) -> bool:
        certificates = self.snapshots.current.snapshot.certificates
        return certificates.by_thumbprint(thumbprint) is not None

    def events(self) -> list[str]:
        return [event for event, _ in self.journal.notes]


@asynccontextmanager
async def node(url: str) -> AsyncIterator[Node]:
    async with Database(url) as database:
        made = Node(database)
        await made.snapshots.load()
        keeper = asyncio.create_task(made.snapshots.keep_current(made.meter))
        yield made
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


# changes


async def test_a_change_reaches_all_nodes(database_url: str) -> None:
    async with node(database_url) as one, node(database_url) as other:
        await one.database.certificates.add([BOB.certificate], Shelf.CERTIFICATES, "")
        await until(lambda: one.knows(BOB.thumbprint) and other.knows(BOB.thumbprint))
        await other.database.certificates.remove(BOB.thumbprint, Shelf.CERTIFICATES)
        await until(lambda: not (one.knows(BOB.thumbprint) or other.knows(BOB.thumbprint)))
        assert one.journal.troubles == other.journal.troubles == []


async def test_where_nothing_is_told_it_is_asked_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler that passes no notifications on."""

    async def deaf(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("smimefilter.store.state.listen", deaf)
    async with node(database_url) as one, Database(database_url) as other:
        await other.certificates.add([BOB.certificate], Shelf.CERTIFICATES, "")
        await until(lambda: one.knows(BOB.thumbprint))


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_what_is_told_is_taken_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smimefilter.flow.snapshots.ASK_EVERY", 3600.0)
    async with node(database_url) as one, Database(database_url) as other:
        await other.certificates.add([BOB.certificate], Shelf.CERTIFICATES, "")
        await until(lambda: one.knows(BOB.thumbprint))


# the database away


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres() as started:
        yield started


async def test_the_state_stays_while_the_database_is_away(server: Postgres) -> None:
    """The log says so once, and once when it is back; then changes come through again."""
    url = server.new_database()
    async with node(url) as one, node(url) as other:
        await other.database.certificates.add([SUB.certificate], Shelf.CERTIFICATES, "")
        await until(lambda: one.knows(SUB.thumbprint))
        for times in (1, 2):
            await asyncio.to_thread(server.kill)
            await until(lambda: len(one.journal.troubles) == times)  # noqa: B023
            before = one.snapshots.current
            for _ in range(5):
                with pytest.raises(Exception, match="cannot be used"):
                    await one.snapshots.look()
            assert one.snapshots.current is before
            await asyncio.to_thread(server.start)
            await until(lambda: one.events().count("store read again") == times)  # noqa: B023
        assert one.journal.troubles == ["store not read, the old state stays"] * 2
        assert one.meter.reachable == [True, False, True, False, True]
        await other.database.certificates.add([BOB.certificate], Shelf.CERTIFICATES, "")
        await until(lambda: one.knows(BOB.thumbprint) and other.knows(BOB.thumbprint))


async def test_a_request_survives_the_database_dying_under_it(server: Postgres) -> None:
    """The CA has answered, and that could not be stored: it is asked under the same id again,
    and one certificate comes of it."""
    async with Database(server.new_database()) as database:
        office = await Office(database).with_ca()
        dies = True

        async def answer(order: Order, remember: Remember) -> Any:
            nonlocal dies
            issued = await office.built_in(order, remember)
            if dies:
                dies = False
                await asyncio.to_thread(server.kill)
            return issued

        office.answer = answer
        wanted = Wanted(address="u@in.test", common_name="U", key="p256", days=60)
        (stored,) = await office.desk.submit([wanted], "told")
        with pytest.raises(StoreTrouble):
            await office.desk.work_due(9)
        await asyncio.to_thread(server.start)
        assert await office.another_desk().work_due(9) == 0  # it is still leased
        office.now += LEASE + timedelta(minutes=1)
        assert await office.another_desk().work_due(9) == 1
        (done,) = await database.requests.find(stored.id)
        assert done.state is RequestState.ISSUED
        assert [order.id for order in office.orders] == [stored.id] * 2
        assert await database.certificates.key(done.thumbprint) is not None
        ca = (await office.authority.find()).certificate.thumbprint
        assert len(await database.authorities.issued(ca)) == 1


# work


async def test_a_crl_is_fetched_by_one_of_them(database_url: str) -> None:
    net = NetStub()
    together = asyncio.Barrier(2)
    net.answers = {ROOTS: crl(ROOT), SUBS: crl(), OTHER: crl(number=2)}

    def updates(of: Node) -> CrlUpdates:
        sources, due = of.database.crl_sources, of.database.crl_sources.due

        async def due_for_both(now: Any) -> list[str]:
            found = await due(now)
            if found:
                await together.wait()  # both of them know what is due before any claims it
            return found

        sources.due = due_for_both  # type: ignore[method-assign]
        return CrlUpdates(
            net=net,
            snapshots=of.snapshots,
            sources=sources,
            intake=CrlIntake(
                snapshots=of.snapshots,
                crls=of.database.crls,
                clock=lambda: NOW,
                turns=Turns(timedelta(hours=6), lambda: 0.5),
                most=1 << 20,
            ),
            journal=of.journal,
            clock=lambda: NOW,
            lease=timedelta(hours=1),
            most=1 << 20,
        )

    async with Database(database_url) as first:
        await first.certificates.add([ROOT.certificate], Shelf.ROOTS, "")
        people = [SUB.certificate, BOB.certificate]
        await first.certificates.add(people, Shelf.CERTIFICATES, "")
    async with node(database_url) as one, node(database_url) as other:
        working = [asyncio.create_task(updates(each).run()) for each in (one, other)]
        sources = one.database.crl_sources
        async with asyncio.timeout(20):
            while not (found := await sources.all()) or not all(s.tried for s in found):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        asked = [request.url for request in net.requests]
        assert sorted(asked) == sorted(set(asked)) == sorted(source.url for source in found)


async def test_a_crl_of_our_own_is_made_by_one_of_them(database_url: str) -> None:
    together = asyncio.Barrier(2)
    async with Database(database_url) as first, Database(database_url) as second:
        one = await Office(first).with_ca()
        other = Office(second)
        for office in (one, other):
            office.now += timedelta(days=4)
            lasts = office.authority._crl_lasts

            async def both(*about: Any, lasts: Any = lasts) -> bool:
                found = await lasts(*about)
                await together.wait()  # both have seen that it is time
                return cast(bool, found)

            office.authority._crl_lasts = both  # type: ignore[method-assign]
        before = {ca.thumbprint: ca.crl_number for ca in await first.authorities.all()}
        renewed = await asyncio.gather(*(o.authority.renew_crls() for o in (one, other)))
        assert sum(map(len, renewed)) == 2
        after = {ca.thumbprint: ca.crl_number for ca in await second.authorities.all()}
        assert after == {ca: number + 1 for ca, number in before.items()}


async def test_a_request_is_worked_on_by_one_of_them(database_url: str) -> None:
    async with Database(database_url) as first, Database(database_url) as second:
        one = await Office(first).with_ca()
        other = Office(second, answer=one.built_in, orders=one.orders)
        many = [
            Wanted(address=f"u{n}@in.test", common_name=f"U {n}", key="p256", days=60)
            for n in range(6)
        ]
        await one.desk.submit(many, "told")
        counts = await asyncio.gather(*(o.desk.work_due(9) for o in (one, other)))
        assert sum(counts) == len(many) == len({order.id for order in one.orders})
        assert len(one.orders) == len(many)
