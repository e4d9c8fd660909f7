"""What our CAs publish, over plain HTTP: their CRLs and certificates.

`/ID.crl` and `/ID.cer`, where ID is the CA's id: the URLs that certificates name, so they never
change. Whoever asks gets the newest CRL, with how long it may be kept, and is not sent again
what he has. Nothing else is there, and nothing can be changed.

RFC 5280 §4.2.1.13 and §4.2.2.1, RFC 2585 (media types), RFC 9110 and 9111. Raises `AdminError`
when it cannot listen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from aiohttp import web

from smimefilter.base.errors import AdminError, MailError
from smimefilter.config import Publish
from smimefilter.pki.crl import Crl

LONGEST_KEPT: Final = 3600  # seconds that a cache may keep a CRL: revoking has to get around
KEPT: Final = 86_400  # of a certificate


class Publisher:
    """Answers for the CAs of the gateway."""

    def __init__(
        self,
        settings: Publish,
        *,
        crl: Callable[[str], Awaitable[bytes | None]],
        certificate: Callable[[str], Awaitable[bytes | None]],
        clock: Callable[[], datetime],
    ) -> None:
        """`crl` and `certificate`: of a CA by its id, DER."""
        self._settings = settings
        self._crl = crl
        self._certificate = certificate
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises `AdminError`."""
        app = web.Application(client_max_size=0)
        app.router.add_get("/{id:[0-9a-f]{8,64}}.crl", self._serve_crl)
        app.router.add_get("/{id:[0-9a-f]{8,64}}.cer", self._serve_certificate)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=5)
        await runner.setup()
        address, port = self._settings.address, self._settings.port
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            await runner.cleanup()
            raise AdminError(
                f"cannot listen: {(error.strerror or str(error)).lower()}",
                where=f"publish: {address} port {port}",
                mend="choose another port, or end what listens there",
            ) from None
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve_crl(self, request: web.Request) -> web.StreamResponse:
        der = await _had(self._crl, request)
        crl, now = Crl.read(der), self._clock()
        left = LONGEST_KEPT
        if crl.next_update is not None:
            left = max(0, min(left, int((crl.next_update - now).total_seconds())))
        return _answer(request, der, "application/pkix-crl", left, crl.this_update, now)

    async def _serve_certificate(self, request: web.Request) -> web.StreamResponse:
        der = await _had(self._certificate, request)
        return _answer(request, der, "application/pkix-cert", KEPT, None, self._clock())


async def _had(find: Callable[[str], Awaitable[bytes | None]], request: web.Request) -> bytes:
    try:
        der = await find(request.match_info["id"])
    except MailError:  # the database, and only for now
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "60"}) from None
    if der is None:
        raise web.HTTPNotFound
    return der


def _answer(
    request: web.Request,
    der: bytes,
    kind: str,
    left: int,
    changed: datetime | None,
    now: datetime,
) -> web.Response:
    tag = f'"{hashlib.sha256(der).hexdigest()}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"public, max-age={left}, no-transform",
        "Expires": format_datetime(datetime.fromtimestamp(now.timestamp() + left, UTC), True),
        "X-Content-Type-Options": "nosniff",
    }
    if changed is not None:
        headers["Last-Modified"] = format_datetime(changed.astimezone(UTC), usegmt=True)
    if _is_known(request, tag, changed):
        return web.Response(status=304, headers=headers)
    return web.Response(body=der, content_type=kind, headers=headers)


def _is_known(request: web.Request, tag: str, changed: datetime | None) -> bool:
    """RFC 9110 §13.2.2: the tags count where there are any, else the date."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        named = (one.strip().removeprefix("W/") for one in tags.split(","))
        return any(one in {tag, "*"} for one in named)
    since = request.if_modified_since
    return since is not None and changed is not None and changed <= since
