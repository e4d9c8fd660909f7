"""A certificate revocation list: whose, of when, for what, and what it revokes.

The signed bytes are kept as they came, so that verifying them is hashing a slice; nothing is
made an object that is not asked for.

Leaves finding a serial number to `revoked.py`, reading its scope to `points.py`; verifying the
signature, freshness and what a listing means to `trust/revocation.py`.
RFC 5280 §5. Raises `UnreadableCrl`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from . import tlv
from .points import Scope, read_scope
from .revoked import Revocation, RevokedIndex, extensions_in, time_in

_CRL_NUMBER: Final = bytes.fromhex("551d14")
_DELTA_INDICATOR: Final = bytes.fromhex("551d1b")
_DISTRIBUTION_POINT: Final = bytes.fromhex("551d1c")
_AUTHORITY_KEY: Final = bytes.fromhex("551d23")
_KEY_ID: Final = 0x80


class UnreadableCrl(ValueError):
    """Bytes that are no CRL this gateway can read; says why."""


class Crl:
    """One CRL; equal and hashable by its bytes. Made by `Crl.read`."""

    __slots__ = (
        "_index", "authority_key_id", "base_number", "count", "der", "issuer_der",
        "next_update", "number", "other_issuers", "scope", "sha256", "signature",
        "signature_algorithm", "signed_part", "this_update", "unprocessed",
    )  # fmt: skip

    def __init__(self, der: bytes, facts: _Facts, index: RevokedIndex) -> None:
        self.der: Final = der
        self.sha256: Final = hashlib.sha256(der).hexdigest()
        self.issuer_der: Final = facts.issuer_der
        self.this_update: Final = facts.this_update
        self.next_update: Final = facts.next_update
        self.number: Final = facts.number
        self.base_number: Final = facts.base_number  # not None: a delta CRL
        self.authority_key_id: Final = facts.authority_key_id
        self.scope: Final = facts.scope  # None: all certificates of its issuer
        self.signature_algorithm: Final = facts.signature_algorithm  # AlgorithmIdentifier, DER
        self.signature: Final = facts.signature
        self.signed_part: Final = facts.signed_part  # slice of `der` the signature covers
        self.unprocessed: Final = facts.unprocessed or index.unprocessed
        self.other_issuers: Final = index.other_issuers
        self.count: Final = len(index)
        self._index: Final = index

    @classmethod
    def read(cls, der: bytes) -> Crl:
        """Parse and index; about a second for a million entries. Raises `UnreadableCrl`."""
        try:
            facts = _read_facts(der)
            return cls(der, facts, RevokedIndex(der, *facts.entries))
        except (ValueError, TypeError, IndexError) as error:
            raise UnreadableCrl(f"not a CRL: {error}") from None

    @property
    def signed(self) -> memoryview:
        """The bytes the signature covers, not copied."""
        return memoryview(self.der)[self.signed_part]

    @property
    def is_delta(self) -> bool:
        """It only lists changes since another CRL."""
        return self.base_number is not None

    @property
    def is_indirect(self) -> bool:
        """It says that it lists certificates of other issuers too."""
        return self.scope is not None and self.scope.indirect

    def find(
        self, serial: int, whose: Callable[[bytes], bool] | None = None
    ) -> Revocation | None:
        """The entry for a serial number; None if not listed.

        `whose` tells, from the name of the issuer an entry is for (DER), whether it is meant;
        without it every entry is. An entry that revokes comes before one that takes a
        revocation back, and one whose date or reason cannot be read revokes since ever.
        """
        if whose is None:
            return self._index.find(serial)
        own = (self.issuer_der,)
        return self._index.find(serial, lambda names: any(map(whose, names or own)))

    def entries(self) -> Iterator[tuple[int, Revocation]]:
        """Serial number and entry of each, in no order, whosever certificates they are for."""
        return iter(self._index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Crl) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"<Crl {self.sha256[:16]} of {self.this_update:%Y-%m-%d}, {self.count} entries>"


@dataclass(slots=True)
class _Facts:
    signature_algorithm: bytes
    issuer_der: bytes
    this_update: datetime
    next_update: datetime | None = None
    signature: bytes = b""
    signed_part: slice = field(default_factory=lambda: slice(0))
    entries: tuple[int, int] = (0, 0)
    number: int | None = None
    base_number: int | None = None
    authority_key_id: bytes | None = None
    scope: Scope | None = None
    unprocessed: bool = False  # a critical extension nobody here processes


def _read_facts(der: bytes) -> _Facts:
    outer = tlv.Cursor(der, *tlv.whole(der, tlv.SEQUENCE))
    start = outer.position
    signed = outer.take(tlv.SEQUENCE)
    signed_part = slice(start, outer.position)
    outer.take(tlv.SEQUENCE)
    algorithm = der[signed_part.stop : outer.position]
    bits, bits_end = outer.take(tlv.BIT_STRING)
    outer.finish()
    facts = _read_signed(der, tlv.Cursor(der, *signed), algorithm)
    if der[bits:bits_end][:1] == b"\0":  # no unused bits, or no key will fit it
        facts.signature = der[bits + 1 : bits_end]
    facts.signed_part = signed_part
    return facts


def _read_signed(der: bytes, inner: tlv.Cursor, algorithm: bytes) -> _Facts:
    if inner.at(tlv.INTEGER):
        inner.take(tlv.INTEGER)  # version 2; version 1 has none
    start = inner.position
    inner.take(tlv.SEQUENCE)
    if der[start : inner.position] != algorithm:
        raise tlv.BadDer("it names two different signature algorithms")
    start = inner.position
    inner.take(tlv.SEQUENCE)
    facts = _Facts(algorithm, der[start : inner.position], time_in(der, inner))
    if inner.at(tlv.UTC_TIME, tlv.GENERALIZED_TIME):
        facts.next_update = time_in(der, inner)
    if inner.at(tlv.SEQUENCE):
        facts.entries = inner.take(tlv.SEQUENCE)
    if inner.at(tlv.CONTEXT_0):
        start, end = inner.take(tlv.CONTEXT_0)
        _read_extensions(der[start:end], facts)
    inner.finish()
    return facts


def _read_extensions(der: bytes, facts: _Facts) -> None:
    start, end = tlv.whole(der, tlv.SEQUENCE)
    seen = set()
    for oid, critical, value in extensions_in(der, start, end):
        if oid in seen:
            raise tlv.BadDer("an extension stands twice")
        seen.add(oid)
        if oid == _CRL_NUMBER:
            facts.number = _integer(value)
        elif oid == _DELTA_INDICATOR:
            facts.base_number = _integer(value)
        elif oid == _DISTRIBUTION_POINT:
            facts.scope = read_scope(value)
        elif critical:
            facts.unprocessed = True
        elif oid == _AUTHORITY_KEY:
            facts.authority_key_id = _key_id(value)


def _key_id(value: bytes) -> bytes | None:
    """The keyIdentifier of an AuthorityKeyIdentifier; a hint and no more."""
    try:
        inner = tlv.Cursor(value, *tlv.whole(value, tlv.SEQUENCE))
        return value[slice(*inner.take(_KEY_ID))] if inner.at(_KEY_ID) else None
    except tlv.BadDer:
        return None


def _integer(value: bytes) -> int:
    start, end = tlv.whole(value, tlv.INTEGER)
    return int.from_bytes(value[start:end], "big", signed=True)
