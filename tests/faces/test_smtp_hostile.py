"""Clients and next hops that mean harm, or know no better: nobody is fooled, nothing is lost,
nobody else has to wait, and memory stays what it was."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from smimefilter.base.envelope import Fate, Recipient, Transaction
from smimefilter.config import Config, NextHop
from smimefilter.ports.relay import Outgoing
from smimefilter.smtp.conversation import IDLE_LIMIT
from smimefilter.smtp.relay import SmtpRelay
from tests.support.smtp import DROP, EXTENSIONS, HANG, Hop, Inbox, Line, both_loops, listening

HELLO = ("EHLO c.test", "250")
SENDER = ("MAIL FROM:<a@x.test>", "250 2.1.0")
RECIPIENT = ("RCPT TO:<b@y.test>", "250 2.1.5")
EVIL = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@y.test>\r\nDATA\r\nevil\r\n.\r\n"
MEGABYTE = 1 << 20


@contextlib.contextmanager
def little_memory(most: int) -> Iterator[None]:
    """What is held at any one time within grows by no more than so many octets."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < most, f"{(peak - before) / MEGABYTE:.1f} MB"


def to(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(map(Recipient, addresses))


@contextlib.asynccontextmanager
async def at_content(inbox: Inbox, **settings: Any) -> AsyncIterator[Line]:
    """A client that may send a content."""
    async with listening(inbox, **settings) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
        yield line


# ── two mails for one ─────────────────────────────────────────────────────────────────────

BEFORE = (
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\n\r", b"\r\r\n", b"\0\r\n", b"\r\0\n",
    b"\r\n\0", b"\r\n\t",
)  # fmt: skip
AFTER = (
    b"\r\n", b"\n", b"\r", b"\n\n", b"\r\r\n", b"\n\r", b"\0\r\n", b"\r\0\n", b" \r\n",
)  # fmt: skip
ENDS = [
    before + b"." + after
    for before in BEFORE
    for after in AFTER
    if not before.endswith(b"\r\n") or after != b"\r\n"
]


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_but_crlf_dot_crlf_ends_a_content(end: bytes) -> None:
    inbox = Inbox()
    async with at_content(inbox) as line:
        line.send(b"text" + end + EVIL)
        assert (await line.reply()).startswith("250")
        await line.dialogue(("NOOP", "250"), ("QUIT", "221"))
    (mail,) = inbox.mails
    assert mail.sender == "a@x.test"
    assert mail.content.endswith(b"evil\r\n")


@pytest.mark.parametrize("end", ENDS)
async def test_and_nothing_else_reaches_a_next_hop(end: bytes) -> None:
    """Whatever it takes for an end: what might be one is escaped, or the mail is not sent."""
    async with Hop().running() as hop:
        relay = SmtpRelay(Config(next_hop=NextHop(port=hop.port)), "gw.test")
        out = Outgoing("a@x.test", to("b@y.test"), [b"text" + end + EVIL[:-3]])
        await relay.deliver(out)
        relay.close()
    for content in hop.contents:
        for bare in (b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r"):
            assert bare not in b"\r\n" + content
    assert "RCPT TO:<victim@y.test>" not in hop.commands


@both_loops
async def test_a_chunk_is_never_taken_for_commands() -> None:
    """BDAT is not offered, and its octets come along with it."""
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        assert "CHUNKING" not in await line.ask("EHLO c.test")
        await line.dialogue(SENDER, RECIPIENT)
        line.send(b"BDAT %d LAST\r\n" % len(EVIL) + EVIL)
        assert (await line.reply()).startswith("502 5.5.1")
        with contextlib.suppress(ConnectionError):
            assert await line.at_end()
    assert inbox.mails == []


@both_loops
async def test_a_content_that_was_not_asked_for_is_never_taken_for_commands() -> None:
    """The client did not wait for the answer to DATA, and that is no."""
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        line.send(b"EHLO c.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<>\r\nDATA\r\n" + EVIL)
        said = [await line.reply() for _ in range(4)]
        assert [reply[:3] for reply in said] == ["250", "250", "501", "503"]
        with contextlib.suppress(ConnectionError):
            assert await line.at_end()
    assert inbox.mails == []


async def test_commands_within_a_content_are_content() -> None:
    inbox = Inbox()
    async with at_content(inbox) as line:
        line.send(b"QUIT\r\nRSET\r\nSTARTTLS\r\n..\r\n" + EVIL + b"NOOP\r\n")
        assert (await line.reply()).startswith("250 2.0.0 Ok: queued")
        assert await line.reply() == "250 2.0.0 Ok"
    (mail,) = inbox.mails
    assert mail.content.startswith(b"QUIT\r\nRSET\r\nSTARTTLS\r\n.\r\nMAIL FROM:<evil")


# ── slow ones ─────────────────────────────────────────────────────────────────────────────


async def drip(line: Line, octet: bytes) -> str:
    """Octet after octet, until there is a reply."""
    reply = asyncio.create_task(line.reply())
    while not reply.done():
        with contextlib.suppress(ConnectionError):
            line.send(octet)
        await asyncio.sleep(0.02)
    return await reply


@both_loops
async def test_a_command_that_comes_in_octets_has_to_be_whole_in_time() -> None:
    async with listening(timeout=0.3) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO)
        assert (await drip(line, b"x")).startswith("421 4.4.2")


@both_loops
async def test_so_has_a_content() -> None:
    inbox = Inbox()
    async with at_content(inbox, timeout=0.3) as line:
        assert (await drip(line, b"x")).startswith("421 4.4.2")
    assert inbox.mails == []


@both_loops
async def test_a_content_that_keeps_coming_may_take_longer() -> None:
    inbox = Inbox()
    async with at_content(inbox, timeout=0.8) as line:
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.2
        while loop.time() < end:
            line.send(b"x" * 998 + b"\r\n")
            await asyncio.sleep(0.02)
        line.send(b".\r\n")
        assert (await line.reply()).startswith("250")
    assert len(inbox.mails) == 1


async def test_a_listener_that_stops_lets_a_long_content_end() -> None:
    inbox = Inbox()
    async with listening(inbox, timeout=0.8) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.2
        stopping = None
        while loop.time() < end:
            line.send(b"x" * 998 + b"\r\n")
            await asyncio.sleep(0.02)
            if stopping is None and loop.time() > end - 0.15:
                stopping = asyncio.create_task(listener.stop(5))
        line.send(b".\r\n")
        assert (await line.reply()).startswith("250")
        assert stopping is not None
        await stopping


# ── many ──────────────────────────────────────────────────────────────────────────────────


async def test_ten_thousand_recipients(caplog: pytest.LogCaptureFixture) -> None:
    """So many as may be are taken; the client is told to come again with the others."""
    inbox = Inbox()
    with little_memory(8 * MEGABYTE):
        async with (
            listening(inbox, max_recipients=1000) as listener,
            Line.to(listener.port) as line,
        ):
            await line.reply()
            await line.dialogue(HELLO, SENDER)
            said: list[str] = []
            for start in range(0, 10_000, 500):
                line.send(
                    b"".join(b"RCPT TO:<r%d@y.test>\r\n" % n for n in range(start, start + 500))
                )
                said += [(await line.reply())[:9] for _ in range(500)]
            assert said == ["250 2.1.5"] * 1000 + ["452 4.5.3"] * 9000
            await line.dialogue(("DATA", "354"), (".", "250 2.0.0"))
    assert len(inbox.mails[0].recipients) == 1000
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "flood",
    [b"NOOP\r\n", b"RSET\r\n", b"VRFY a\r\n", b"EHLO c.test\r\n", b"XFORWARD NAME=a\r\n"],
)
async def test_commands_that_lead_nowhere_have_an_end(flood: bytes) -> None:
    async with listening() as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO)
        said = bytearray()
        sending = asyncio.create_task(line.chatter(flood * 500))
        with contextlib.suppress(ConnectionError):
            while octets := await line.reader.read(MEGABYTE):
                said += octets
        with contextlib.suppress(ConnectionError):
            await sending
        sending.cancel()
        assert said.count(b"\r\n25") <= (IDLE_LIMIT + 30) * 16  # an EHLO is many lines
        async with asyncio.timeout(10):
            await listener._sessions.none_left.wait()


async def test_a_mail_makes_up_for_them() -> None:
    async with listening() as listener, Line.to(listener.port) as line:
        await line.reply()
        for _ in range(3):
            for _ in range(10):
                line.send(b"NOOP\r\n" * (IDLE_LIMIT // 10 - 1))
                for _ in range(IDLE_LIMIT // 10 - 1):
                    assert (await line.reply()).startswith("250")
            await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"), (".", "250 2.0.0"))


@both_loops
async def test_a_flood_lets_others_have_their_turn() -> None:
    async with (
        listening() as listener,
        Line.to(listener.port) as flooding,
        Line.to(listener.port) as other,
    ):
        await flooding.reply()
        await other.reply()
        (session, _) = listener._sessions.each()
        session._incoming.feed(b"NOOP\r\n" * 9000)  # type: ignore[attr-defined]
        other.send(b"NOOP\r\n")
        flooding.send(b"NOOP\r\n")
        assert (await other.reply()).startswith("250")
        left = session._incoming.waiting  # type: ignore[attr-defined]
        assert left > 0


@pytest.mark.parametrize("octets", [b"\xff\xfe", b"\0", b"NO\0OP", b"\x1b[2J", b"A" * 3000])
async def test_garbage_ends_the_session(octets: bytes) -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        line.send((octets + b"\r\n") * 20)
        assert [(await line.reply())[:3] for _ in range(21)] == ["500"] * 20 + ["421"]
        assert await line.at_end()


async def test_a_line_without_end_is_not_kept() -> None:
    with little_memory(4 * MEGABYTE):
        async with listening() as listener, Line.to(listener.port) as line:
            await line.reply()
            for _ in range(64):
                line.send(b"x" * MEGABYTE)
                await line.writer.drain()
            line.send(b"\r\nNOOP\r\n")
            assert (await line.reply()).startswith("500 5.5.2")
            assert (await line.reply()).startswith("250 2.0.0")


async def test_a_content_without_end_is_not_kept() -> None:
    inbox = Inbox()
    with little_memory(12 * MEGABYTE):
        async with at_content(inbox, max_message_size=2 * MEGABYTE) as line:
            for _ in range(64):
                line.send(b"x" * MEGABYTE)
                await line.writer.drain()
            line.send(b"\r\n.\r\n")
            assert (await line.reply()).startswith("552 5.3.4")
    assert inbox.mails == []


# ── odd commands ──────────────────────────────────────────────────────────────────────────

ODD = [
    "MAIL FROM:<a@x.test> BODY=8BITMIME BODY=8BITMIME",
    "MAIL FROM:<a\x7f@x.test>",
    "MAIL FROM:<a@x.test>\tSIZE=1",
    "MAIL FROM:<a\u2028@x.test> SMTPUTF8",
    'MAIL FROM:<"a\x01"@x.test>',
    'MAIL FROM:<"a@x.test>',
    "MAIL FROM:<a@[1.2.3.4>",
    "MAIL FROM:<a@x.test\\>",
    "MAIL FROM:<<a@x.test>>",
    "MAIL FROM:<a@x.test>,<b@x.test>",
    "MAIL FROM:a@x.test>",
    "MAIL FROM:<a@x.test> AUTH=<" + "x" * 600 + ">",
    "MAIL FROM:<a@x.test> SIZE=" + "9" * 21,
    "MAIL FROM:<a@x.test> ENVID=" + "x" * 1500,
    "MAIL FROM:<" + "a@" * 500 + "x.test>",
    "MAIL FROM:<@" + "a," * 500 + "x@x.test>",
    "MAIL FROM:<%s@x.test\x00>",
    "MAILFROM:<a@x.test>",
    "MAIL",
    "MAIL FROM",
    "MAIL FROM:",
]


@pytest.mark.parametrize("command", ODD)
async def test_odd_senders_are_refused_and_never_break_the_session(command: str) -> None:
    async with listening() as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO)
        reply = await line.ask(command)
        assert reply[:1] == "5", reply
        await line.dialogue(SENDER, RECIPIENT, ("DATA", "354"), (".", "250"))


async def test_what_a_client_says_gets_into_no_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with listening() as listener, Line.to(listener.port) as line:
        await line.reply()
        line.send(b"EV\nIL=1\r\nMAIL FROM:<secret\r\n")
        await line.reply()
        await line.reply()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert not any("\n" in line or "EV" in line or "secret" in line for line in said)


# ── next hops ─────────────────────────────────────────────────────────────────────────────

STAGES = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"]
GARBAGE = {
    "closes": DROP,
    "says nothing": HANG,
    "octets": bytes(range(256)) * 4 + b"\r\n",
    "a web server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "an odd code": b"999 what\r\n",
    "a negative number": b"-50 what\r\n",
    "letters": b"2x0 fine\r\n",
    "a line without end": b"250-" + b"x" * 200_000,
    "lines without end": b"250-more\r\n" * 20_000,
    "a huge reply": b"250-" + b"x" * 70_000 + b"\r\n250 ok\r\n",
    "a number too early": b"354 now\r\n" * 3,
    "NUL": b"\0\0\0\r\n",
}


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelining", "plain"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("what", GARBAGE)
async def test_a_bad_next_hop_delays_the_mail(
    what: str, stage: str, extensions: Sequence[str]
) -> None:
    """The client keeps it, and the next hop has had it once at the most. It answers again, and
    has it for good."""
    hop = Hop(extensions)
    hop.on(stage, GARBAGE[what], GARBAGE[what])
    if stage == "EHLO":
        hop.on("HELO", GARBAGE[what], GARBAGE[what])
    async with hop.running():
        settings = NextHop(port=hop.port, timeout=0.8, connect_timeout=0.8)
        relay = SmtpRelay(Config(next_hop=settings), "gw.test")

        async def accept(mail: Transaction) -> Sequence[Fate]:
            return await relay.deliver(Outgoing(mail.sender, mail.recipients, [mail.content]))

        async with listening(accept) as listener, Line.to(listener.port) as line:
            await line.reply()
            await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
            reply = await line.ask("text\r\n.")
            assert reply.startswith("451 4."), reply
            assert len(hop.contents) == (1 if stage == "END" else 0)
            hop.script.clear()
            await line.dialogue(SENDER, RECIPIENT, ("DATA", "354"), ("text\r\n.", "250 2.0.0"))
        relay.close()
    assert hop.contents.count(b"text\r\n") == (2 if stage == "END" else 1)


@pytest.mark.parametrize("octets", [b"2", b"250-more\r\n"], ids=["a line", "lines"])
async def test_a_next_hop_that_answers_in_octets_has_to_end_in_time(octets: bytes) -> None:
    hop = Hop()
    hop.on("RCPT", HANG)
    async with hop.running():
        relay = SmtpRelay(Config(next_hop=NextHop(port=hop.port, timeout=0.3)), "gw.test")
        out = Outgoing("a@x.test", to("b@y.test"), [b"x\r\n"])
        delivery = asyncio.create_task(relay.deliver(out))
        async with asyncio.timeout(10):
            while not delivery.done():
                if "RCPT" in hop.verbs():
                    hop.say(octets)
                await asyncio.sleep(0.02)
        (fate,) = await delivery
        relay.close()
    assert str(fate.status) in {"4.4.2", "4.5.0"}  # type: ignore[union-attr]
    assert hop.contents == []


async def test_a_next_hop_that_never_stops_talking_costs_little() -> None:
    hop = Hop()
    hop.on("RCPT", b"250-more\r\n" * 3_000_000)
    async with hop.running():
        relay = SmtpRelay(Config(next_hop=NextHop(port=hop.port, timeout=5)), "gw.test")
        with little_memory(64 * MEGABYTE):  # what the hop itself has to say is among it
            (fate,) = await relay.deliver(Outgoing("a@x.test", to("b@y.test"), [b"x\r\n"]))
        relay.close()
    assert str(fate.status) == "4.5.0"  # type: ignore[union-attr]
