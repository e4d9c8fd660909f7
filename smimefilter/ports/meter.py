"""What the flows count for those who watch them. `obs/` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .journal import MailRecord, Witness


class Meter(Witness, Protocol):
    """Numbers that go up, and numbers that are as they are."""

    def concerns(self, found: Mapping[tuple[str, str], int]) -> None:
        """How many certificates of active users are in trouble now: by purpose and trouble,
        every pair named."""

    def crl_sources(self, *, followed: int, failing: int) -> None:
        """How many URLs CRLs are fetched from, and from how many of them that fails."""

    def load(self, *, mails: int, octets: int, waiting: int) -> None:
        """How much mail is under way now, and how many mails wait to be let in."""

    def turned_away(self, limit: str) -> None:
        """There was no place for a connection or a mail, because of this limit."""

    def store(self, *, reachable: bool) -> None:
        """Whether the database could be read just now."""


class NoMeter:
    """Counts nothing: nobody watches."""

    def mail(self, record: MailRecord) -> None:
        """Not counted."""

    def concerns(self, found: Mapping[tuple[str, str], int]) -> None:
        """Not shown."""

    def crl_sources(self, *, followed: int, failing: int) -> None:
        """Not shown."""

    def load(self, *, mails: int, octets: int, waiting: int) -> None:
        """Not shown."""

    def turned_away(self, limit: str) -> None:
        """Not counted."""

    def store(self, *, reachable: bool) -> None:
        """Not shown."""
