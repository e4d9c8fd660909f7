"""What a stored CRL is worth at a moment, in a word and with the reason. Pure.

Verdicts ask the CRLs for themselves (`trust/revocation.py`); this is for people who look at the
list of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smimefilter.pki.crl import Crl
from smimefilter.plan.snapshot import Moment, trust_rules
from smimefilter.trust.issued import IssuedCrl
from smimefilter.trust.sources import newer_than, signer_of
from smimefilter.trust.strength import weak_signature
from smimefilter.trust.verdict import Purpose


class State(StrEnum):
    """In a word. Only the first clears certificates; what the others list is revoked as well,
    as long as their signer is entitled."""

    IN_FORCE = "in force"
    SUPERSEDED = "superseded"
    PAST = "past its next update"
    NOT_YET = "not yet in force"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class CrlState:
    """The word, why where that is not plain, and who signed the CRL."""

    state: State
    why: str = ""
    signer: str = ""  # subject of a certificate; empty: nobody at hand


def state_of(crl: Crl, moment: Moment) -> CrlState:
    """The state of one of the CRLs of the moment's snapshot."""
    knowledge = moment.snapshot.trust.knowledge
    issued = IssuedCrl(crl)
    link = signer_of(issued, knowledge)
    if link is None:
        return CrlState(State.INVALID, "no CA at hand signed it: import its issuer")
    signer, view = link.certificate.subject, moment.view("")
    if weak := weak_signature(issued.scheme, trust_rules(view)):
        return CrlState(State.INVALID, weak, signer)
    verdict = moment.verdict(link.certificate, Purpose.ANY, view)
    if not verdict.usable:
        reasons = "; ".join(str(reason) for reason in verdict.reasons)
        why = f"whoever signed it is {verdict.standing}: {reasons}"
        return CrlState(State.INVALID, why, signer)
    if crl.this_update > moment.now:
        return CrlState(State.NOT_YET, f"issued {crl.this_update:%Y-%m-%d %H:%M}", signer)
    newer = newer_than(issued, link, knowledge.crls_named(issued.issuer_name), moment.now)
    if newer is not None:
        why = f"by the one of {newer.crl.this_update:%Y-%m-%d %H:%M}"
        return CrlState(State.SUPERSEDED, why, signer)
    if crl.next_update is not None and crl.next_update <= moment.now:
        return CrlState(State.PAST, f"due {crl.next_update:%Y-%m-%d %H:%M}", signer)
    return CrlState(State.IN_FORCE, "", signer)
