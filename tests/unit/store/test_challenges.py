"""Challenge mails beside requests: whoever has the request, none is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from smimefilter.plan.challenge import AwaitedMail, ChallengeMail
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.store.challenges import MOST
from smimefilter.store.database import Database
from tests.support.pki import NOW

ALICE, ID = "alice@in.test", "0a" * 16
AWAITED = AwaitedMail("acme@ca.test", "mx.in.test", deliver=True)
LATER = NOW + timedelta(hours=1)


def mail(number: int = 1) -> ChallengeMail:
    return ChallengeMail(f"token-{number}", "acme@ca.test", "re@ca.test", "<1@ca.test>")


async def add(database: Database, id_: str = ID) -> None:
    request = StoredRequest(id_, "acme", ALICE, {}, None, NOW, LATER, LATER)
    await database.requests.add([request], [])


async def test_what_is_awaited(database: Database) -> None:
    await add(database)
    await add(database, "0b" * 16)
    challenges = database.challenges
    assert await challenges.waiting(ALICE) == {}
    await challenges.expect(ID, AWAITED)
    assert await challenges.waiting(ALICE) == {ID: AWAITED}
    assert await challenges.waiting("bob@in.test") == {}
    await challenges.expect(ID, None)
    assert await challenges.waiting(ALICE) == {}


async def test_one_request_of_an_address_waits_at_a_time(database: Database) -> None:
    other = "0b" * 16
    await add(database)
    await add(database, other)
    challenges = database.challenges
    assert await challenges.expect(ID, AwaitedMail(""))
    assert not await challenges.expect(other, AWAITED)
    assert await challenges.expect(other, None)
    assert await challenges.expect(ID, AWAITED)
    await database.requests.remove([ID], NOW, [])
    assert await challenges.expect(other, AWAITED)
    assert await challenges.waiting(ALICE) == {other: AWAITED}


async def test_one_that_was_given_up_waits_no_longer_also_when_it_is_begun_again(
    database: Database,
) -> None:
    other = "0b" * 16
    await add(database)
    await add(database, other)
    challenges, requests = database.challenges, database.requests
    assert await challenges.expect(ID, AWAITED)
    lease, (one,) = await requests.claim(NOW, LATER, 1, [ID])
    assert await requests.settle(lease, replace(one, state=RequestState.GIVEN_UP))
    assert await challenges.expect(other, AWAITED)
    assert await requests.reschedule([ID], NOW, LATER, []) == 1
    assert await challenges.waiting(ALICE) == {other: AWAITED}
    assert not await challenges.expect(ID, AWAITED)


async def test_what_came_from_others_is_forgotten_once_the_sender_is_known(
    database: Database,
) -> None:
    await add(database)
    await database.challenges.expect(ID, AwaitedMail(""))
    stranger = ChallengeMail("token-0", "x@evil.test", "x@evil.test", "<0@evil.test>")
    for one in (stranger, mail()):
        await database.challenges.add(ID, one, NOW)
    await database.challenges.expect(ID, AWAITED)
    assert await database.challenges.of(ID) == [mail()]


async def test_what_comes_makes_a_request_due(database: Database) -> None:
    await add(database)
    assert await database.challenges.add(ID, mail(), NOW)
    assert await database.challenges.of(ID) == [mail()]
    _, (due,) = await database.requests.claim(NOW, LATER, 9)
    assert due.id == ID
    assert not await database.challenges.add("0c" * 16, mail(), NOW)


async def test_at_once_from_many_sides(database: Database) -> None:
    await add(database)
    kept = await asyncio.gather(
        *(database.challenges.add(ID, mail(n % (MOST + 1)), NOW) for n in range(2 * MOST + 2))
    )
    found = await database.challenges.of(ID)
    assert len(found) == len(set(found)) == MOST
    assert sum(kept) == 2 * MOST


async def test_secrets_are_set_once(database: Database) -> None:
    added = [database.handlers.add("acme/x", bytes([n])) for n in range(8)]
    assert len(set(await asyncio.gather(*added))) == 1
