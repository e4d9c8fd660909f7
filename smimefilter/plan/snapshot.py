"""All that is known at one moment, in memory: preferences, certificates, trust, keys at hand.

A snapshot never changes; a change in the database or a policy file makes a new one, swapped
whole. A mail sees one snapshot from start to end. Lookups cost microseconds, none does I/O.

Leaves making snapshots to `flow/snapshots.py`, choosing among certificates to `selection.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from smimefilter.base.algorithms import Capabilities
from smimefilter.pki.certificate import Certificate
from smimefilter.policy.preferences import (
    ALLOW_MD5_SIGNATURES,
    ALLOW_SHA1_SIGNATURES,
    FETCH_ISSUERS,
    MAX_CRL_AGE,
    MINIMUM_RSA_BITS,
    OCSP,
    REQUIRE_CRL,
)
from smimefilter.policy.tree import Tree, View
from smimefilter.trust.cache import Trust
from smimefilter.trust.verdict import Purpose, TrustRules, Verdict

T = TypeVar("T")

NOTHING: Final[tuple[Certificate, ...]] = ()


class CertificateIndex:
    """End-user and intermediate certificates by address and by thumbprint.

    Built from pairs of a certificate and the address keys it names, so that 100 000 of them
    are indexed without parsing one.
    """

    def __init__(self, entries: Iterable[tuple[Certificate, str, tuple[str, ...]]]) -> None:
        """`entries`: certificate, thumbprint, address keys."""
        by_address: dict[str, list[Certificate]] = {}
        by_thumbprint: dict[str, Certificate] = {}
        for certificate, thumbprint, addresses in entries:
            by_thumbprint[thumbprint] = certificate
            for address in addresses:
                by_address.setdefault(address, []).append(certificate)
        self._by_address: Final = {key: tuple(found) for key, found in by_address.items()}
        self._by_thumbprint: Final = by_thumbprint

    def by_address(self, key: str) -> tuple[Certificate, ...]:
        """Certificates that name this address (key), in the order of the store."""
        return self._by_address.get(key, NOTHING)

    def by_thumbprint(self, thumbprint: str) -> Certificate | None:
        """The certificate with this SHA-512 thumbprint, or None."""
        return self._by_thumbprint.get(thumbprint)

    def __len__(self) -> int:
        return len(self._by_thumbprint)


class Spans(Generic[T]):
    """Remembers what was found out, for the span of time in which it holds; so many things
    at the most, then all is found out anew."""

    def __init__(self, most: int = 65_536) -> None:
        self._most: Final = most
        self._kept: dict[Hashable, tuple[datetime, datetime, T]] = {}

    def get(self, key: Hashable, at: datetime) -> T | None:
        """What is known under this key and holds at that time, or None."""
        found = self._kept.get(key)
        return found[2] if found and found[0] <= at < found[1] else None

    def put(self, key: Hashable, value: T, since: datetime, until: datetime) -> None:
        """Remember a value that holds in [since, until)."""
        if len(self._kept) >= self._most:
            self._kept = {}
        self._kept[key] = (since, until, value)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One state of everything a decision rests on."""

    revision: int
    tree: Tree
    certificates: CertificateIndex
    trust: Trust
    keys: frozenset[str] = frozenset()  # thumbprints of certificates with a private key
    # what correspondents' mail programs say they read, by address key
    capabilities: Mapping[str, Capabilities] = field(default_factory=dict)
    selections: Spans[Any] = field(default_factory=Spans)  # `selection.py` remembers here

    def at(self, now: datetime) -> Moment:
        """This state at a time."""
        return Moment(self, now)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A snapshot at a time: what decisions are made from."""

    snapshot: Snapshot
    now: datetime

    def view(self, address: str) -> View:
        """The preferences as they hold for an address. Raises `BadAddress`."""
        return self.snapshot.tree.view(address)

    def verdict(self, certificate: Certificate, purpose: Purpose, view: View) -> Verdict:
        """The verdict on a certificate under the trust preferences of `view`."""
        return self.snapshot.trust.verdict(certificate, purpose, self.now, trust_rules(view))


@lru_cache(maxsize=4096)
def trust_rules(view: View) -> TrustRules:
    """The trust preferences of a view (views are one object per address and tree)."""
    return TrustRules(
        require_crl=view.get(REQUIRE_CRL).value,
        max_crl_age=view.get(MAX_CRL_AGE).value,
        allow_md5=view.get(ALLOW_MD5_SIGNATURES).value,
        allow_sha1=view.get(ALLOW_SHA1_SIGNATURES).value,
        minimum_rsa_bits=view.get(MINIMUM_RSA_BITS).value,
        ocsp=view.get(OCSP).value,
        fetch_issuers=view.get(FETCH_ISSUERS).value,
    )
