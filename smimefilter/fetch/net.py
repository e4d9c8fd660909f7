"""The way out: HTTP, HTTPS, LDAP and LDAPS behind one face, so many at one time.

A URL waits for others of its own host first and only then for a place among all, so that a slow
host holds up little but itself. What a mail waits for has places of its own.

Leaves where it may go to `guard.py`.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from smimefilter.base.errors import AdminError
from smimefilter.config import Fetch
from smimefilter.ports.net import Fetched, FetchFailed, Request

from .failures import seconds
from .guard import Guard
from .http import HttpClient
from .ldap import LdapClient
from .resolve import Resolver

AT_ONCE: Final = 16
AT_ONCE_OF_A_HOST: Final = 4
LONGEST_URL: Final = 8192


class GuardedNet:
    """`ports.net.Net`, while it is entered."""

    def __init__(self, settings: Fetch) -> None:
        """Raises `AdminError` for roots that cannot be read."""
        self._settings = settings
        self._context = _context(settings)
        self._stack = AsyncExitStack()
        self._http: HttpClient | None = None
        self._ldap: LdapClient | None = None
        self._places = {urgent: _Places() for urgent in (False, True)}

    async def __aenter__(self) -> Self:
        guard = Guard(self._settings.allow, self._settings.deny)
        resolver = Resolver(2 * AT_ONCE)
        self._stack.callback(resolver.close)
        self._http = HttpClient(self._settings, guard, resolver, self._context)
        self._stack.push_async_callback(self._http.close)
        self._ldap = LdapClient(self._settings, guard, resolver, self._context)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http = self._ldap = None
        await self._stack.aclose()

    async def fetch(self, request: Request) -> Fetched:
        """The content behind a URL. Raises `FetchFailed`, and nothing else but cancellation."""
        patience = self._settings.total_timeout
        places = self._places[request.urgent]
        try:
            async with places.of(request.url), places.all, asyncio.timeout(patience):
                return await self._fetch(request)
        except FetchFailed:
            raise
        except TimeoutError:
            raise FetchFailed(f"not complete after {seconds(patience)}") from None
        except Exception as error:
            raise FetchFailed("cannot be fetched") from error

    async def _fetch(self, request: Request) -> Fetched:
        if self._http is None or self._ldap is None:
            raise FetchFailed("the way out is closed")
        if len(request.url) > LONGEST_URL:
            raise FetchFailed(f"the URL is longer than {LONGEST_URL} characters")
        match request.url.partition(":")[0].lower():
            case "http" | "https":
                return await self._http.fetch(request)
            case "ldap" | "ldaps":
                return await self._ldap.fetch(request)
        raise FetchFailed("neither an HTTP nor an LDAP URL")


class _Places:
    """How much may be under way at once."""

    def __init__(self) -> None:
        self.all: Final = asyncio.Semaphore(AT_ONCE)
        self._hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, url: str) -> asyncio.Semaphore:
        """The places of a URL's host; forgotten when nobody waits for one."""
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            host = ""
        return self._hosts.setdefault(host, asyncio.Semaphore(AT_ONCE_OF_A_HOST))


def _context(settings: Fetch) -> ssl.SSLContext:
    """Roots of the system, and those of the settings."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError):
            raise AdminError(
                "roots in `ca-file` of `fetch` cannot be read",
                where=str(settings.ca_file),
                mend="give a file of PEM certificates that the daemon may read",
            ) from None
    return context
