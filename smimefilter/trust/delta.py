"""Delta CRLs: which complete CRL one builds on, and what both say together.

A delta and its base are one CRL, as complete and as fresh as the delta, when they are of one
issuer, key and scope and the base is not older than the one the delta counts from. A delta
alone says nothing about what it does not list.

RFC 5280 §5.2.4 and §6.3.3 (c), (h) to (k). Never raises.
"""

from __future__ import annotations

from collections.abc import Iterable

from smimefilter.pki.revoked import REMOVED, Revocation

from .issued import IssuedCrl
from .link import Link

_ON_HOLD = "certificateHold"


def base_of(delta: IssuedCrl, complete: Iterable[IssuedCrl], signer: Link) -> IssuedCrl | None:
    """The first of these complete CRLs that a delta of `signer` can be applied to."""
    for base in complete:
        if _fits(delta, base) and base.signed_by(signer):
            return base
    return None


def listing_together(delta: IssuedCrl, base: IssuedCrl, link: Link) -> Revocation | None:
    """The entry of a certificate in both, taken together; None when it is not revoked.

    Only what was on hold can be taken back.
    """
    change, listed = delta.listing(link), base.listing(link)
    if change is None:
        return listed
    if change.reason != REMOVED:
        return change
    return listed if listed and listed.reason not in {_ON_HOLD, REMOVED} else None


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
