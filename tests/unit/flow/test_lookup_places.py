"""Places: no share has more than its part, and what was given up takes none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from smimefilter.flow.lookup_places import Places, Room


async def hold(places: Places, shares: Mapping[str, int], done: asyncio.Event) -> None:
    async with places.of(shares):
        await done.wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_share_has_its_part_and_others_go_ahead_of_it() -> None:
    places, done, other = Places(3), asyncio.Event(), asyncio.Event()
    greedy = [asyncio.create_task(hold(places, {"slow": 2}, done)) for _ in range(5)]
    await settled()
    other.set()
    async with asyncio.timeout(1):
        await hold(places, {"quick": 2}, other)
    done.set()
    async with asyncio.timeout(1):
        await asyncio.gather(*greedy)


async def test_a_place_is_only_for_whom_all_shares_have_room() -> None:
    places, done = Places(9), asyncio.Event()
    tasks = [
        asyncio.create_task(hold(places, {"branch": 2, f"host {n}": 1}, done)) for n in range(2)
    ]
    await settled()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), places.of({"branch": 2, "host 3": 1}):
            pass
    done.set()
    await asyncio.gather(*tasks)
    async with asyncio.timeout(1), places.of({"branch": 2, "host 3": 1}):
        pass


@pytest.mark.parametrize("late", [False, True])
async def test_who_gives_up_takes_no_place(late: bool) -> None:
    """Not even when it came at that very moment."""
    places, done, never = Places(1), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(hold(places, {}, done))
    second = asyncio.create_task(hold(places, {}, never))
    await settled()
    if late:
        done.set()
        await asyncio.sleep(0)  # the first has ended, the second does not know yet
        await first
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    done.set()
    await first
    async with asyncio.timeout(1), places.of({}):
        pass


def test_room_forgets_whom_it_has_nothing_of() -> None:
    room = Room(2)
    room.enter({"one": 1, "two": 2})
    assert not room.has({"one": 1})
    assert room.has({"two": 2})
    room.leave({"one": 1, "two": 2})
    assert not room._taken
