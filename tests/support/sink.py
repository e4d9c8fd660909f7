"""A mail server for tests: speaks SMTP or LMTP, keeps what it gets, misbehaves on demand.

It records the envelope with every MAIL and RCPT parameter as the client wrote it, the XFORWARD
attributes, and the content. It runs in a thread of its own, so that blocking tests can use it
as well as asynchronous ones.

    with Sink() as sink:
        sink.answer(Stage.RCPT, "450 4.2.1 later", only="bob@example.com", times=1)
        ...
        (mail,) = sink.wait_for(1)

`dialogue.py` holds one connection's conversation; here are the server, the rules and the mails.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, cycle
from typing import Any

from tests.support.dialogue import CutError, Dialogue, Mail, Rcpt, Stage
from tests.support.ports import ReservedPort
from tests.support.started import Started

__all__ = ["KEYWORDS", "Mail", "Rcpt", "Sink", "Stage", "Weather"]

KEYWORDS = (
    "PIPELINING",
    "SIZE 104857600",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
)
LARGEST = 256 * 1024 * 1024  # bytes of one content


class Weather(StrEnum):
    """How the server as a whole behaves for a while; see `Sink.flap`."""

    FINE = "fine"
    REFUSE = "refuse"  # nobody listens, every connection is cut
    BUSY = "busy"  # 421 for a greeting, and for an answer to MAIL
    DROP = "drop"  # every connection is cut, new ones at once


@dataclass(slots=True)
class _Rule:
    stage: Stage
    reply: str | None
    only: str
    left: float  # how many times it still applies
    delay: float

    def takes(self, stage: Stage, about: str) -> bool:
        return self.stage is stage and self.left > 0 and self.only in about


class Sink(Started):
    """The server. Its port is known, and its own, from the start."""

    def __init__(
        self,
        *,
        lmtp: bool = False,
        address: str = "127.0.0.1",
        port: int = 0,
        hostname: str = "sink.test",
        keywords: Sequence[str] = KEYWORDS,
    ) -> None:
        self.lmtp = lmtp
        self.address = address
        self.hostname = hostname
        self.keywords = keywords
        self.mails: list[Mail] = []  # in the order of arrival
        self.commands: list[str] = []  # every command line of every connection
        self._place = ReservedPort(address, port)
        self.port = self._place.number
        self._rules: list[_Rule] = []
        self._weather = Weather.FINE
        self._arrived = threading.Condition()
        self._numbers = count(1)
        self._dialogues: dict[asyncio.Task[None], Dialogue] = {}
        self._server: asyncio.Server | None = None
        self._flapping: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    # what tests call

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """Stop listening and cut every connection. What arrived stays readable."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.release()

    def answer(
        self,
        stage: Stage,
        reply: str | None,
        *,
        only: str = "",
        times: float = float("inf"),
        delay: float = 0,
    ) -> None:
        """Answer `reply` at `stage` instead of yes.

        Args:
            stage: Where.
            reply: The whole line, codes included; a yes in other words begins with 2, or with
                3 at DATA. After a 421 the connection is closed. None cuts it without a word.
            only: Only where the address (of MAIL, RCPT or an LMTP content) contains this.
            times: How many times; the rules that were set first apply first.
            delay: Seconds to wait before the answer.
        """
        self._rules.append(_Rule(stage, reply, only, times, delay))

    def flap(self, schedule: Sequence[tuple[float, Weather]]) -> None:
        """Go through `schedule` (seconds, weather) again and again, until `behave`."""
        self._run(self._start_flapping(schedule))

    def behave(self) -> None:
        """Forget all that `answer` and `flap` have set."""
        self._rules.clear()
        self._run(self._stop_flapping())

    def wait_for(
        self,
        number: int,
        *,
        timeout: float = 15,
        where: Callable[[Mail], bool] = lambda _mail: True,
    ) -> list[Mail]:
        """The mails `where` holds for, as soon as there are `number` of them.

        Raises AssertionError when there are fewer after `timeout` seconds.
        """
        with self._arrived:
            enough = self._arrived.wait_for(
                lambda: sum(map(where, self.mails)) >= number, timeout
            )
            found = [mail for mail in self.mails if where(mail)]
        if not enough:
            got = ", ".join(f"<{mail.sender}> to {mail.addresses}" for mail in found)
            raise AssertionError(f"waited for {number} mails, got {len(found)}: {got}")
        return found

    def clear(self) -> None:
        """Forget the mails and commands so far."""
        with self._arrived:
            self.mails.clear()
            self.commands.clear()

    # what a dialogue asks of its host

    @property
    def busy(self) -> bool:
        """Whether to answer 421 for now."""
        return self._weather is Weather.BUSY

    async def ruling(self, stage: Stage, about: str, yes: str) -> str:
        """What the first rule that applies says, or `yes`."""
        rule = next((rule for rule in self._rules if rule.takes(stage, about)), None)
        if rule is None:
            return yes
        rule.left -= 1
        if rule.delay:
            await asyncio.sleep(rule.delay)
        if rule.reply is None:
            raise CutError
        return rule.reply

    def keep(self, mail: Mail) -> None:
        """Take a mail in."""
        with self._arrived:
            self.mails.append(mail)
            self._arrived.notify_all()

    # the server, in its own thread

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, self.address, self.port, limit=LARGEST, backlog=256
        )

    def _unlisten(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        dialogue = Dialogue(self, next(self._numbers), reader, writer)
        self._dialogues[task] = dialogue
        ends = (CutError, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        try:
            with contextlib.suppress(*ends):
                if self._weather not in {Weather.REFUSE, Weather.DROP}:
                    await dialogue.talk()
        finally:
            del self._dialogues[task]
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _close(self) -> None:
        await self._stop_flapping()
        self._unlisten()
        await asyncio.sleep(0.01)  # whoever was let in just now begins its dialogue
        tasks = list(self._dialogues)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports are told that they are closed

    async def _start_flapping(self, schedule: Sequence[tuple[float, Weather]]) -> None:
        await self._stop_flapping()
        await self._turn(schedule[0][1])  # so that it holds when the caller goes on
        self._flapping = asyncio.create_task(self._follow(schedule))

    async def _stop_flapping(self) -> None:
        if self._flapping:
            self._flapping.cancel()
            await asyncio.gather(self._flapping, return_exceptions=True)
            self._flapping = None
        await self._turn(Weather.FINE)

    async def _follow(self, schedule: Sequence[tuple[float, Weather]]) -> None:
        for seconds, weather in cycle(schedule):
            await self._turn(weather)
            await asyncio.sleep(seconds)

    async def _turn(self, weather: Weather) -> None:
        self._weather = weather
        if weather is Weather.REFUSE:
            self._unlisten()
        elif self._server is None:
            await self._listen()
        if weather in {Weather.REFUSE, Weather.DROP}:
            for dialogue in self._dialogues.values():
                dialogue.writer.transport.abort()
