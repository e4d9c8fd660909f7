"""Listeners that share a socket with others, and those that others take the place of."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import Any

import pytest

from smimefilter import config
from smimefilter.smtp import accepting, sockets
from smimefilter.smtp.accepting import Board
from smimefilter.smtp.listener import MailListener
from tests.support.smtp import PATIENCE, Inbox, Line, both_loops, listening, until

HELLO = ("EHLO c.test", "250")
SENDER = ("MAIL FROM:<a@x.test>", "250 2.1.0")
RECIPIENT = ("RCPT TO:<b@y.test>", "250 2.1.5")


def is_listened_on(port: int) -> bool:
    with contextlib.closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@both_loops
async def test_listeners_can_share_a_socket_and_it_stays_when_they_go() -> None:
    (place,) = sockets.listening("127.0.0.1", 0, "smtp")
    with place:
        workers = [
            MailListener(config.Listener(protocol="smtp"), hostname="gw.test", accept=Inbox())
            for _ in range(2)
        ]
        for worker in workers:
            await worker.start([place.dup()])
        port = workers[0].port
        async with Line.to(port) as line:
            assert (await line.reply()).startswith("220")
        await workers[0].stop(0)
        for _ in range(3):
            async with Line.to(port) as line:
                assert (await line.reply()).startswith("220")
        await workers[1].stop(0)
        async with Line.to(port):  # waits for the next one
            pass


@both_loops
async def test_those_that_share_a_socket_take_turns() -> None:
    (place,) = sockets.listening("127.0.0.1", 0, "smtp")
    memory = Board.make(3)  # the third one never comes
    workers = [
        MailListener(
            config.Listener(protocol="smtp"),
            hostname="gw.test",
            accept=Inbox(),
            board=Board(memory, number, 3),
        )
        for number in range(2)
    ]
    os.close(memory)
    with place:
        for worker in workers:
            await worker.start([place.dup()])
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(10):
                line = await stack.enter_async_context(Line.to(workers[0].port))
                assert (await line.reply()).startswith("220")
            counts = [len(worker._sessions.each()) for worker in workers]
            assert sum(counts) == 10
            assert max(counts) - min(counts) <= 2
            await workers[0].stop(0)
            late = await stack.enter_async_context(Line.to(workers[1].port))
            assert (await late.reply()).startswith("220")
            await late.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"), (".", "250"))
        await workers[1].stop(0)


async def test_no_descriptors_left_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(socket.socket):
        times = 2

        def accept(self) -> Any:
            if Full.times:
                Full.times -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    monkeypatch.setattr(accepting, "PAUSE", 0.01)
    (place,) = sockets.listening("127.0.0.1", 0, "smtp")
    worker = MailListener(
        config.Listener(protocol="smtp"),
        hostname="gw.test",
        accept=Inbox(),
        board=Board(Board.make(1), 0, 1),
    )
    await worker.start([Full(fileno=place.detach())])
    async with Line.to(worker.port) as line:
        assert (await line.reply()).startswith("220")
    assert caplog.text.count("no connection can be taken: too many open files") == 2
    await worker.stop(0)


async def test_one_that_retires_lets_clients_end_by_themselves() -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO)
        retiring = asyncio.create_task(listener.retire(PATIENCE))
        await until(lambda: not is_listened_on(listener.port))
        await line.dialogue(SENDER, RECIPIENT, ("DATA", "354"), (".", "250"))
        await line.dialogue(SENDER, RECIPIENT, ("DATA", "354"), (".", "250"), ("QUIT", "221"))
        await retiring
    assert len(inbox.mails) == 2


async def test_one_that_retires_tells_idle_clients_to_go() -> None:
    async with listening() as listener, Line.to(listener.port) as line:
        await line.reply()
        retiring = asyncio.create_task(listener.retire(PATIENCE))
        assert await line.reply() == "421 4.3.2 restarting"
        await retiring
        assert await line.at_end()
