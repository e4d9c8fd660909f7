"""What the flows ask of the hand-over journal: who has a mail already, from an earlier try.

A mail and its recipients are named by digests. `prove` and `add` return when what they say
would survive a power cut. Raises `StoreTrouble` (4xx) where the journal cannot be used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import Protocol

from smimefilter.base.envelope import Delivered, Notified

Settled = Delivered | Notified  # this recipient is done with, whatever becomes of the others


class Heard(Enum):
    """What became of the reply to a mail."""

    YES = auto()  # the client spoke on, or was there to hear it and parted as it should
    PERHAPS = auto()  # it was sent, and then the connection ended
    NO = auto()  # there was nobody to send it to


class HandOvers(Protocol):
    """The journal."""

    def known(self, mail: bytes) -> Mapping[bytes, Settled]:
        """Recipients of a mail that are done with, and how. Fast: every mail is asked for."""

    def claim(self, name: bytes) -> bool:
        """Whether nobody else, in any process of this host, works on what is called so. It is
        the caller's until `release`, or until the end of the process."""

    def release(self, name: bytes) -> None:
        """Let others have it."""

    async def prove(self) -> None:
        """Make sure that it can be written."""

    async def add(self, mail: bytes, found: Mapping[bytes, Settled]) -> None:
        """Keep that these recipients are done with."""

    async def forget(self, mail: bytes, recipients: Collection[bytes]) -> None:
        """They need not be known any longer."""
