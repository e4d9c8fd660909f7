"""Whether a client heard the reply to its mail: what the session says of it, and when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence

import pytest

from smimefilter.base.envelope import Delivered, Fate, Transaction
from smimefilter.ports.handover import Heard
from smimefilter.smtp.listener import MailListener
from tests.support.smtp import Line, both_loops, listening

MAIL = b"EHLO c.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"
CONTENT = b"Subject: x\r\n\r\ntext\r\n.\r\n"


class Relaying:
    """Takes mails when it is told to, and keeps what is said of its replies."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.told: list[Heard] = []
        self.ids: list[str] = []

    async def accept(self, mail: Transaction) -> Sequence[Fate]:
        self.ids.append(mail.id)
        self.begun.set()
        await self.go_on.wait()
        return [Delivered()] * len(mail.recipients)

    def hear(self, identifier: str, heard: Heard) -> None:
        assert identifier == self.ids[len(self.told)]
        self.told.append(heard)


@contextlib.asynccontextmanager
async def relaying(
    *, at_once: bool = True
) -> AsyncIterator[tuple[Relaying, MailListener, Line]]:
    made = Relaying()
    if at_once:
        made.go_on.set()
    async with (
        listening(made.accept, told=made.hear) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        yield made, listener, line


async def until_left(listener: MailListener) -> None:
    async with asyncio.timeout(10):
        await listener._sessions.none_left.wait()


async def mail_out(line: Line) -> None:
    line.send(MAIL)
    assert [(await line.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]


@both_loops
async def test_the_next_command_says_so() -> None:
    async with relaying() as (made, _, line):
        await mail_out(line)
        line.send(CONTENT)
        assert (await line.reply()).startswith("250")
        assert made.told == []
        await line.dialogue(("NOOP", "250"))
        assert made.told == [Heard.YES]
        await line.dialogue(("NOOP", "250"))
        assert made.told == [Heard.YES]


@both_loops
@pytest.mark.parametrize("along", [b"QUIT\r\n", b""])
async def test_a_client_that_parts_as_it_should_has_heard(along: bytes) -> None:
    """Postfix sends QUIT along with the end of the content."""
    async with relaying() as (made, listener, line):
        await mail_out(line)
        line.send(CONTENT + along)
        assert (await line.reply()).startswith("250")
        if not along:
            line.send(b"QUIT\r\n")
        assert (await line.reply()).startswith("221")
        await until_left(listener)
        assert made.told == [Heard.YES]


@both_loops
async def test_commands_that_came_before_the_reply_say_nothing_of_it() -> None:
    async with relaying(at_once=False) as (made, listener, line):
        await mail_out(line)
        line.send(CONTENT + b"NOOP\r\n")
        await made.begun.wait()
        made.go_on.set()
        assert (await line.reply()).startswith("250")
        assert (await line.reply()).startswith("250")
        assert made.told == []
        line.writer.close()
        await until_left(listener)
        assert made.told == [Heard.PERHAPS]


@both_loops
async def test_a_client_that_ends_the_connection_perhaps_has_not() -> None:
    async with relaying() as (made, listener, line):
        await mail_out(line)
        line.send(CONTENT)
        assert (await line.reply()).startswith("250")
        line.writer.close()
        await until_left(listener)
        assert made.told == [Heard.PERHAPS]


@both_loops
@pytest.mark.parametrize("along", [b"QUIT\r\n", b""])
async def test_one_that_said_all_it_had_to_say_perhaps_has_not(along: bytes) -> None:
    """It is gone, or it waits: that looks alike."""
    async with relaying(at_once=False) as (made, listener, line):
        await mail_out(line)
        line.send(CONTENT + along)
        line.writer.write_eof()
        await made.begun.wait()
        (session,) = listener._sessions.each()
        async with asyncio.timeout(10):
            while not session._ended:  # type: ignore[attr-defined] # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)
        made.go_on.set()
        await until_left(listener)
        assert made.told == [Heard.PERHAPS]


@both_loops
async def test_one_that_is_gone_has_not() -> None:
    async with relaying(at_once=False) as (made, listener, line):
        await mail_out(line)
        line.send(CONTENT)
        await made.begun.wait()
        sock = line.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.writer.transport.abort()
        (session,) = listener._sessions.each()
        async with asyncio.timeout(10):
            while session.transport is not None:  # type: ignore[attr-defined] # noqa: ASYNC110
                await asyncio.sleep(0.005)
        made.go_on.set()
        await until_left(listener)
        assert made.told == [Heard.NO]


async def test_one_that_the_listener_did_not_wait_for_has_not() -> None:
    async with relaying(at_once=False) as (made, listener, line):
        await mail_out(line)
        line.send(CONTENT)
        await made.begun.wait()
        await listener.stop(0)
        assert made.told == [Heard.NO]


async def test_each_mail_of_a_connection_is_told_of() -> None:
    async with relaying() as (made, listener, line):
        for _ in range(3):
            await mail_out(line)
            line.send(CONTENT)
            assert (await line.reply()).startswith("250")
        assert made.told == [Heard.YES] * 2
        line.send(b"QUIT\r\n")
        await until_left(listener)
        assert made.told == [Heard.YES] * 3


async def test_lmtp_is_not_asked() -> None:
    made = Relaying()
    made.go_on.set()
    async with (
        listening(made.accept, told=made.hear, protocol="lmtp") as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        line.send(MAIL.replace(b"EHLO", b"LHLO") + CONTENT + b"QUIT\r\n")
        await line.reader.read()
        await until_left(listener)
    assert made.told == []
