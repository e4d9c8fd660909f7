"""Names to addresses that may be connected to, looked up once for each connection.

The addresses that were judged are the ones connected to: a name that changes its address in
between (DNS rebinding) gains nothing. The look-ups have threads of their own, so that a name
service that hangs holds up nothing else in the process.

Leaves judging to `guard.py`. Raises `FetchFailed`.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from smimefilter.ports.net import FetchFailed

from .failures import unreachable
from .guard import Guard, IpAddress, literal


class Resolver:
    """Looks names up. `close` it at the end."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def look_up(self, host: str) -> list[IpAddress]:
        """All addresses of a host; at least one."""
        address = literal(host)
        if address is not None:
            return [address]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, _addresses, host)
        except UnicodeError:  # from IDNA: an empty or too long label
            raise FetchFailed("no such host") from None
        except OSError as error:
            raise FetchFailed(unreachable(error)) from None
        return found

    async def permitted(self, host: str, guard: Guard) -> list[IpAddress]:
        """Those that may be connected to; at least one."""
        found = await self.look_up(host)
        permitted = [address for address in found if guard.permits(address)]
        if not permitted:
            guard.check(found[0])
        return permitted

    def close(self) -> None:
        """Take no more names; look-ups under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str) -> list[IpAddress]:
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ip_address(str(info[4][0])) for info in infos]


class GuardedResolver(AbstractResolver):
    """The same for aiohttp, which hands the very addresses to the connection."""

    def __init__(self, resolver: Resolver, guard: Guard) -> None:
        self._resolver = resolver
        self._guard = guard

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """What may be connected to, of whatever family. Raises `FetchFailed`."""
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._resolver.permitted(host, self._guard)
        ]

    async def close(self) -> None:
        """Nothing: the resolver belongs to whoever made it."""
