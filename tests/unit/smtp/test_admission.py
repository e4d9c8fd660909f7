"""Who gets a place among the mails under way, and who waits for whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.ports.meter import NoMeter
from smimefilter.smtp.admission import Admission, Ticket, TurnedAway
from tests.support.smtp import until

MIB = 1 << 20


class Meter(NoMeter):
    """Remembers."""

    def __init__(self) -> None:
        self.away: list[str] = []
        self.loads: list[tuple[int, int, int]] = []

    def load(self, *, mails: int, octets: int, waiting: int) -> None:
        self.loads.append((mails, octets, waiting))

    def turned_away(self, limit: str) -> None:
        self.away.append(limit)


class Queue:
    """Asks for places, and remembers in which order they were had."""

    def __init__(self, **settings: Any) -> None:
        self.meter = Meter()
        self.sut = Admission(**{"patience": 60, "meter": self.meter, **settings})
        self.entered: list[str] = []
        self.tasks: dict[str, asyncio.Task[Ticket]] = {}

    async def ask(self, name: str, octets: int = 0, *, limited: bool = False) -> None:
        """`name` is a client, a dash, and what tells its mails apart."""
        client = name.partition("-")[0]

        async def enter() -> Ticket:
            ticket = await self.sut.enter(client, octets, limited=limited)
            self.entered.append(name)
            return ticket

        self.tasks[name] = asyncio.create_task(enter())
        await settled()

    async def end(self, name: str) -> None:
        self.tasks.pop(name).result().leave()
        await settled()

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def settled() -> None:
    """Whoever can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_mails_and_then_whoever_came_first() -> None:
    queue = Queue(mails=2)
    for name in "abcd":
        await queue.ask(name)
    assert queue.entered == ["a", "b"]
    assert queue.meter.loads[-1] == (2, 0, 2)
    await queue.end("b")
    await queue.end("a")
    assert queue.entered == ["a", "b", "c", "d"]
    assert queue.meter.loads[-1] == (2, 0, 0)
    await queue.close()


async def test_the_client_with_the_fewest_mails_comes_first() -> None:
    queue = Queue(mails=4)
    for number in range(8):
        await queue.ask(f"greedy-{number}")
    await queue.ask("modest-1")
    await queue.ask("modest-2")
    await queue.end("greedy-0")
    await queue.end("greedy-1")
    assert queue.entered[4:] == ["modest-1", "modest-2"]
    await queue.end("modest-1")
    assert queue.entered[6:] == ["greedy-4"]
    await queue.close()


async def test_a_newcomer_does_not_pass_those_that_wait_with_equal_right() -> None:
    queue = Queue(mails=1)
    for name in ("a", "b"):
        await queue.ask(name)
    queue.tasks.pop("a").result().leave()
    await queue.ask("c")
    assert queue.entered == ["a", "b"]
    await queue.close()


async def test_large_mails_wait_for_each_other_and_small_ones_pass() -> None:
    queue = Queue(octets=64 * MIB)
    await queue.ask("a-large", 30 * MIB)
    await queue.ask("b-large", 30 * MIB)
    await queue.ask("c-small", MIB)
    assert queue.entered == ["a-large", "c-small"]
    for number in range(40):  # more than small ones have room for
        await queue.ask(f"d-{number}", MIB)
    assert queue.sut.octets == 30 * MIB + 32 * MIB
    await queue.end("a-large")
    assert queue.entered[-1] == "b-large"  # they keep no large one waiting either
    await queue.close()


async def test_a_huge_mail_is_not_passed_by_large_ones_for_ever() -> None:
    queue = Queue(octets=64 * MIB)
    await queue.ask("a", 10 * MIB)
    await queue.ask("b", 30 * MIB)
    await queue.ask("c", 10 * MIB)  # there would be room
    assert queue.entered == ["a"]
    await queue.end("a")
    assert queue.entered == ["a", "b"]
    await queue.end("b")
    assert queue.entered == ["a", "b", "c"]
    await queue.close()


async def test_large_mails_leave_places_for_small_ones() -> None:
    queue = Queue(mails=4, octets=64 * MIB)
    for name in "abc":
        await queue.ask(name, 3 * MIB)
    assert queue.entered == ["a", "b"]
    await queue.ask("d")
    assert queue.entered == ["a", "b", "d"]
    await queue.close()


async def test_one_mail_finds_room_however_large() -> None:
    queue = Queue(octets=2 * MIB)
    await queue.ask("a-1", 50 * MIB, limited=True)
    await queue.ask("a-2", 50 * MIB, limited=True)
    assert queue.entered == ["a-1"]
    await queue.end("a-1")
    assert queue.entered == ["a-1", "a-2"]
    await queue.close()


async def test_a_client_that_speaks_for_itself_has_half_at_the_most() -> None:
    queue = Queue(mails=4, octets=64 * MIB)
    for number in range(4):
        await queue.ask(f"slow-{number}", limited=True)
    assert queue.entered == ["slow-0", "slow-1"]
    await queue.ask("other")  # not behind those: they wait for themselves alone
    assert queue.entered[2:] == ["other"]
    await queue.ask("heavy-0", 12 * MIB, limited=True)
    await queue.ask("heavy-1", 12 * MIB, limited=True)
    await queue.end("other")
    assert queue.entered[3:] == ["heavy-0"]
    await queue.close()


@pytest.mark.parametrize(
    ("limit", "octets", "limited", "reply"),
    [
        ("mails", 0, False, "451 4.3.2 too many mails at once, try again later"),
        ("mails of a client", 0, True, "451 4.3.2 too many mails at once from you, try again"),
        ("bytes", 40 * MIB, False, "452 4.3.1 too much mail at once, try again later"),
    ],
)
async def test_who_waits_too_long_is_told_why(
    limit: str, octets: int, limited: bool, reply: str
) -> None:
    many = 1 if limit == "mails" else 2
    queue = Queue(mails=many, octets=64 * MIB, patience=0)
    if limit == "bytes":
        queue = Queue(mails=9, octets=64 * MIB, patience=0)
    await queue.ask("a-1", octets, limited=limited)
    with pytest.raises(TurnedAway) as caught:
        await queue.sut.enter("a", octets, limited=limited)
    assert caught.value.reply.startswith(reply)
    assert queue.meter.away == [limit]
    assert queue.meter.loads[-1][2] == 0  # waits no longer
    await queue.close()


async def test_a_content_that_turns_out_large_goes_with_the_large_ones() -> None:
    queue = Queue(octets=64 * MIB)
    await queue.ask("a", 30 * MIB)
    await queue.ask("b")
    ticket = queue.tasks["b"].result()
    assert ticket.grow(MIB)
    assert ticket.grow(2 * MIB)
    assert not ticket.grow(3 * MIB)
    assert queue.sut.octets == 32 * MIB
    assert queue.meter.away == ["bytes"]
    await queue.end("a")
    assert ticket.grow(3 * MIB)
    await queue.end("b")
    assert (queue.sut.mails, queue.sut.octets) == (0, 0)


async def test_who_goes_away_while_waiting_leaves_nothing_behind() -> None:
    queue = Queue(mails=1)
    for name in "abc":
        await queue.ask(name)
    queue.tasks["b"].cancel()
    await settled()
    await queue.end("a")
    assert queue.entered == ["a", "c"]
    await queue.end("c")
    assert (queue.sut.mails, queue.sut._waiting, queue.sut._under_way) == (0, [], {})


async def test_a_place_given_to_one_who_goes_at_that_moment_is_free_again() -> None:
    queue = Queue(mails=1)
    for name in "abc":
        await queue.ask(name)
    queue.tasks.pop("a").result().leave()
    queue.tasks["b"].cancel()  # it has been given the place, and does not know yet
    await until(lambda: "c" in queue.entered)
    assert queue.entered == ["a", "c"]
    await queue.end("c")
    assert (queue.sut.mails, queue.sut.octets) == (0, 0)


Step = tuple[str, int, int, bool]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from([0, 1, 1000, MIB, 3 * MIB, 20 * MIB, 90 * MIB]),
            st.integers(0, 5),
            st.booleans(),
        ),
        max_size=40,
    )
)
async def test_everybody_comes_in_at_last_and_never_too_many_at_once(steps: list[Step]) -> None:
    queue = Queue(mails=5, octets=64 * MIB)
    for number, (client, octets, ends, limited) in enumerate(steps):
        await queue.ask(f"{client}-{number}", octets, limited=limited)
        for name in [one for one in queue.entered if one in queue.tasks][:ends]:
            await queue.end(name)
        assert queue.sut.mails <= 5
        sizes = [t.result().octets for t in queue.tasks.values() if t.done()]
        assert sum(sizes) == queue.sut.octets
        assert sum(sizes) - max(sizes, default=0) <= 64 * MIB
    while under_way := [one for one in queue.entered if one in queue.tasks]:
        for name in under_way:
            await queue.end(name)
    assert queue.tasks == {}
    assert (queue.sut.mails, queue.sut.octets, queue.sut._under_way) == (0, 0, {})
