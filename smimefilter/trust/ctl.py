"""The certificate trust list: certificates an administrator vouches for, or has struck out.

Entries name certificates by SHA-512 thumbprint, whether the store knows them or not. What an
entry does to other certificates is `engine.py`'s: black goes down to everything issued below,
white stays where it is (`docs/decisions/0004-trust-list.md`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from smimefilter.pki.certificate import Certificate


class Listing(StrEnum):
    """How a trust list entry judges its certificate."""

    WHITE = "white"
    BLACK = "black"


@dataclass(frozen=True, slots=True)
class TrustListEntry:
    """One CTL entry, by the SHA-512 thumbprint of a certificate that need not be stored."""

    thumbprint: str
    listing: Listing
    allow_expired: bool = False
    note: str = ""


class TrustList:
    """All entries, by thumbprint. Where one certificate has both, black stands."""

    def __init__(self, entries: Iterable[TrustListEntry] = ()) -> None:
        every = tuple(entries)
        self._black: Final = _of(every, Listing.BLACK)
        self._white: Final = _of(every, Listing.WHITE)

    @property
    def has_black(self) -> bool:
        """Whether any certificate is black-listed at all."""
        return bool(self._black)

    def black(self, certificate: Certificate) -> TrustListEntry | None:
        """The entry that black-lists this very certificate, in whichever form it comes."""
        if not self._black:
            return None
        names = (certificate.thumbprint, *certificate.twins)
        return next((self._black[name] for name in names if name in self._black), None)

    def white(self, certificate: Certificate) -> TrustListEntry | None:
        """The entry that white-lists this very certificate."""
        return self._white.get(certificate.thumbprint) if self._white else None


def _of(entries: tuple[TrustListEntry, ...], listing: Listing) -> dict[str, TrustListEntry]:
    return {entry.thumbprint: entry for entry in entries if entry.listing is listing}
