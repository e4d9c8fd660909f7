"""Delta CRLs: which complete CRL one builds on, and what both say together.

A delta and its base are one CRL, as complete and as fresh as the delta, when they are of one
issuer, key and scope and the base is not older than the one the delta counts from. A delta
alone says nothing about what it does not list.

A delta takes back what was on hold and nothing else, neither what its base lists nor what an
earlier delta did: no other reason is ever undone.

RFC 5280 §5.2.4, §5.3.1 and §6.3.3 (c), (h) to (k). Never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from smimefilter.pki.revoked import REMOVED, Revocation

from .issued import IssuedCrl
from .knowledge import newness
from .link import Link

_PASSING = frozenset({"certificateHold", REMOVED})  # reasons that end


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry that revokes, or holds, and the CRL that it is on."""

    entry: Revocation
    crl: IssuedCrl
    stays: bool = False  # though the delta says that it is taken back


def base_of(delta: IssuedCrl, complete: Iterable[IssuedCrl], signer: Link) -> IssuedCrl | None:
    """The first of these complete CRLs that a delta of `signer` can be applied to."""
    for base in complete:
        if _fits(delta, base) and base.signed_by(signer):
            return base
    return None


def listing_together(
    delta: IssuedCrl, base: IssuedCrl, crls: Iterable[IssuedCrl], signer: Link, link: Link
) -> Listed | None:
    """What a certificate is listed for by a delta of `signer` and its base together; None when
    it is not. `crls`: among them the deltas between the two."""
    change, listed = delta.listing(link), base.listing(link)
    if change is not None and change.reason != REMOVED:
        return Listed(change, delta)
    lasting = _lasting(delta, base, crls, signer, link)
    if lasting or change is not None:
        return lasting and replace(lasting, stays=change is not None)
    return Listed(listed, base) if listed else None


def takes_back(delta: IssuedCrl, earlier: IssuedCrl) -> bool:
    """Whether a delta takes back, or leaves out, what an earlier one revoked for good. Of
    indirect ones that is assumed."""
    if delta.crl.other_issuers or earlier.crl.other_issuers:
        return True
    return any(
        entry.reason not in _PASSING and _is_passing(delta.crl.find(serial))
        for serial, entry in earlier.crl.entries()
    )


def _is_passing(entry: Revocation | None) -> bool:
    return entry is None or entry.reason in _PASSING


def _lasting(
    delta: IssuedCrl, base: IssuedCrl, crls: Iterable[IssuedCrl], signer: Link, link: Link
) -> Listed | None:
    """An entry of the base, or of a delta since, whose reason does not end."""
    for crl in (*(one for one in crls if _is_between(base, one, delta)), base):
        entry = crl.listing(link)
        if entry and not _is_passing(entry) and crl.signed_by(signer):
            return Listed(entry, crl)
    return None


def _is_between(base: IssuedCrl, crl: IssuedCrl, delta: IssuedCrl) -> bool:
    """Whether it is a delta of their scope that is newer than the base and older than the
    other delta."""
    return (
        crl.crl.is_delta
        and crl.scope == delta.scope
        and newness(base) < newness(crl) < newness(delta)
    )


def _fits(delta: IssuedCrl, base: IssuedCrl) -> bool:
    change, whole = delta.crl, base.crl
    return (
        not whole.is_delta
        and change.base_number is not None
        and change.number is not None
        and whole.number is not None
        and change.base_number <= whole.number < change.number
        and whole.this_update <= change.this_update
        and base.scope == delta.scope
    )
