"""What the sessions of one listener have in common: the terms they go by, and their number.

Leaves how much mail there is under way to `admission.py`, making them from the configuration
to `listener.py`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from smimefilter.base.envelope import Fate, Transaction
from smimefilter.ports.handover import Heard

from .admission import Admission
from .auth import Logins

Accept = Callable[[Transaction], Awaitable[Sequence[Fate]]]
Abilities = Callable[[], Container[str] | None]
Told = Callable[[str, Heard], None]


class Networks:
    """Client networks; tells whether a peer address is in one of them.

    Raises `ValueError` for a text that is neither a network nor an address.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]
        self._known = lru_cache(maxsize=4096)(self._look_up)

    def __contains__(self, peer: str) -> bool:
        return self._known(peer)

    def _look_up(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # of a socket that takes both families
        return any((mapped or address) in network for network in self._networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every session of a listener goes by."""

    hostname: str
    accept: Accept  # takes responsibility for a mail; its fates are the answer
    clients: Networks  # that may send without a login
    xforward_clients: Networks
    max_message_size: int  # octets
    max_recipients: int
    timeout: float  # seconds without a word from the client
    admission: Admission  # of the whole process
    originating: bool = False  # mail that is taken here is from our own people
    tls: ssl.SSLContext | None = None
    logins: Logins | None = None
    told: Told = lambda _id, _heard: None  # what became of the one reply to a mail
    abilities: Abilities = lambda: None  # EHLO keywords of the next hop; None: not known yet


class Leaving(Protocol):
    """A session, as far as the one who ends it knows it."""

    def wind_down(self) -> None:
        """End after the transaction under way."""

    def abort(self) -> None:
        """End now."""


class OpenSessions:
    """The sessions of a listener."""

    def __init__(
        self, limit: int, limit_of_a_client: int, count: Callable[[int], None] = lambda _: None
    ) -> None:
        """`count`: told of each that comes (1) and goes (-1)."""
        self._count = count
        self.stopping = False  # they end after the transaction under way
        self.retiring = False  # they end when their clients do, or are idle
        self._limit = limit
        self._limit_of_a_client = limit_of_a_client
        self._sessions: dict[Leaving, str] = {}  # the address of each one's client
        self._of_clients: Counter[str] = Counter()
        self.none_left = asyncio.Event()
        self.none_left.set()

    def admit(self, session: Leaving, client: str, *, limited: bool) -> str:
        """Which limit keeps it out; "" where it has a place from now on. `limited`: nobody else
        is behind this client, and it may not take all places."""
        if self.stopping or len(self._sessions) >= self._limit:
            return "connections"
        if limited and self._of_clients[client] >= self._limit_of_a_client:
            return "connections of a client"
        self._sessions[session] = client
        self._of_clients[client] += 1
        self._count(1)
        self.none_left.clear()
        return ""

    def leave(self, session: Leaving) -> None:
        """Give the place back; may be said twice."""
        client = self._sessions.pop(session, None)
        if client is not None:
            self._count(-1)
            self._of_clients[client] -= 1
            if not self._of_clients[client]:
                del self._of_clients[client]
        if not self._sessions:
            self.none_left.set()

    def each(self) -> list[Leaving]:
        """Those open at this moment."""
        return list(self._sessions)
