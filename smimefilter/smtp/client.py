"""A connection to a next hop: commands out, replies in, TLS in between where it is wanted.

Commands go out in one write where the next hop takes pipelining. Nothing here raises anything
but `NoDelivery`, which says what becomes of the mail and whether a fresh connection may do
better: only while it is certain that the next hop has not taken the mail, that is before the
end of its content was sent.

Leaves opening to `connect.py`, what is said in a transaction to `transaction.py`, how many
connections there are to `pool.py`. RFC 5321 §3.1 and §4.5.3.2, RFC 2920, RFC 3207.
Raises `NoDelivery`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, cast

from smimefilter.base.envelope import Deferred
from smimefilter.base.errors import Status
from smimefilter.config import NextHop

from .deadline import Deadline
from .replies import NOT_SMTP, SERVICE_CLOSING, Garbage, Reply, ReplyReader

_PIECE: Final = 262_144  # octets written at once
_LOST: Final = Deferred(Status(4, "4.2"), "connection to the next hop lost")
_SLOW: Final = Deferred(Status(4, "4.2"), "next hop does not answer in time")


class NoDelivery(Exception):
    """Trouble of the connection. `again`: a fresh one may do, and no mail comes twice by it."""

    def __init__(self, fate: Deferred, *, again: bool = False) -> None:
        super().__init__(fate.text)
        self.fate = fate
        self.again = again


class TlsFailed(NoDelivery):
    """There is a connection, but no TLS over it."""

    def __init__(self, why: str) -> None:
        super().__init__(Deferred(Status(4, "7.5"), f"no TLS with the next hop: {why}"))


class Connection(asyncio.Protocol):
    """One connection. For one task at a time."""

    def __init__(self, hop: NextHop) -> None:
        self.hop = hop
        self.banner = ""
        self.extensions: Mapping[str, str] = {}  # EHLO keywords → their parameters
        self.needs_reset = False  # a transaction was left unfinished
        self.idle_since = 0.0  # loop time
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._deadline = Deadline(self._loop, lambda: self._fail(_SLOW))
        self._replies: list[Reply] = []
        self._wanted = 1  # the banner
        self._waiter: asyncio.Future[None] | None = self._loop.create_future()
        self._writable: asyncio.Future[None] | None = None
        self._trouble: Deferred | None = None

    @property
    def usable(self) -> bool:
        """Whether a mail may be tried on it."""
        return self._trouble is None

    def close(self) -> None:
        """Take leave, without waiting for an answer to it."""
        self._deadline.close()
        transport = self._transport
        if transport is not None and self.usable and self._waiter is None:
            transport.write(b"QUIT\r\n")
            transport.close()
            self._transport = None
        self._fail(_LOST)

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The next hop speaks first."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Gather replies; what nobody asked for makes the connection unusable."""
        try:
            replies = self._reader.feed(data)
        except Garbage:
            self._fail(NOT_SMTP)
            return
        self._replies += replies
        if self._waiter is None:
            self._fail(_closing(replies) or NOT_SMTP)
        elif len(self._replies) >= self._wanted:
            self._wake()

    def eof_received(self) -> None:
        """The next hop closes."""
        self._fail(_LOST)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - any will do
        """It is gone."""
        self._transport = None
        self._fail(_LOST)

    def pause_writing(self) -> None:
        """The next hop is slower than we are."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It caught up."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, trouble: Deferred) -> None:
        """Nothing more comes; whoever waits is told. The first trouble counts."""
        if self._trouble is None:
            self._trouble = trouble
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._deadline.close()
        self.resume_writing()
        self._wake()

    # commands, contents and replies

    async def ask(self, commands: Sequence[str]) -> list[Reply]:
        """Send all in one go, bring the replies in order. Raises `NoDelivery`.

        A `421` counts as a lost connection, because nothing can follow it.
        """
        lines = "\r\n".join(commands) + "\r\n"
        if lines.count("\n") != len(commands) or lines.count("\r") != len(commands):
            raise ValueError("a line end within a command")
        octets = lines.encode()
        self._expect(len(commands)).write(octets)
        replies = await self._received(again=True)
        closing = _closing(replies)
        if closing is not None:
            self._fail(closing)
            raise NoDelivery(closing, again=True)
        return replies

    async def send(self, chunks: Sequence[bytes]) -> Reply:
        """Send a content, whose last chunk is its end; the reply. Raises `NoDelivery`."""
        transport = self._expect(1)
        if sum(map(len, chunks)) <= _PIECE:
            transport.write(b"".join(chunks))
        elif await self._paced(transport, chunks[:-1]):
            transport.write(chunks[-1])
        else:
            (reply,) = await self._received(again=True)
            self._fail(NOT_SMTP)  # it has half a content and will not see the rest
            if reply.positive:
                raise NoDelivery(NOT_SMTP)
            return reply
        (reply,) = await self._received(again=False)
        if reply.code == SERVICE_CLOSING:
            self._fail(_LOST)
        return reply

    async def _paced(self, transport: asyncio.Transport, chunks: Sequence[bytes]) -> bool:
        """Write no faster than is read. False when a reply, or trouble, was faster still."""
        waiter = self._waiter
        for chunk in chunks:
            view = memoryview(chunk)
            for start in range(0, len(chunk), _PIECE):
                if self._writable is not None and waiter is not None:
                    self._deadline.within(self.hop.timeout)
                    await asyncio.wait(
                        {self._writable, waiter}, return_when=asyncio.FIRST_COMPLETED
                    )
                if self._waiter is None:
                    return False
                transport.write(view[start : start + _PIECE])
        self._deadline.within(self.hop.timeout)
        return True

    def _expect(self, count: int) -> asyncio.Transport:
        """Get ready for `count` replies to what the caller writes now. Raises `NoDelivery`."""
        if self._trouble is not None or self._transport is None:
            trouble = self._trouble or _LOST
            raise NoDelivery(trouble, again=trouble is not NOT_SMTP)
        self._replies = []
        self._wanted = count
        self._waiter = self._loop.create_future()
        self._deadline.within(self.hop.timeout)
        return self._transport

    async def _received(self, *, again: bool) -> list[Reply]:
        """What was expected. `again`: the next hop cannot have taken a mail. Raises."""
        if self._waiter is not None:
            await self._waiter
        self._deadline.clear()
        replies = self._replies
        if len(replies) > self._wanted:
            surplus = replies[self._wanted :]
            self._fail(_closing(surplus) or NOT_SMTP)
            if again:
                raise NoDelivery(NOT_SMTP)
            return replies[: self._wanted]  # the content is answered: what follows is no excuse
        if len(replies) < self._wanted:
            trouble = _closing(replies) or self._trouble or _LOST
            raise NoDelivery(trouble, again=again and trouble not in {_SLOW, NOT_SMTP})
        return replies

    # opening

    async def greet(self, hostname: str) -> None:
        """Banner, then EHLO. Raises `NoDelivery`."""
        self._deadline.within(self.hop.timeout)
        (banner,) = await self._received(again=False)
        if not banner.positive:
            raise NoDelivery(_not_now(banner))
        self.banner = banner.text
        await self.say_hello(hostname)

    async def say_hello(self, hostname: str) -> None:
        """EHLO, or HELO where that is all there is. Raises `NoDelivery`."""
        (hello,) = await self.ask([f"EHLO {hostname}"])
        self.extensions = dict(_keyword(line) for line in hello.lines[1:])
        if not hello.positive:
            self.extensions = {}
            (hello,) = await self.ask([f"HELO {hostname}"])
        if not hello.positive:
            raise NoDelivery(_not_now(hello))

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS and the handshake. Raises `NoDelivery`."""
        (ready,) = await self.ask(["STARTTLS"])
        if ready.code != 220 or not self._reader.empty or self._transport is None:
            raise TlsFailed("refused")  # or something was slipped in before the handshake
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_hostname=self.hop.host,
                ssl_handshake_timeout=self.hop.connect_timeout,
            )
        except OSError as error:  # ssl.SSLError is among them
            self._fail(_LOST)
            raise TlsFailed(_handshake_trouble(error)) from None
        if transport is None:
            self._fail(_LOST)
            raise TlsFailed("connection lost in the handshake")
        self._transport = transport


def _handshake_trouble(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "connection lost in the handshake"


def _not_now(reply: Reply) -> Deferred:
    """A refusal that is about us or about now, never about the mail."""
    failure = reply.failure()
    if isinstance(failure, Deferred):
        return failure
    return Deferred(Status(4, "4.1"), f"next hop refused the connection: {reply.text}")


def _closing(replies: Sequence[Reply]) -> Deferred | None:
    for reply in replies:
        if reply.code == SERVICE_CLOSING:
            return _not_now(reply)
    return None


def _keyword(line: str) -> tuple[str, str]:
    keyword, _, parameters = line.partition(" ")
    return keyword.upper(), parameters
