"""How much mail is under way at once, over all connections of a process, and whose turn it is.

A mail asks for a place before its content is sent: one of so many mails, and so many octets, as
declared by SIZE or as they come. Where there is none it waits for a while; then it is turned
away with a 4xx, and stays with its client.

Small mails and large ones have half of the octets each, and large ones no more than half of the
places. So large ones wait for each other, and small ones pass by. One mail always finds room,
however large it may be.

Of those that wait the client with the fewest mails under way comes first, then who has waited
longest: one with many connections gets no more than others. Behind a mail server that says so
by XFORWARD it is the first client that counts. A client that sends for itself alone, and may
send as slowly as it likes, has half of everything at the most.

Leaves the number of connections to `terms.py`. RFC 1870. Raises `TurnedAway`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

from smimefilter.ports.meter import Meter, NoMeter

from .syntax import Rejected

log = logging.getLogger(__name__)

MAILS: Final = 100
OCTETS: Final = 512 * 1024 * 1024
PATIENCE: Final = 30.0  # seconds
LARGE_SHARE: Final = 32  # a mail is large from one in so many octets on


class TurnedAway(Rejected):
    """There was no place within the time."""


class Ticket:
    """A mail that asks for a place, has one, or has had one."""

    __slots__ = ("_by", "client", "granted", "large", "limited", "octets")

    def __init__(self, by: Admission, client: str, octets: int, *, limited: bool) -> None:
        self._by = by
        self.client = client
        self.limited = limited
        self.octets = octets
        self.large = by.is_large(octets)
        self.granted: asyncio.Future[None] | None = None  # None: it waits for nothing

    def grow(self, octets: int) -> bool:
        """Its content has come to so many octets; whether there is room for that."""
        return octets <= self.octets or self._by.grow(self, octets)

    def leave(self) -> None:
        """It is done with."""
        self._by.leave(self)


class Admission:
    """The places. Of one event loop."""

    def __init__(
        self,
        *,
        mails: int = MAILS,
        octets: int = OCTETS,
        patience: float = PATIENCE,
        meter: Meter | None = None,
    ) -> None:
        """`octets` of contents, `patience` in seconds."""
        self._mails = mails
        self._half = max(octets // 2, 1)
        self._large_from = max(octets // LARGE_SHARE, 1)
        self._patience = patience
        self.meter = meter or NoMeter()
        self._waiting: list[Ticket] = []  # in the order they came
        self._under_way: Counter[str] = Counter()  # mails of a client
        self._of_client: Counter[tuple[str, bool]] = Counter()  # octets, by client and size
        self._held = {False: 0, True: 0}  # octets of small mails, and of large ones
        self._count = {False: 0, True: 0}
        self._told = False  # that there are more than there is room for

    def is_large(self, octets: int) -> bool:
        """Whether a mail of so many octets waits with the large ones."""
        return octets >= self._large_from

    @property
    def octets(self) -> int:
        """That are under way."""
        return self._held[False] + self._held[True]

    @property
    def mails(self) -> int:
        """That are under way."""
        return self._count[False] + self._count[True]

    async def enter(self, client: str, octets: int, *, limited: bool) -> Ticket:
        """A place for a mail of so many octets (0: not known). `limited`: the client speaks
        for nobody else. Raises `TurnedAway`."""
        ticket = Ticket(self, client, octets, limited=limited)
        if self._fits(ticket) and not self._goes_before(ticket):
            self._take(ticket)
        else:
            await self._wait(ticket)
        return ticket

    async def _wait(self, ticket: Ticket) -> None:
        ticket.granted = asyncio.get_running_loop().create_future()
        self._waiting.append(ticket)
        self._show()
        try:
            async with asyncio.timeout(self._patience):
                await ticket.granted
        except TimeoutError:
            if ticket in self._waiting:
                raise self._turned_away(ticket) from None
        except asyncio.CancelledError:
            if ticket not in self._waiting:
                self.leave(ticket)
            raise
        finally:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._show()
                self._next()

    def _turned_away(self, ticket: Ticket) -> TurnedAway:
        why = self._why(ticket) or "mails"
        self.meter.turned_away(why)
        if not self._told:  # once, until none waits
            self._told = True
            now = (
                f"{self.mails} mails, {self.octets} octets under way, {len(self._waiting)} wait"
            )
            log.warning("more mail than there is room for: %s", now)
        return TurnedAway(_REPLIES[why])

    def grow(self, ticket: Ticket, octets: int) -> bool:
        """What `Ticket.grow` says. A small one that has become large goes over to those."""
        large = self.is_large(octets)
        self._account(ticket, -1)
        before, ticket.octets, ticket.large = (ticket.octets, ticket.large), octets, large
        why = self._why(ticket)
        if why:
            ticket.octets, ticket.large = before
            self.meter.turned_away(why)
        self._account(ticket, 1)
        self._show()
        return not why

    def leave(self, ticket: Ticket) -> None:
        """Its place is free."""
        self._account(ticket, -1)
        self._show()
        self._next()

    # who may

    def _fits(self, ticket: Ticket) -> bool:
        return not self._why(ticket)

    def _why(self, ticket: Ticket) -> str:
        """Which limit keeps it out; "" if none."""
        large, octets, half = ticket.large, ticket.octets, self._half
        if self.mails >= self._mails or (
            large and self._count[large] >= max(self._mails // 2, 1)
        ):
            return "mails"
        if self._count[large] and self._held[large] + octets > half:
            return "bytes"
        if not ticket.limited:
            return ""
        under_way, of_client = (
            self._under_way[ticket.client],
            self._of_client[ticket.client, large],
        )
        if under_way >= max(self._mails // 2, 1):
            return "mails of a client"
        if under_way and of_client and of_client + octets > half // 2:
            return "bytes of a client"
        return ""

    def _goes_before(self, ticket: Ticket) -> bool:
        """Whether one of those that wait has more right to a place."""
        mine = self._under_way[ticket.client]
        return any(
            one.large is ticket.large
            and self._under_way[one.client] <= mine
            and self._why(one) in _OF_ALL
            for one in self._waiting
        )

    def _next(self) -> None:
        """Give what is free to those that wait."""
        while (chosen := self._first(large=False) or self._first(large=True)) is not None:
            self._waiting.remove(chosen)
            self._take(chosen)
            if chosen.granted is not None and not chosen.granted.done():
                chosen.granted.set_result(None)
        if not self._waiting:
            self._told = False

    def _first(self, *, large: bool) -> Ticket | None:
        """Whose turn it is, if there is room for it. Nobody passes it who may be smaller, or
        it would wait for ever; only a client's own limits keep nobody else waiting."""
        waiting = [
            (self._under_way[one.client], place, one)
            for place, one in enumerate(self._waiting)
            if one.large is large and self._why(one) in _OF_ALL
        ]
        first = min(waiting, default=None, key=lambda found: found[:2])
        return first[2] if first is not None and self._fits(first[2]) else None

    def _take(self, ticket: Ticket) -> None:
        self._account(ticket, 1)
        self._show()

    def _account(self, ticket: Ticket, sign: int) -> None:
        large, client = ticket.large, ticket.client
        self._count[large] += sign
        self._held[large] += sign * ticket.octets
        self._under_way[client] += sign
        self._of_client[client, large] += sign * ticket.octets
        if not self._under_way[client]:
            del self._under_way[client], self._of_client[client, False]
            del self._of_client[client, True]

    def _show(self) -> None:
        self.meter.load(mails=self.mails, octets=self.octets, waiting=len(self._waiting))


_OF_ALL: Final = frozenset({"", "mails", "bytes"})  # limits of all clients together
_REPLIES: Final = {
    "mails": "451 4.3.2 too many mails at once, try again later",
    "bytes": "452 4.3.1 too much mail at once, try again later",
    "mails of a client": "451 4.3.2 too many mails at once from you, try again later",
    "bytes of a client": "452 4.3.1 too much mail at once from you, try again later",
}
