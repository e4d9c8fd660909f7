"""What the sessions of one listener have in common: the terms they go by, and their number.

Leaves making them from the configuration to `listener.py`.
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
    """The sessions of a listener, and the octets of content that they are receiving."""

    def __init__(self, limit: int, limit_of_a_client: int, room: int) -> None:
        self.stopping = False
        self.held = 0
        self.room = room
        self._limit = limit
        self._limit_of_a_client = limit_of_a_client
        self._sessions: dict[Leaving, str] = {}  # the address of each one's client
        self._of_clients: Counter[str] = Counter()
        self.none_left = asyncio.Event()
        self.none_left.set()

    def admit(self, session: Leaving, client: str, *, limited: bool) -> bool:
        """Whether there is a place for it; if so, it takes it. `limited`: nobody else is behind
        this client, and it may not take all places."""
        if self.stopping or len(self._sessions) >= self._limit:
            return False
        if limited and self._of_clients[client] >= self._limit_of_a_client:
            return False
        self._sessions[session] = client
        self._of_clients[client] += 1
        self.none_left.clear()
        return True

    def leave(self, session: Leaving) -> None:
        """Give the place back; may be said twice."""
        client = self._sessions.pop(session, None)
        if client is not None:
            self._of_clients[client] -= 1
            if not self._of_clients[client]:
                del self._of_clients[client]
        if not self._sessions:
            self.none_left.set()

    def each(self) -> list[Leaving]:
        """Those open at this moment."""
        return list(self._sessions)
