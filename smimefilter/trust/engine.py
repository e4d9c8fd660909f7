"""The verdict on a certificate: what it is worth for a purpose, at a time, and why.

In this order: the trust list's black entries (its own, then those above it), whether it is fit
for the purpose, the trust list's white entry, its validity in time, the paths to a root, and
revocation. Of several paths the best one speaks; what was wrong with the others is told with
the way they took. The order and the trust list's reach: `docs/decisions/0004-trust-list.md`.

Fails closed: a certificate that cannot be read gets a verdict saying so. Never raises for a
certificate, whatever its bytes. Pure: everything known is in `Knowledge`, time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final

from smimefilter.base.reasons import Because, Reason
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.ocsp import OcspAnswer
from smimefilter.pki.usage import for_encryption, for_signing, for_verifying

from .ctl import TrustListEntry
from .knowledge import Knowledge as Knowledge  # noqa: PLC0414 - spelt so to be a re-export
from .link import Link
from .ocsp import issuer_urls
from .path import path_problems, time_problems
from .revocation import RevocationCheck
from .search import Found, Way, search
from .span import Span
from .strength import weak_key
from .verdict import IssuerNeed, Need, Purpose, Standing, TrustRules, Verdict

MOST_REASONS: Final = 16  # of one verdict
MOST_MISSING: Final = 8  # issuers that one verdict asks for, of the shortest ways
_OUT_OF_TIME: Final = {
    Because.EXPIRED: Standing.EXPIRED,
    Because.NOT_YET_VALID: Standing.NOT_YET_VALID,
}


@dataclass(frozen=True, slots=True)
class Tried:
    """One way to a root that was looked at, and why it is no valid one; none: it is."""

    way: Way
    problems: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Examination:
    """A verdict, and what was looked at for it: ways to roots in the order they were tried,
    those that need not be tried any more, and ways that end where no issuer is at hand."""

    verdict: Verdict
    tried: tuple[Tried, ...] = ()
    untried: tuple[Way, ...] = ()
    dead_ends: tuple[Way, ...] = ()


def judge(
    certificate: Certificate,
    purpose: Purpose,
    at: datetime,
    rules: TrustRules,
    knowledge: Knowledge,
) -> Verdict:
    """The verdict on `certificate`. `at` is an aware time, UTC."""
    return examine(certificate, purpose, at, rules, knowledge).verdict


def examine(
    certificate: Certificate,
    purpose: Purpose,
    at: datetime,
    rules: TrustRules,
    knowledge: Knowledge,
) -> Examination:
    """The verdict on `certificate`, with the ways that led to it. `at`: an aware time, UTC."""
    span = Span(at)
    try:
        judgement = _Judgement(knowledge.link(certificate), purpose, rules, knowledge, span)
        outcome = judgement.outcome()
    except (ValueError, TypeError, OverflowError) as error:  # as `UnreadableCertificate` is
        unreadable = Reason(Because.UNREADABLE, certificate.thumbprint, detail=str(error))
        why = (unreadable,)
        return Examination(Verdict(Standing.UNTRUSTED, purpose, why, (), span.start, span.end))
    verdict = Verdict(
        outcome.standing,
        purpose,
        _few(outcome.reasons, certificate),
        tuple(link.certificate for link in outcome.way),
        span.start,
        span.end,
        judgement.needs,
        judgement.asked,
    )
    tried, found = judgement.tried, judgement.found
    untried = found.to_roots[len(tried) :]
    return Examination(verdict, tuple(tried), tuple(untried), tuple(found.dead_ends))


class _Reach(IntEnum):
    """How far a path came; of several that fail, the one that came farthest is the best."""

    INVALID = 0
    REVOKED = 1
    NO_CRL = 2
    VALID = 3


@dataclass(frozen=True, slots=True)
class _Outcome:
    standing: Standing
    reasons: tuple[Reason, ...]
    way: Way = ()
    reach: _Reach = _Reach.INVALID

    def as_other(self) -> tuple[Reason, ...]:
        """Its reasons, told beside those of a better path."""
        names = " < ".join(link.certificate.subject for link in self.way[1:])
        return tuple(replace(reason, source=f"by way of {names}") for reason in self.reasons)


class _Judgement:
    def __init__(
        self,
        leaf: Link,
        purpose: Purpose,
        rules: TrustRules,
        knowledge: Knowledge,
        span: Span,
    ) -> None:
        self._leaf = leaf
        self._purpose = purpose
        self._rules = rules
        self._knowledge = knowledge
        self._span = span
        self._revocation = RevocationCheck(knowledge, rules, span)
        self._missing_issuers: dict[Certificate, IssuerNeed] = {}
        self.tried: list[Tried] = []
        self.found = Found()

    @property
    def needs(self) -> tuple[Need, ...]:
        """What may be had elsewhere and change the outcome."""
        return (*self._missing_issuers.values(), *self._revocation.needs.values())

    @property
    def asked(self) -> tuple[tuple[str, OcspAnswer | None], ...]:
        """The answers of OCSP that the outcome rests on, by key."""
        return tuple(self._revocation.asked.items())

    def outcome(self) -> _Outcome:
        knowledge, leaf = self._knowledge, self._leaf
        if knowledge.is_struck(leaf):
            return _Outcome(Standing.BLACK_LISTED, (self._reason(Because.BLACK_LISTED),))
        found = self.found = search(leaf, knowledge)
        if found.struck and not found.to_roots:
            return self._struck(found)
        if unsuitable := self._unsuitable():
            return _Outcome(Standing.UNSUITABLE, unsuitable)
        if entry := knowledge.trust_list.white(leaf.certificate):
            return self._white_listed(entry, found)
        if out_of_time := self._out_of_time():
            return out_of_time
        return self._best_of(found)

    def _unsuitable(self) -> tuple[Reason, ...]:
        problems: tuple[Reason, ...] = ()
        match self._purpose:
            case Purpose.ENCRYPT:
                problems = for_encryption(self._leaf.certificate)
            case Purpose.SIGN:
                problems = for_signing(self._leaf.certificate)
            case Purpose.VERIFY:
                problems = for_verifying(self._leaf.certificate)
            case Purpose.ANY:
                pass
        if detail := weak_key(self._leaf.certificate, self._rules):
            problems += (self._reason(Because.WEAK_KEY, detail),)
        return problems

    def _white_listed(self, entry: TrustListEntry, found: Found) -> _Outcome:
        if found.struck:
            best = self._best_of(found)
            if best.standing is Standing.BLACK_LISTED:
                return best
        for because, detail in time_problems(self._leaf, self._span):
            expired = because is Because.EXPIRED
            if expired and entry.allow_expired:
                continue
            told = Because.WHITE_LISTED_EXPIRED if expired else because
            return _Outcome(_OUT_OF_TIME[because], (self._reason(told, detail),))
        vouched = self._reason(Because.WHITE_LISTED, entry.note)
        return _Outcome(Standing.WHITE_LISTED, (vouched,), (self._leaf,))

    def _out_of_time(self) -> _Outcome | None:
        for because, detail in time_problems(self._leaf, self._span):
            return _Outcome(_OUT_OF_TIME[because], (self._reason(because, detail),))
        return None

    def _best_of(self, found: Found) -> _Outcome:
        failed: list[_Outcome] = []
        for way in found.to_roots:
            outcome = self._along(way)
            valid = outcome.reach is _Reach.VALID
            self.tried.append(Tried(way, () if valid else outcome.reasons))
            if valid:
                return _with_others(outcome, failed)
            failed.append(outcome)
        if found.struck:
            return _with_others(self._struck(found), failed)
        if not failed:
            return self._no_path(found)
        best = max(failed, key=lambda outcome: outcome.reach)
        if not found.complete:
            limit = (self._reason(Because.PATH_LIMIT),)
            best = replace(best, reasons=best.reasons + limit)
        return _with_others(best, [other for other in failed if other.way is not best.way])

    def _along(self, way: Way) -> _Outcome:
        problems = path_problems(way, self._purpose, self._rules, self._span)
        if problems:
            return _Outcome(Standing.UNTRUSTED, problems, way)
        checked = self._revocation.check(way)
        if checked.revoked:
            return _Outcome(Standing.REVOKED, checked.revoked, way, _Reach.REVOKED)
        if checked.cut_short:
            limit = (self._reason(Because.PATH_LIMIT), *checked.unknown)
            return _Outcome(Standing.UNTRUSTED, limit, way, _Reach.NO_CRL)
        if checked.unknown and self._rules.require_crl:
            reasons = (self._reason(Because.NO_CRL_REQUIRED), *checked.unknown)
            return _Outcome(Standing.UNTRUSTED, reasons, way, _Reach.NO_CRL)
        root = way[-1].certificate.subject
        reasons = (self._reason(Because.VALID_PATH, f"up to {root}"),)
        reasons += checked.cleared + checked.unknown
        return _Outcome(Standing.VALID, reasons, way, _Reach.VALID)

    def _struck(self, found: Found) -> _Outcome:
        way = found.struck[0]
        top = way[-1].certificate
        reason = Reason(Because.ISSUER_BLACK_LISTED, top.thumbprint, detail=top.subject)
        return _Outcome(Standing.BLACK_LISTED, (reason,), way)

    def _no_path(self, found: Found) -> _Outcome:
        if self._rules.fetch_issuers:
            for way in found.dead_ends[:MOST_MISSING]:
                self._need_issuer(way[-1])
            if not found.complete:  # others of its issuer's name may hide that it is missing
                self._need_issuer(self._leaf)
        if not found.complete:
            return _Outcome(Standing.UNTRUSTED, (self._reason(Because.PATH_LIMIT),))
        details = dict.fromkeys(self._missing(way) for way in reversed(found.dead_ends))
        reasons = tuple(self._reason(Because.NO_PATH, detail) for detail in details)
        return _Outcome(Standing.UNTRUSTED, reasons or (self._reason(Because.NO_PATH),))

    def _need_issuer(self, top: Link) -> None:
        urls = issuer_urls(top.certificate)
        if urls and not top.is_self_issued:
            self._missing_issuers[top.certificate] = IssuerNeed(top.certificate, urls)

    def _missing(self, way: Way) -> str:
        top = way[-1].certificate
        if way[-1].is_self_issued:
            return f"{top.subject} is not among the roots"
        if self._knowledge.named(way[-1].issuer_name):
            return f"{top.subject} is not signed by the key of any {top.issuer} at hand"
        return f"{top.issuer} is not at hand"

    def _reason(self, because: Because, detail: str = "") -> Reason:
        return Reason(because, about=self._leaf.certificate.thumbprint, detail=detail)


def _few(reasons: tuple[Reason, ...], about: Certificate) -> tuple[Reason, ...]:
    """So many of the reasons, the first of each kind among them, and how many more there
    are."""
    if len(reasons) <= MOST_REASONS:
        return reasons
    firsts: dict[Because, int] = {}
    for position, reason in enumerate(reasons):
        firsts.setdefault(reason.because, position)
    others = [position for position in range(len(reasons)) if position not in firsts.values()]
    told = sorted([*firsts.values(), *others[: max(0, MOST_REASONS - 1 - len(firsts))]])
    detail = str(len(reasons) - len(told))
    more = Reason(Because.MORE_REASONS, about=about.thumbprint, detail=detail)
    return (*(reasons[position] for position in told), more)


def _with_others(best: _Outcome, others: Iterable[_Outcome]) -> _Outcome:
    told = tuple(reason for other in others for reason in other.as_other())
    return replace(best, reasons=best.reasons + told)
