"""What the CRLs at hand say about the certificates of a path.

For each certificate below the root, the CRLs that may speak for it are asked from the newest
down, those last that no CA below a root made: those of its issuer, and those of the CRL issuers
its distribution points name. Each that
covers it, is in force and does not list it clears it for the reasons it would tell; it is clear
when all reasons are told. A newer CRL supersedes the older ones of its scope; one of a doubtful
signer only keeps them from clearing. Whatever is clear or superseded, every CRL that lists the
certificate is heard, and revokes it, unless a newer one of its own key covers the same: other
keys of the name may be those of a CA that keeps a set for each, or of another CA.

What a CRL cannot answer it does not answer: one for other certificates, a delta without its
base, one with critical extensions nobody here processes, one out of date or of a doubtful
signer never clears a certificate, but a listing on it still revokes. Nothing is assumed from
there being no CRL: that is said, and `require_crl` decides.

Where the rules say so, OCSP is asked about what no CRL revokes: an answer that counts
(`ocsp.py`) clears for all reasons or revokes, any other says nothing.

Leaves to others who may sign (`signers.py`), which CRLs cover what (`scopes.py`, `issued.py`)
and what deltas change (`delta.py`). RFC 5280 §6.3; `docs/decisions/0007-revocation.md`.
Raises `UnreadableCertificate` for what a path's certificates say about revocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from smimefilter.base.reasons import Because, Reason
from smimefilter.pki.names import NameKey
from smimefilter.pki.ocsp import OcspAnswer
from smimefilter.pki.points import ALL_REASONS
from smimefilter.pki.revoked import REMOVED, Revocation

from .delta import base_of, listing_together
from .issued import IssuedCrl
from .knowledge import Knowledge, newness
from .link import Link
from .ocsp import Told, ocsp_key, ocsp_urls, told
from .path import day, reason
from .search import Way
from .signers import Signer, Signers
from .span import Span, later
from .strength import weak_signature
from .verdict import OcspNeed, TrustRules

_Told = tuple[Because, str]
_Scope = tuple[NameKey, bytes]
_Key = bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome for a whole path."""

    revoked: tuple[Reason, ...]  # not empty: a certificate of the path is revoked
    unknown: tuple[Reason, ...]  # not empty: for one of them there is no current CRL
    cleared: tuple[Reason, ...]
    cut_short: bool  # a listing may count, but there was too much to try to know whose it is


@dataclass(slots=True)
class _Status:
    """What the CRLs told about one certificate."""

    revoked: _Told | None = None
    cleared: list[_Told] = field(default_factory=list)
    notes: list[_Told] = field(default_factory=list)
    reasons: int = 0  # for which it is cleared, bits of ReasonFlags
    cut_short: bool = False

    @property
    def is_clear(self) -> bool:
        return self.reasons == ALL_REASONS


class RevocationCheck:
    """The CRLs, asked in one judgement: at the time of `span`, by `rules`."""

    def __init__(self, knowledge: Knowledge, rules: TrustRules, span: Span) -> None:
        self._knowledge: Final = knowledge
        self._rules: Final = rules
        self._span: Final = span
        self._signers: Final = Signers(knowledge, rules, span, self._doubt)
        self._known: Final[dict[Way, _Status]] = {}
        self.asked: Final[dict[str, OcspAnswer | None]] = {}  # answers of OCSP, by key
        self.needs: Final[dict[str, OcspNeed]] = {}

    def check(self, way: Way) -> Checked:
        """Ask about every certificate of `way` but the root."""
        revoked: list[Reason] = []
        unknown: list[Reason] = []
        cleared: list[Reason] = []
        cut_short = False
        for position, link in enumerate(way[:-1]):
            status = self._status(way[position:])
            cut_short = cut_short or status.cut_short
            if status.revoked:
                told, into = [status.revoked], revoked
            elif status.is_clear:
                told, into = status.cleared, cleared
            else:
                told, into = status.notes, unknown
            into += [reason(because, link, way, detail) for because, detail in told]
        return Checked(tuple(revoked), tuple(unknown), tuple(cleared), cut_short)

    def _doubt(self, way: Way) -> str:
        """Why a signer with this way may be revoked, if it may."""
        checked = self.check(way)
        if checked.revoked or checked.cut_short:
            return "whoever signed it is revoked, or may be"
        if checked.unknown and self._rules.require_crl:
            return "whether its signer is revoked is not known"
        return ""

    def _status(self, way: Way) -> _Status:
        """Of the first certificate of `way`."""
        status = self._known.get(way)
        if status is None:
            status = self._by_crls(way)
            if self._rules.ocsp and not status.revoked:
                self._ask_ocsp(way, status)
            self._known[way] = status
        return status

    def _by_crls(self, way: Way) -> _Status:
        crls = crls_about(way[0], self._knowledge)
        return _Asked(way, crls, self._signers, self._rules, self._span).ask()

    def _ask_ocsp(self, way: Way, status: _Status) -> None:
        """Add what OCSP tells; what it does not tell is needed."""
        certificate, issuer = way[0].certificate, way[1].certificate
        urls = ocsp_urls(certificate)
        if not urls:
            return
        key = ocsp_key(certificate, issuer)
        answer = self.asked[key] = self._knowledge.answers.get(key)
        found = Told(words="not at hand")
        if answer is not None:
            found = told(
                answer, way, self._knowledge, self._rules, self._span, self.is_revoked_by_crl
            )
        match found.status:
            case "good":
                status.reasons = ALL_REASONS
                status.cleared.append((Because.OCSP_GOOD, found.words))
            case "revoked":
                status.revoked = (Because.REVOKED, found.words)
            case "unknown":
                words = f"the responder does not know it; {found.words}"
                status.notes.append((Because.OCSP_INCONCLUSIVE, words))
            case _:
                status.notes.append((Because.OCSP_INCONCLUSIVE, found.words))
        if found.wanted:
            above = tuple(link.certificate for link in way[2:])
            self.needs[key] = OcspNeed(key, certificate, issuer, urls, above, self._rules)

    def is_revoked_by_crl(self, way: Way) -> bool:
        """Whether CRLs at hand revoke the first certificate of a way, or may."""
        status = self._by_crls(way)
        return bool(status.revoked) or status.cut_short


def worth(answer: OcspAnswer, need: OcspNeed, at: datetime, knowledge: Knowledge) -> Told:
    """What an answer to `need` tells at a time: a status, if it counts at all. An answer is
    kept only when it counts, or anybody could put his in the place of the responder's. Raises
    `UnreadableCertificate`."""
    span = Span(at)
    way = tuple(map(knowledge.link, (need.certificate, need.issuer, *need.above)))
    check = RevocationCheck(knowledge, need.rules, span)
    return told(answer, way, knowledge, need.rules, span, check.is_revoked_by_crl)


def crls_about(link: Link, knowledge: Knowledge) -> Sequence[IssuedCrl]:
    """The CRLs that may speak for a certificate, in the order in which they are asked."""
    others = set[NameKey]().union(*(place.issuers for place in link.places))
    return knowledge.crls_named(link.issuer_name, *(others - {link.issuer_name}))


class _Asked:
    """The CRLs asked about the first certificate of a way."""

    def __init__(
        self,
        way: Way,
        crls: Sequence[IssuedCrl],
        signers: Signers,
        rules: TrustRules,
        span: Span,
    ) -> None:
        self._way = way
        self._link = way[0]
        self._crls = crls
        self._signers = signers
        self._rules = rules
        self._span = span
        self._status = _Status()
        self._elsewhere: IssuedCrl | None = None  # the newest that is for other certificates
        self._settled: set[tuple[_Scope, _Key]] = set()  # heard; older ones have no say
        self._superseded: set[_Scope] = set()  # by any key; older ones clear nobody
        self._in_doubt: set[_Scope] = set()  # their newest CRL is of a doubtful signer

    def ask(self) -> _Status:
        status = self._status
        for crl in self._crls:
            entry = crl.listing(self._link)
            if entry or not (status.is_clear or crl.scope in self._superseded):
                self._hear(crl, entry)
            if status.revoked:
                return status
        if status.is_clear:
            return status
        if status.cleared:
            used = ", ".join(called for _, called in status.cleared)
            detail = f"not for all reasons of revocation; {used}"
            status.notes.append((Because.CRL_INCONCLUSIVE, detail))
        elif not status.notes and self._elsewhere:
            self._note(Because.CRL_INCONCLUSIVE, self._elsewhere, "for other certificates only")
        elif not status.notes:
            status.notes.append((Because.NO_CRL, ""))
        return status

    def _hear(self, crl: IssuedCrl, entry: Revocation | None) -> None:
        """Ask one CRL; whether older ones have a say is settled then."""
        reasons = crl.reasons_for(self._link)
        if entry is None and not reasons:
            self._elsewhere = self._elsewhere or crl
            return
        signer, flaw = self._signer(crl)
        if signer is None:
            self._reject(crl, flaw, listed=entry is not None)
            return
        if self._is_replaced(crl, signer) or self._revokes(crl, signer, entry):
            return
        if self._status.is_clear or crl.scope in self._superseded:
            return
        if flaw := self._cannot_clear(crl, reasons):
            self._note(Because.CRL_INCONCLUSIVE, crl, flaw)
            return
        if not self._span.reaches(crl.crl.this_update):
            self._note(Because.CRL_INCONCLUSIVE, crl, "not issued yet at that time")
            return
        base = None
        if crl.crl.is_delta:
            base = base_of(crl, self._crls, signer.link)
            if flaw := self._cannot_build(base):
                self._note(Because.CRL_INCONCLUSIVE, crl, flaw)
                return
        if self._answers(crl, base, signer, reasons):
            self._superseded.add(crl.scope)
            self._settled.add((crl.scope, signer.link.key))

    def _is_replaced(self, crl: IssuedCrl, signer: Signer) -> bool:
        """Whether a newer CRL of its own key has taken its place, of its scope or one that
        tells all reasons. What a doubtful signer says takes nothing back."""
        if (crl.scope, signer.link.key) in self._settled:
            return True
        if signer.doubt:
            return False
        return any(self._replaces(newer, signer, crl) for newer in self._crls)

    def _replaces(self, crl: IssuedCrl, signer: Signer, other: IssuedCrl) -> bool:
        reasons = crl.reasons_for(self._link)
        return (
            newness(crl) > newness(other)
            and (crl.scope == other.scope or reasons == ALL_REASONS)
            and not crl.crl.is_delta
            and crl.listing(self._link) is None
            and not self._cannot_clear(crl, reasons)
            and self._span.reaches(crl.crl.this_update)
            and self._signers.effort.proves(crl, signer.link)
        )

    def _answers(
        self, crl: IssuedCrl, base: IssuedCrl | None, signer: Signer, reasons: int
    ) -> bool:
        """What a CRL that covers the certificate says, a delta together with its base."""
        if crl.scope in self._in_doubt:
            self._note(Because.CRL_INCONCLUSIVE, crl, "superseded by one of a doubtful signer")
            return False
        if signer.doubt:  # before all else: nothing that such a one says takes a listing back
            self._note(Because.CRL_INCONCLUSIVE, crl, signer.doubt)
            self._in_doubt.add(crl.scope)
            return False
        if stale := self._stale(crl):
            self._note(Because.CRL_STALE, crl, stale)
            return base is None  # without the delta, its base is one like any other
        if base:
            listed = listing_together(crl, base, self._crls, signer.link, self._link)
            kept_from = crl if listed and listed.stays else None
            if listed and self._revokes(listed.crl, signer, listed.entry, kept_from):
                return True
        self._status.reasons |= reasons
        detail = self._called(crl, signer) + (f" with {_called(base)}" if base else "")
        self._status.cleared.append((Because.CRL_CHECKED, detail))
        return True

    def _reject(self, crl: IssuedCrl, flaw: str, *, listed: bool) -> None:
        """A CRL of nobody entitled, unless it was too much to try who signed it."""
        self._note(Because.CRL_INVALID, crl, flaw)
        self._status.cut_short |= listed and self._signers.effort.fell_short

    def _signer(self, crl: IssuedCrl) -> tuple[Signer | None, str]:
        """Who signed it, or why its listings say nothing about this certificate."""
        if crl.crl.scope is not None and crl.crl.scope.attributes_only:
            return None, "for attribute certificates only"
        if crl.issuer_name != self._link.issuer_name and not crl.crl.is_indirect:
            return None, "its issuer's own CRL, not an indirect one"
        return self._signers.of(crl, self._way), "not signed by a key entitled to"

    def _cannot_clear(self, crl: IssuedCrl, reasons: int) -> str:
        """Why not being listed says nothing, however new the CRL is."""
        if crl.crl.unprocessed:
            return "it has a critical extension that is not understood"
        if crl.crl.other_issuers and not crl.crl.is_indirect:
            return "it lists certificates of others and is no indirect CRL"
        if not reasons:
            return "for other certificates only"
        return weak_signature(crl.scheme, self._rules)

    def _cannot_build(self, base: IssuedCrl | None) -> str:
        """Why a delta CRL says nothing about what it does not list."""
        if base is None:
            return "a delta CRL whose base is not at hand"
        flaw = self._cannot_clear(base, base.reasons_for(self._link))
        return f"a delta CRL whose base does not do: {flaw}" if flaw else ""

    def _stale(self, crl: IssuedCrl) -> str:
        span, oldest = self._span, self._rules.max_crl_age
        this_update, next_update = crl.crl.this_update, crl.crl.next_update
        if next_update is not None and span.is_past(next_update):
            return f"next update was due {day(next_update)}"
        if oldest is not None and span.is_past(later(this_update, oldest)):
            return "older than policy allows"
        if next_update is None and oldest is None:
            return "it does not say when the next one comes"
        return ""

    def _revokes(
        self,
        crl: IssuedCrl,
        signer: Signer,
        entry: Revocation | None,
        kept_from: IssuedCrl | None = None,
    ) -> bool:
        """Whether an entry revokes the certificate; it is noted then. `kept_from`: a delta CRL
        that would take it back and cannot.

        A revocation still to come counts only once the CRL announcing it is out.
        """
        if entry is None or entry.reason == REMOVED:
            return False
        span = self._span
        if not span.reaches(crl.crl.this_update) and not span.reaches(entry.date):
            return False
        because = f", {entry.reason}" if entry.reason else ""
        detail = f"{day(entry.date)}{because}; {self._called(crl, signer)}"
        if kept_from is not None:
            detail += f"; {_called(kept_from)} cannot take it back, as it was not on hold"
        self._status.revoked = (Because.REVOKED, detail)
        return True

    def _note(self, because: Because, crl: IssuedCrl, flaw: str) -> None:
        self._status.notes.append((because, f"{flaw}; {_called(crl)}"))

    def _called(self, crl: IssuedCrl, signer: Signer) -> str:
        """What a CRL is called in reasons, with its issuer where that is not the usual one."""
        if signer.link in self._way[1:]:
            return _called(crl)
        return f"{_called(crl)} signed by {signer.link.certificate.subject}"


def _called(crl: IssuedCrl) -> str:
    number = "" if crl.crl.number is None else f" no. {crl.crl.number}"
    kind = "delta CRL" if crl.crl.is_delta else "CRL"
    return f"{kind}{number} of {day(crl.crl.this_update)}"
