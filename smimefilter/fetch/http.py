"""Content by HTTP and HTTPS, within limits of time, size and direction.

Every connection is new and goes to an address that the guard permits; redirects are followed
here rather than by aiohttp, so that each is looked at first. Content comes as it is: a server
that compresses it unasked is refused, so nothing can grow after it was counted. No cookies, and
no proxy but the configured one.

RFC 9110 §13 (conditional requests), §15.4 (redirects); RFC 9111 §5.2.2.1 (max-age).
Raises `FetchFailed`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
from yarl import URL

from smimefilter import __version__
from smimefilter.config import Fetch
from smimefilter.ports.net import Fetched, FetchFailed, Request

from .failures import octets, seconds, unreachable
from .guard import EVERYWHERE, Guard, literal
from .resolve import GuardedResolver, Resolver

_SCHEMES: Final = ("http", "https")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,10})", re.IGNORECASE)
_PRINTABLE: Final = re.compile(r"[!-~]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class HttpClient:
    """Fetches; `close` it at the end."""

    def __init__(
        self, settings: Fetch, guard: Guard, resolver: Resolver, context: ssl.SSLContext
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._resolver = resolver
        self._direct = self._session(guard, context)
        self._proxied = self._session(EVERYWHERE, context)
        self._proxy = settings.proxy.get_secret_value() if settings.proxy else None

    async def close(self) -> None:
        """Cut what is under way."""
        await self._direct.close()
        await self._proxied.close()

    async def fetch(self, request: Request) -> Fetched:
        """The content behind an HTTP URL. Raises `FetchFailed`."""
        url = _url(request.url)
        for _ in range(self._settings.redirects + 1):
            answer = await self._ask(url, request)
            if isinstance(answer, Fetched):
                return answer
            url = _next(url, answer)
        raise FetchFailed("redirected too often")

    async def _ask(self, url: URL, request: Request) -> Fetched | str:
        """What the server sends, or where it redirects to."""
        session, proxy = await self._way(url)
        try:
            async with session.request(
                "GET" if request.body is None else "POST",
                url,
                data=request.body,
                headers=_headers(request),
                allow_redirects=False,
                proxy=proxy,
            ) as response:
                return await _answer(response, request)
        except FetchFailed:
            raise
        except aiohttp.ConnectionTimeoutError:
            raise FetchFailed(
                f"no connection in {seconds(self._settings.connect_timeout)}"
            ) from None
        except TimeoutError:  # of aiohttp too
            raise FetchFailed(f"no answer in {seconds(self._settings.timeout)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(_words(error)) from None

    async def _way(self, url: URL) -> tuple[aiohttp.ClientSession, str | None]:
        """Directly or by proxy. What `allow` names is inside, where the proxy need not lead;
        names that only the proxy can resolve are left to it."""
        host = url.raw_host or ""
        address = literal(host)
        if address is not None:  # aiohttp asks its resolver about names alone
            self._guard.check(address)
        if self._proxy is None:
            return self._direct, None
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                found = await self._resolver.look_up(host)
        except (FetchFailed, TimeoutError):
            return self._proxied, self._proxy
        if not any(map(self._guard.permits, found)):
            self._guard.check(found[0])
        if all(map(self._guard.allows, found)):
            return self._direct, None
        return self._proxied, self._proxy

    def _session(self, guard: Guard, context: ssl.SSLContext) -> aiohttp.ClientSession:
        settings = self._settings

        def guarded_socket(info: aiohttp.AddrInfoType) -> socket.socket:
            family, kind, protocol, _, place = info
            if not guard.permits(ip_address(str(place[0]))):
                raise PermissionError  # nothing gets here: whatever else fails, this holds
            return socket.socket(family, kind, protocol)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(self._resolver, guard),
                socket_factory=guarded_socket,
                use_dns_cache=False,
                force_close=True,
                limit=0,
                ssl=context,
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=settings.connect_timeout, sock_read=settings.timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={
                "User-Agent": f"smimefilter/{__version__}",
                "Accept-Encoding": "identity",
            },
        )


def _url(text: str) -> URL:
    """The URL as it is written, down to its escapes, where it is one already."""
    if _CONTROL.search(text):
        raise FetchFailed("not a URL")
    try:
        url = URL(text, encoded=_PRINTABLE.fullmatch(text) is not None)
        port = url.port
    except ValueError:
        raise FetchFailed("not a URL") from None
    if url.scheme not in _SCHEMES or not url.raw_host or port is None:
        raise FetchFailed("not a URL")
    return url


def _next(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location, encoded=_PRINTABLE.fullmatch(location) is not None))
    except ValueError:
        raise FetchFailed("redirected to what is not a URL") from None
    if target.scheme not in _SCHEMES:
        raise FetchFailed("redirected to something other than HTTP")
    if url.scheme == "https" and target.scheme == "http":
        raise FetchFailed("redirected from https to http")
    return _url(str(target))


def _headers(request: Request) -> dict[str, str]:
    named = {
        "Accept": request.accept,
        "Content-Type": request.content_type,
        "If-None-Match": request.etag,
        "If-Modified-Since": request.last_modified,
    }
    return {name: value for name, value in named.items() if value}


async def _answer(response: aiohttp.ClientResponse, request: Request) -> Fetched | str:
    status, headers = response.status, response.headers
    location = headers.get("Location")
    # a 303 asks for a GET elsewhere: what was posted would not get there
    if status in _REDIRECTS and location and (request.body is None or status != 303):
        return location
    unchanged = status == 304 and bool(request.etag or request.last_modified)
    if status != 200 and not unchanged:
        raise FetchFailed(_status(status))
    kept = request if unchanged else None
    return Fetched(
        content=None if unchanged else await _content(response, request.most),
        etag=headers.get("ETag", kept.etag if kept else ""),
        last_modified=headers.get("Last-Modified", kept.last_modified if kept else ""),
        max_age=_max_age(headers),
    )


async def _content(response: aiohttp.ClientResponse, most: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("sent compressed, which nobody asked for")
    announced = response.content_length
    too_large = FetchFailed(f"larger than {octets(most)}")
    if announced is not None and announced > most:
        raise too_large
    blocks, size = [], 0
    try:
        async for block in response.content.iter_any():
            size += len(block)
            if size > most:
                raise too_large
            blocks.append(block)
    except (aiohttp.ClientPayloadError, ConnectionError):
        of = "" if announced is None else f" of {announced}"
        raise FetchFailed(f"cut off after {size}{of} octets") from None
    if not size:
        raise FetchFailed("sent nothing")
    return b"".join(blocks)


def _status(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _max_age(headers: Mapping[str, Any]) -> int | None:
    found = _MAX_AGE.search(headers.get("Cache-Control", ""))
    return int(found[1]) if found else None


def _words(error: Exception) -> str:
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"refused by the proxy: {_status(error.status)}"
        case aiohttp.ClientProxyConnectionError():
            return f"proxy {unreachable(error.os_error)}"
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
            return unreachable(cause) if isinstance(cause, OSError) else "TLS failed"
        case aiohttp.ClientConnectorError():
            return unreachable(error.os_error)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            return "closed the connection without an answer"
        case aiohttp.InvalidURL():
            return "not a URL"
        case aiohttp.ClientResponseError():
            return "not an HTTP answer"
        case _:
            return "cannot be fetched"
