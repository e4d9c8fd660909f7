"""What our CAs publish, over plain HTTP: their CRLs and certificates.

`/ID.crl` and `/ID.cer`, where ID is the CA's id: the URLs that certificates name, so they never
change. Whoever asks gets the newest CRL, with how long it may be kept, and is not sent again
what he has. Nothing else is there, and nothing can be changed.

What there is is read once for each revision of the database. So many connections at once and
no more: anybody may make them, and mail needs descriptors too. Where there are too many those
that have lasted too long are cut.

RFC 5280 §4.2.1.13 and §4.2.2.1, RFC 2585 (media types), RFC 9110 and 9111. Raises `AdminError`
when it cannot listen.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from smimefilter.base.errors import MailError
from smimefilter.config import Publish
from smimefilter.flow.authority import Published
from smimefilter.pki.crl import Crl, UnreadableCrl
from smimefilter.smtp.sockets import BACKLOG, listening

LONGEST_KEPT: Final = 3600  # seconds that a cache may keep a CRL: revoking has to get around
KEPT: Final = 86_400  # of a certificate
MOST_CONNECTIONS: Final = 200
LONGEST_CONNECTION: Final = 120.0  # seconds, where there are so many


@dataclass(frozen=True, slots=True)
class _File:
    """What is served at one path, with what is told of it."""

    der: bytes
    kind: str
    tag: str
    changed: datetime | None = None
    until: datetime | None = None

    def kept(self, now: datetime) -> int:
        """Seconds that a cache may keep it."""
        if self.changed is None:
            return KEPT
        if self.until is None:
            return LONGEST_KEPT
        return max(0, min(LONGEST_KEPT, int((self.until - now).total_seconds())))


class Publisher:
    """Answers for the CAs of the gateway."""

    def __init__(
        self,
        settings: Publish,
        *,
        published: Callable[[], Awaitable[list[Published]]],
        revision: Callable[[], Awaitable[int]],
        clock: Callable[[], datetime],
    ) -> None:
        """`revision`: of the database that `published` is from."""
        self._settings = settings
        self._published = published
        self._revision = revision
        self._clock = clock
        self._files: Mapping[str, _File] = {}  # by path
        self._files_of: int | None = None  # the revision
        self._turn = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._since: dict[RequestHandler, float] = {}  # connections, by the loop's clock
        self.port = 0

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen, on these sockets if there are any. Raises `AdminError`."""
        app = web.Application(client_max_size=0)
        app.router.add_get("/{id:[0-9a-f]{8,64}}.{kind:crl|cer}", self._serve)
        address, port = self._settings.address, self._settings.port
        sockets = sockets or listening(address, port, "publish")
        self._runner = runner = web.AppRunner(app, access_log=None, keepalive_timeout=5)
        await runner.setup()
        loop = asyncio.get_running_loop()
        self._servers = [
            await loop.create_server(self._accepted, sock=one, backlog=BACKLOG)
            for one in sockets
        ]
        self.port = self._servers[0].sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections."""
        for server in self._servers:
            server.close()
        self._servers = []

    async def stop(self) -> None:
        """Listen no more."""
        self.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _accepted(self) -> asyncio.BaseProtocol:
        """What speaks over a new connection."""
        handlers = self._runner.server if self._runner else None
        if handlers is None:
            return _TurnedAway()
        now = asyncio.get_running_loop().time()
        open_ = handlers.connections
        self._since = {one: self._since.get(one, now) for one in open_}
        if len(open_) < MOST_CONNECTIONS:
            return handlers()
        for one, since in self._since.items():
            if now - since > LONGEST_CONNECTION and one.transport is not None:
                one.transport.abort()
        return _TurnedAway()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        away = False
        try:
            await self._look()
        except MailError:  # the database, and only for now: what was read last still holds
            away = True
        file = self._files.get(request.path)
        if file is None and away:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "60"})
        if file is None:
            raise web.HTTPNotFound
        return _answer(request, file, self._clock())

    async def _look(self) -> None:
        """Read what there is, where something has changed."""
        if await self._revision() == self._files_of:
            return
        async with self._turn:
            revision = await self._revision()
            if revision != self._files_of:
                found = await self._published()
                self._files = await asyncio.to_thread(_files, found, self._files)
                self._files_of = revision


class _TurnedAway(asyncio.Protocol):
    """Of a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _files(found: list[Published], before: Mapping[str, _File]) -> dict[str, _File]:
    """What is served; a CRL that is there already is not read again."""
    files = {}
    for one in found:
        certificate = _File(one.certificate, "application/pkix-cert", _tag(one.certificate))
        files[f"/{one.id}.cer"] = certificate
        path = f"/{one.id}.crl"
        old = before.get(path)
        if old is not None and old.der == one.crl:
            files[path] = old
        elif (crl := _crl_file(one.crl)) is not None:
            files[path] = crl
    return files


def _crl_file(der: bytes | None) -> _File | None:
    if der is None:
        return None
    try:
        crl = Crl.read(der)
    except UnreadableCrl:
        return None
    return _File(der, "application/pkix-crl", _tag(der), crl.this_update, crl.next_update)


def _tag(der: bytes) -> str:
    return f'"{hashlib.sha256(der).hexdigest()}"'


def _answer(request: web.Request, file: _File, now: datetime) -> web.Response:
    left = file.kept(now)
    headers = {
        "ETag": file.tag,
        "Cache-Control": f"public, max-age={left}, no-transform",
        "Expires": format_datetime(datetime.fromtimestamp(now.timestamp() + left, UTC), True),
        "X-Content-Type-Options": "nosniff",
    }
    if file.changed is not None:
        headers["Last-Modified"] = format_datetime(file.changed.astimezone(UTC), usegmt=True)
    if _is_known(request, file.tag, file.changed):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.der, content_type=file.kind, headers=headers)


def _is_known(request: web.Request, tag: str, changed: datetime | None) -> bool:
    """RFC 9110 §13.2.2: the tags count where there are any, else the date."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        named = (one.strip().removeprefix("W/") for one in tags.split(","))
        return any(one in {tag, "*"} for one in named)
    since = request.if_modified_since
    return since is not None and changed is not None and changed <= since
