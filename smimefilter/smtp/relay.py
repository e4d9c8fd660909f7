"""The way out: copies to next hops, by name, by the recipient's domain, or to the default one.

Trouble of a next hop is a fate, never an exception, and is logged once with its place, which
the client is not told. A mail whose end was sent and whose reply never came is deferred: it
may arrive twice, it is not lost (RFC 1047).

Leaves the dialogue to `transaction.py`, connections to `pool.py`. RFC 5321 §4.5.4.1.
Raises `AdminError` when it is made from settings that cannot work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Sequence
from functools import partial
from typing import Final

from smimefilter.base.address import BadAddress, domain_key, domain_of
from smimefilter.base.envelope import Deferred, Fate, Recipient
from smimefilter.base.errors import AdminError, Status
from smimefilter.config import Config
from smimefilter.ports.relay import Outgoing

from .client import Connection, NoDelivery
from .connect import client_context
from .pool import Pool
from .transaction import deliver

log = logging.getLogger(__name__)

FIRST_RETRY: Final = 1.0  # seconds
LAST_RETRY: Final = 60.0
DEFAULT = ""  # the name of the next hop that takes what nothing else is said about


class SmtpRelay:
    """Delivers copies over SMTP; a `ports.relay.Relay`. One for an event loop."""

    def __init__(self, config: Config, hostname: str) -> None:
        hops = {DEFAULT: config.next_hop, **config.next_hops}
        self._pools = {
            name: Pool(hop, hostname, client_context(hop)) for name, hop in hops.items()
        }
        self._routes = _routes(config)

    def abilities(self) -> Container[str] | None:
        """The EHLO keywords of the default next hop as it last announced them, if it did."""
        return self._pools[DEFAULT].extensions

    async def deliver(self, outgoing: Outgoing) -> list[Fate]:
        """One fate for each recipient, in order."""
        if outgoing.next_hop or not self._routes:
            return await self._deliver_to(outgoing.next_hop, outgoing)
        ways = self._ways(outgoing.recipients)
        fates: dict[int, Fate] = {}
        parts = [_part(outgoing, positions) for positions in ways.values()]
        results = await asyncio.gather(*map(self._deliver_to, ways, parts))
        for positions, result in zip(ways.values(), results, strict=True):
            fates.update(zip(positions, result, strict=True))
        return [fates[position] for position in range(len(outgoing.recipients))]

    def ways(self, recipients: Sequence[Recipient]) -> list[list[int]]:
        """The positions of recipients, by next hop."""
        return list(self._ways(recipients).values())

    def _ways(self, recipients: Sequence[Recipient]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for position, recipient in enumerate(recipients):
            found.setdefault(self._route(recipient.address), []).append(position)
        return found

    async def get_acquainted(self) -> None:
        """Connect to the default next hop, and try until it answers: what it can do is what
        clients are offered, and the first of them should not be offered more."""
        wait = FIRST_RETRY
        while True:
            try:
                await self._pools[DEFAULT].run(_nothing)
            except NoDelivery:
                await asyncio.sleep(wait)
                wait = min(wait * 2, LAST_RETRY)
            else:
                return

    def close(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            pool.close()

    async def _deliver_to(self, name: str, outgoing: Outgoing) -> list[Fate]:
        pool = self._pools.get(name)
        if pool is None:
            log.error("no next hop named %r is configured", name)
            fate = Deferred(Status(4, "3.5"), "next hop is not configured")
            return [fate] * len(outgoing.recipients)
        try:
            return await pool.run(partial(deliver, outgoing=outgoing))
        except NoDelivery as trouble:
            log.warning("%s:%d: %s", pool.hop.host, pool.hop.port, trouble.fate.text)
            return [trouble.fate] * len(outgoing.recipients)

    def _route(self, address: str) -> str:
        """The next hop for an address: its domain, then the nearest `*.domain`, then `*`."""
        try:
            domain = domain_key(domain_of(address))
        except BadAddress:
            return DEFAULT
        if domain in self._routes:
            return self._routes[domain]
        while (dot := domain.find(".")) >= 0:
            domain = domain[dot + 1 :]
            if f"*.{domain}" in self._routes:
                return self._routes[f"*.{domain}"]
        return self._routes.get("*", DEFAULT)


async def _nothing(_: Connection) -> None:
    """A connection was wanted, and nothing of it."""


def _part(outgoing: Outgoing, positions: Sequence[int]) -> Outgoing:
    if len(positions) == len(outgoing.recipients):
        return outgoing
    return outgoing._replace(recipients=tuple(outgoing.recipients[n] for n in positions))


def _routes(config: Config) -> dict[str, str]:
    routes: dict[str, str] = {}
    for pattern, name in config.routes.items():
        if name not in config.next_hops:
            raise AdminError(
                f"route '{pattern}' leads to '{name}', which is no next hop",
                where="routes",
                mend="name one of `next-hops`, or add it there",
            )
        routes[_route_key(pattern)] = name
    return routes


def _route_key(pattern: str) -> str:
    if pattern == "*":
        return pattern
    wildcard = "*." if pattern.startswith("*.") else ""
    try:
        return wildcard + domain_key(pattern.removeprefix("*."))
    except BadAddress as error:
        raise AdminError(
            f"route '{pattern}': {error}",
            where="routes",
            mend="write a domain, *.domain or *",
        ) from None
