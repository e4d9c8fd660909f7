"""Mails that wait for a place, as clients of a listener see it."""

from __future__ import annotations

import asyncio

from smimefilter.smtp.admission import Admission
from tests.support.smtp import Inbox, Line, both_loops, listening, until

MIB = 1 << 20
HELLO = ("EHLO c.test", "250")
SENDER = ("MAIL FROM:<a@x.test>", "250 2.1.0")
RECIPIENT = ("RCPT TO:<b@y.test>", "250 2.1.5")


async def before_data(line: Line, *, size: int = 0, client: str = "") -> None:
    """All that comes before DATA."""
    await line.reply()
    await line.dialogue(HELLO)
    if client:
        await line.dialogue((f"XFORWARD ADDR={client}", "250"))
    await line.dialogue((f"{SENDER[0]} SIZE={size}" if size else SENDER[0], "250"), RECIPIENT)


def waiting(admission: Admission) -> int:
    return len(admission._waiting)


@both_loops
async def test_data_waits_for_a_place() -> None:
    inbox, admission = Inbox(), Admission(mails=1)
    async with (
        listening(inbox, admission=admission) as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
    ):
        for line in (one, two):
            await before_data(line)
        await one.dialogue(("DATA", "354"))
        two.send(b"DATA\r\n")
        await until(lambda: waiting(admission) == 1)
        await one.dialogue((".", "250 2.0.0"))
        assert (await two.reply()).startswith("354")
        await two.dialogue((".", "250 2.0.0"))
        await until(lambda: admission.mails == 0)
    assert len(inbox.mails) == 2


async def test_who_finds_none_in_time_keeps_the_mail_and_may_go_on() -> None:
    inbox, admission = Inbox(), Admission(mails=1, patience=0)
    async with (
        listening(inbox, admission=admission, protocol="lmtp") as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
    ):
        for line in (one, two):
            await line.reply()
            await line.dialogue(("LHLO c.test", "250"), SENDER, RECIPIENT, RECIPIENT)
        await one.dialogue(("DATA", "354"))
        reply = await two.ask("DATA")
        assert reply == "451 4.3.2 too many mails at once, try again later"
        await two.dialogue(("NOOP", "250"), ("DATA", "451 4.3.2"))  # one reply, not two
        await one.dialogue((".", "250 2.0.0"))
        assert (await one.reply()).startswith("250 2.0.0")
        await two.dialogue(("DATA", "354"), (".", "250 2.0.0"))
    assert len(inbox.mails) == 2


async def test_a_huge_mail_waits_while_small_ones_pass() -> None:
    inbox, admission = Inbox(), Admission(octets=64 * MIB)
    async with (
        listening(inbox, admission=admission) as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
        Line.to(listener.port) as small,
    ):
        await before_data(one, size=30 * MIB)
        await before_data(two, size=30 * MIB)
        await one.dialogue(("DATA", "354"))
        two.send(b"DATA\r\n")
        await until(lambda: waiting(admission) == 1)
        await before_data(small)
        await small.dialogue(("DATA", "354"), (".", "250 2.0.0"))
        await one.dialogue((".", "250 2.0.0"))
        assert (await two.reply()).startswith("354")
        await two.dialogue((".", "250 2.0.0"))
    assert len(inbox.mails) == 3


async def test_it_is_the_first_client_that_counts() -> None:
    """Behind one mail server, one of its clients with much mail and one with a single one."""
    admission = Admission(mails=2)
    async with (
        listening(admission=admission) as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
        Line.to(listener.port) as three,
        Line.to(listener.port) as other,
    ):
        for line in (one, two, three):
            await before_data(line, client="192.0.2.1")
        await before_data(other, client="192.0.2.2")
        for line in (one, two):
            await line.dialogue(("DATA", "354"))
        for number, line in enumerate((three, other), start=1):
            line.send(b"DATA\r\n")
            await until(lambda number=number: waiting(admission) == number)  # type: ignore[misc]
        await one.dialogue((".", "250 2.0.0"))
        assert (await other.reply()).startswith("354")
        assert waiting(admission) == 1
        await other.dialogue((".", "250 2.0.0"))
        assert (await three.reply()).startswith("354")


async def test_one_that_nobody_is_behind_has_half_of_the_places() -> None:
    admission = Admission(mails=4, patience=0)
    async with (
        listening(admission=admission, xforward_clients=()) as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
        Line.to(listener.port) as three,
    ):
        for line in (one, two, three):
            await before_data(line)
        for line in (one, two):
            await line.dialogue(("DATA", "354"))
        reply = await three.ask("DATA")
        assert reply == "451 4.3.2 too many mails at once from you, try again later"


async def test_who_goes_while_waiting_takes_no_place_with_him() -> None:
    admission = Admission(mails=1)
    async with listening(admission=admission) as listener, Line.to(listener.port) as one:
        await before_data(one)
        await one.dialogue(("DATA", "354"))
        async with Line.to(listener.port) as two:
            await before_data(two)
            two.send(b"DATA\r\n")
            await until(lambda: waiting(admission) == 1)
        await one.dialogue((".", "250 2.0.0"))
        await until(lambda: admission.mails == 0 and waiting(admission) == 0)
        await one.dialogue(SENDER, RECIPIENT, ("DATA", "354"), (".", "250 2.0.0"))


async def test_a_listener_that_stops_waits_for_nobody_who_waits() -> None:
    admission = Admission(mails=1)
    async with (
        listening(admission=admission) as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
    ):
        for line in (one, two):
            await before_data(line)
        await one.dialogue(("DATA", "354"))
        two.send(b"DATA\r\n")
        await until(lambda: waiting(admission) == 1)
        await asyncio.wait_for(listener.stop(0), 10)
        assert await two.at_end()
    assert (admission.mails, waiting(admission)) == (0, 0)
