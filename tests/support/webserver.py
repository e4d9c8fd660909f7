"""A web server for tests: serves what it is told to, keeps what it was asked, misbehaves on
demand.

It speaks HTTP/1.1 by hand, one request a connection, so that it can break every rule. It runs
in a thread of its own, so that blocking tests can use it as well as asynchronous ones.

    with WebServer() as web:
        web.serve("/ca.crl", crl, etag='"1"', cache_control="max-age=60")
        web.redirect("/old.crl", "/ca.crl")
        web.answer("/ocsp", lambda asked: responder.respond(asked.body))
        web.misbehave("/slow.crl", Trouble.SILENT)
        fetch(web.url("/ca.crl"))
        assert web.requests[0].headers["user-agent"]

What is served with an ETag or a Last-Modified is answered with 304 to who has it already.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from tests.support.ports import ReservedPort
from tests.support.started import Started

BOMB: Final = gzip.compress(bytes(16 * 1024 * 1024))  # 16 KiB that become 16 MiB
_BLOCK: Final = b"0" * 65536


class Trouble(StrEnum):
    """How a path misbehaves."""

    CLOSE = "close"  # closes without a word
    SILENT = "silent"  # takes the request and says nothing
    STALL = "stall"  # sends 10 octets of 1000, then nothing
    DRIP = "drip"  # sends an octet every 20 ms, without end
    ENDLESS = "endless"  # sends chunks as fast as they are taken, without end
    HUGE = "huge"  # announces 1 TiB
    CUT = "cut"  # closes after 10 octets of 1000
    CUT_CHUNKED = "cut-chunked"  # closes in the middle of a chunk
    LONG = "long"  # sends 1000 octets after announcing 10
    BOMB = "bomb"  # `BOMB`, gzip although nobody asked for that
    LOOP = "loop"  # redirects to itself
    GARBAGE = "garbage"  # is no web server


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. Names of headers are in lower case."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What a path answers."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[[Asked], bytes | Reply]


class WebServer(Started):
    """The server. Its port is known, and its own, from the start."""

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.requests: list[Asked] = []  # in the order of arrival
        self._tls = tls
        self._place = ReservedPort(address, port)
        self.port = self._place.number
        self._answers: dict[str, Answer] = {}
        self._troubles: dict[str, Trouble] = {}
        self._arrived = threading.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    # what tests call

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """Stop listening and cut every connection. What was asked stays readable."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.release()

    def url(self, path: str, *, host: str = "") -> str:
        """The URL of a path; `host` is another name for the same server."""
        scheme = "http" if self._tls is None else "https"
        name = host or self.address
        return f"{scheme}://{f'[{name}]' if ':' in name else name}:{self.port}{path}"

    def serve(self, path: str, body: bytes, *, status: int = 200, **headers: str) -> None:
        """Answer with this from now on. `etag="x"` becomes `ETag: x`, `_` becomes `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer(path, lambda asked: _unless_known(asked, Reply(body, status, named)))

    def redirect(self, path: str, to: str, *, status: int = 302) -> None:
        """Redirect to a URL or path."""
        self.serve(path, b"", status=status, location=to)

    def answer(self, path: str, answer: Answer) -> None:
        """Ask a function for each answer at this path and below it, GET and POST. It is
        called in the server's thread."""
        self._troubles.pop(path, None)
        self._answers[path] = answer

    def misbehave(self, path: str, trouble: Trouble) -> None:
        """Do so from now on, until something is served there."""
        self._troubles[path] = trouble

    def asked(self, path: str) -> list[Asked]:
        """The requests for this path so far, whatever their query."""
        return [one for one in self.requests if one.path.partition("?")[0] == path]

    def wait_for(self, number: int, *, timeout: float = 15) -> list[Asked]:
        """The requests, as soon as there are `number` of them. Raises AssertionError."""
        with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self.requests) >= number, timeout)
        if not enough:
            raise AssertionError(f"waited for {number} requests, got {len(self.requests)}")
        return list(self.requests)

    # the server, in its own thread

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._talk, self.address, self.port, ssl=self._tls
        )

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        await asyncio.sleep(0.01)  # connections that were just taken become tasks
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, OSError)
        try:
            with contextlib.suppress(*ends):
                await self._respond(await _read(reader), writer)
        finally:
            writer.close()
            with contextlib.suppress(*ends):
                await writer.wait_closed()
            writer.transport.abort()  # where waiting was cut short
            self._tasks.discard(task)

    async def _respond(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        with self._arrived:
            self.requests.append(asked)
            self._arrived.notify_all()
        path = asked.path.partition("?")[0]
        trouble = self._troubles.get(path)
        if trouble is not None:
            await _misbehave(trouble, path, writer)
            return
        answer = self._answer_at(path)
        reply = answer(asked) if answer else Reply(b"nothing here", 404)
        if isinstance(reply, bytes):
            reply = Reply(reply)
        bodiless = reply.status in {204, 304} or asked.method == "HEAD"
        length = {} if bodiless else {"content-length": str(len(reply.body))}
        writer.write(_head(reply.status, length | reply.headers))
        if not bodiless:
            writer.write(reply.body)
        await writer.drain()

    def _answer_at(self, path: str) -> Answer | None:
        while path not in self._answers:
            path, slash, _ = path.rpartition("/")
            if not slash:
                return None
        return self._answers[path]


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body)


def _unless_known(asked: Asked, reply: Reply) -> Reply:
    conditions = (("if-none-match", "etag"), ("if-modified-since", "last-modified"))
    for condition, validator in conditions:
        if condition in asked.headers:
            if asked.headers[condition] == reply.headers.get(validator):
                return Reply(b"", 304, reply.headers)
            break  # If-None-Match takes precedence, RFC 9110 §13.2.2
    return reply


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def _misbehave(trouble: Trouble, path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(_opening(trouble, path))
    await writer.drain()
    if trouble in {Trouble.SILENT, Trouble.STALL}:
        await asyncio.Event().wait()
    while trouble is Trouble.DRIP:
        writer.write(b"1\r\n0\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
    while trouble is Trouble.ENDLESS:
        writer.write(b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK))
        await writer.drain()


def _opening(trouble: Trouble, path: str) -> bytes:
    """What is sent at first, or at all."""
    if trouble is Trouble.GARBAGE:
        return b"220 mail.example.com ESMTP\r\n" * 3
    if trouble is Trouble.LOOP:
        return _head(302, {"location": path, "content-length": "0"})
    if trouble not in _OPENINGS:
        return b""
    headers, body = _OPENINGS[trouble]
    return _head(200, headers) + body


_CHUNKED: Final = {"transfer-encoding": "chunked"}
_OPENINGS: Final[dict[Trouble, tuple[dict[str, str], bytes]]] = {
    Trouble.STALL: ({"content-length": "1000"}, b"0" * 10),
    Trouble.CUT: ({"content-length": "1000"}, b"0" * 10),
    Trouble.CUT_CHUNKED: (_CHUNKED, b"3e8\r\n" + b"0" * 10),
    Trouble.DRIP: (_CHUNKED, b""),
    Trouble.ENDLESS: (_CHUNKED, b""),
    Trouble.HUGE: ({"content-length": str(1 << 40)}, b"0" * 10),
    Trouble.LONG: ({"content-length": "10"}, b"0" * 1000),
    Trouble.BOMB: ({"content-encoding": "gzip", "content-length": str(len(BOMB))}, BOMB),
}
