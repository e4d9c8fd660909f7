"""Which certificates encrypt for a user, which one signs, and why the others do not.

Encryption (C10): all usable ones of those found by address, chosen by hand, and inherited.
Signing (C11): one with a private key, chosen by hand or the best by address.
Additional (C12): those of the policy, in every encrypted mail.
A certificate that is expired, unfit or untrusted is explained and never used.

Leaves trust to `trust/`, what a missing certificate means for a mail to `outbound.py`.
RFC 8550 §3 (addresses in certificates). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from typing import Final

from smimefilter.base.address import address_key
from smimefilter.base.reasons import Because, Reason
from smimefilter.pki.certificate import Certificate
from smimefilter.policy.preferences import (
    ADDITIONAL_CERTIFICATES,
    AUTO_SELECT_CERTIFICATES,
    ENCRYPTION_CERTIFICATES,
    SIGNING_CERTIFICATE,
)
from smimefilter.policy.tree import Resolved, View
from smimefilter.trust.verdict import Need, Purpose, Verdict

from .snapshot import Moment

_EVER: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that was considered: whether it is used, and why or why not."""

    thumbprint: str
    certificate: Certificate | None  # None: named by policy, not in the store
    used: bool
    reasons: tuple[Reason, ...]  # how it came to be considered first, then the verdict's
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """All candidates for one job, the usable ones first."""

    candidates: tuple[Candidate, ...]
    certificates: tuple[Certificate, ...] = field(init=False, compare=False)  # those to use
    needs: tuple[Need, ...] = field(init=False, compare=False)  # what may change the choice

    def __post_init__(self) -> None:
        used = (c.certificate for c in self.candidates if c.used and c.certificate)
        object.__setattr__(self, "certificates", tuple(used))
        needs = (need for c in self.candidates if c.verdict for need in c.verdict.needs)
        object.__setattr__(self, "needs", tuple(needs))

    @property
    def unusable(self) -> tuple[Candidate, ...]:
        """The ones considered and not used."""
        return tuple(c for c in self.candidates if not c.used)


def _remembered(find: Callable[[Moment, str], Selection]) -> Callable[[Moment, str], Selection]:
    """A selection is found once for a snapshot and an address, and holds as long as all the
    verdicts it rests on do."""

    @wraps(find)
    def remembered(moment: Moment, address: str) -> Selection:
        memory, key = moment.snapshot.selections, (find, address)
        known: Selection | None = memory.get(key, moment.now)
        if known is None:
            known = find(moment, address)
            memory.put(key, known, *holds(known))
        return known

    return remembered


def holds(selection: Selection | None) -> tuple[datetime, datetime]:
    """Since when and until when a selection stays the same of itself."""
    candidates = selection.candidates if selection else ()
    verdicts = [c.verdict for c in candidates if c.verdict]
    since = max((verdict.holds_from for verdict in verdicts), default=_EVER[0])
    until = min((verdict.holds_until for verdict in verdicts), default=_EVER[1])
    return since, until


@_remembered
def for_encryption(moment: Moment, address: str) -> Selection:
    """The encryption certificates of a user: automatic, chosen and inherited ones."""
    view = moment.view(address)
    key = address_key(address)
    found: dict[str, list[Reason]] = {}
    for thumbprint, reason in _automatic(moment, view, key):
        found.setdefault(thumbprint, []).append(reason)
    for chosen in view.collect(ENCRYPTION_CERTIFICATES):
        found.setdefault(chosen.value, []).append(_by_hand(chosen, key))
    return _judged(moment, view, Purpose.ENCRYPT, found)


@_remembered
def additional(moment: Moment, sender: str) -> Selection:
    """The additional certificates that policy adds to every encrypted mail of a sender."""
    view = moment.view(sender)
    found = {
        chosen.value: [Reason(Because.ADDITIONAL, chosen.scope, chosen.source)]
        for chosen in view.collect(ADDITIONAL_CERTIFICATES)
    }
    return _judged(moment, view, Purpose.ENCRYPT, found)


@_remembered
def for_signing(moment: Moment, address: str) -> Selection:
    """The signing certificate of a user: at most one candidate is used.

    One chosen by hand is the only candidate, used or not: a choice that has become invalid is
    shown, and never quietly replaced. Otherwise the best by address: the one valid longest.
    """
    view = moment.view(address)
    chosen = view.get(SIGNING_CERTIFICATE)
    if chosen.value is not None:
        found = {chosen.value: [_by_hand(chosen, address_key(address))]}
        return _first(_with_keys(moment, _judged(moment, view, Purpose.SIGN, found)))
    found = {}
    for thumbprint, reason in _automatic(moment, view, address_key(address)):
        found.setdefault(thumbprint, []).append(reason)
    return _first(_with_keys(moment, _judged(moment, view, Purpose.SIGN, found)))


def _automatic(moment: Moment, view: View, key: str) -> Iterable[tuple[str, Reason]]:
    """Certificates whose address matches. Where a certificate names addresses in its
    subjectAltName, those alone speak for it; one only in the subject is the old form."""
    setting = view.get(AUTO_SELECT_CERTIFICATES)
    for certificate in moment.snapshot.certificates.by_address(key):
        names = certificate.alternative_addresses or certificate.subject_addresses
        if key not in names:
            reason = Reason(Because.ADDRESS_MISMATCH, key)
        elif not setting.value:
            reason = Reason(Because.AUTO_SELECT_OFF, key, setting.source)
        else:
            reason = Reason(Because.ADDRESS_MATCH, key)
        yield certificate.thumbprint, reason


def _by_hand(chosen: Resolved[str] | Resolved[str | None], key: str) -> Reason:
    because = Because.CHOSEN if chosen.scope == key else Because.INHERITED
    return Reason(because, chosen.scope, chosen.source)


_SELECTS = frozenset(
    {Because.ADDRESS_MATCH, Because.CHOSEN, Because.INHERITED, Because.ADDITIONAL}
)


def _judged(
    moment: Moment, view: View, purpose: Purpose, found: dict[str, list[Reason]]
) -> Selection:
    candidates = []
    for thumbprint, reasons in found.items():
        certificate = moment.snapshot.certificates.by_thumbprint(thumbprint)
        if certificate is None:
            why = (*reasons, Reason(Because.NOT_IN_STORE, thumbprint))
            candidates.append(Candidate(thumbprint, None, used=False, reasons=why))
            continue
        verdict = moment.verdict(certificate, purpose, view)
        selected = any(reason.because in _SELECTS for reason in reasons)
        candidates.append(
            Candidate(
                thumbprint,
                certificate,
                used=selected and verdict.usable,
                reasons=(*reasons, *verdict.reasons),
                verdict=verdict,
            )
        )
    candidates.sort(key=lambda candidate: not candidate.used)
    return Selection(tuple(candidates))


def _with_keys(moment: Moment, selection: Selection) -> Selection:
    keys = moment.snapshot.keys
    return Selection(
        tuple(
            c if c.thumbprint in keys else _set_aside(c, Because.NO_PRIVATE_KEY)
            for c in selection.candidates
        )
    )


def _first(selection: Selection) -> Selection:
    """Keeps one usable candidate: the one valid longest; the thumbprint breaks a tie, so
    that the choice does not depend on the order of imports."""
    usable = [c for c in selection.candidates if c.used and c.certificate]
    if len(usable) < 2:
        return Selection(tuple(sorted(selection.candidates, key=lambda c: not c.used)))
    best = max(usable, key=lambda c: (_end(c), c.thumbprint))
    rest = tuple(
        c if not c.used else _set_aside(c, Because.NOT_FIRST)
        for c in selection.candidates
        if c is not best
    )
    return Selection((best, *rest))


def _end(candidate: Candidate) -> float:
    assert candidate.certificate is not None
    return candidate.certificate.not_after.timestamp()


def _set_aside(candidate: Candidate, because: Because) -> Candidate:
    reason = Reason(because, candidate.thumbprint)
    return Candidate(
        candidate.thumbprint,
        candidate.certificate,
        used=False,
        reasons=(*candidate.reasons, reason),
        verdict=candidate.verdict,
    )
