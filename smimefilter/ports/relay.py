"""What the flows ask of the way out: take a copy to the next hop, bring back fates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from smimefilter.base.envelope import Client, Fate, Recipient


class Outgoing(NamedTuple):
    """One copy on its way out. `chunks` joined are the whole content, before dot-stuffing."""

    sender: str
    recipients: tuple[Recipient, ...]
    chunks: Sequence[bytes]
    params: tuple[str, ...] = ()  # of MAIL FROM; SIZE is replaced, the rest goes unmodified
    client: Client = Client()
    next_hop: str = ""  # a name of the configuration; "" is the default or routed next hop


class Relay(Protocol):
    """Delivers copies."""

    async def deliver(self, outgoing: Outgoing) -> list[Fate]:
        """One fate for each recipient, in order. Never raises for trouble of the next hop:
        that is a `Deferred` or a `Refused`."""


@runtime_checkable
class HasWays(Protocol):
    """A relay that takes recipients to several next hops."""

    def ways(self, recipients: Sequence[Recipient]) -> list[list[int]]:
        """The positions of those that go out in one go, each group by its own next hop."""
