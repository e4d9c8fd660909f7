"""What the CRLs at hand say about the certificates of a path.

For each certificate below the root, the CRLs of its issuer's name, signed by its issuer's key
or another key of that name on the path, are asked from the newest down. The first that lists
it revokes it; the first that could list it, does not, and is in force clears it. What a CRL
cannot answer it does not answer: a delta, a part (issuingDistributionPoint), one with critical
extensions nobody here processes, or one out of date never clears a certificate, but a listing
on it still revokes. Nothing is assumed from there being no CRL: that is said, and
`require_crl` decides.

RFC 5280 §6.3 for full CRLs; deltas are not merged, indirect CRLs are not used.
Raises `UnreadableCertificate` for the key of an issuer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smimefilter.base.reasons import Because, Reason
from smimefilter.pki.crl import Crl
from smimefilter.pki.revoked import REMOVED, Revocation

from .knowledge import Knowledge
from .link import Link
from .path import day, reason
from .search import Way
from .signature import scheme_of
from .span import Span, later
from .strength import weak_signature
from .verdict import TrustRules


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome for a whole path."""

    revoked: tuple[Reason, ...]  # not empty: a certificate of the path is revoked
    unknown: tuple[Reason, ...]  # not empty: for one of them there is no current CRL
    cleared: tuple[Reason, ...]


def check_way(way: Way, knowledge: Knowledge, rules: TrustRules, span: Span) -> Checked:
    """Ask the CRLs about every certificate of `way` but the root, at the time of `span`."""
    revoked: list[Reason] = []
    unknown: list[Reason] = []
    cleared: list[Reason] = []
    for position, link in enumerate(way[:-1]):
        signers = [above for above in way[position + 1 :] if above.name == link.issuer_name]
        asked = _Asked(link, signers, way, knowledge, rules, span)
        if found := asked.listing():
            revoked.append(found)
        elif asked.cleared_by:
            cleared.append(asked.cleared_by)
        else:
            unknown += asked.notes or [reason(Because.NO_CRL, link, way)]
    return Checked(tuple(revoked), tuple(unknown), tuple(cleared))


class _Asked:
    """The CRLs asked about one certificate, and what they could not answer."""

    def __init__(
        self,
        link: Link,
        signers: Sequence[Link],
        way: Way,
        knowledge: Knowledge,
        rules: TrustRules,
        span: Span,
    ) -> None:
        self._link = link
        self._signers = signers
        self._way = way
        self._knowledge = knowledge
        self._rules = rules
        self._span = span
        self.notes: list[Reason] = []
        self.cleared_by: Reason | None = None

    def listing(self) -> Reason | None:
        """The reason it is revoked for, if one of the CRLs says so."""
        for crl in self._knowledge.crls_named(self._link.issuer_name):
            if flaw := self._not_its_own(crl):
                self._note(Because.CRL_INVALID, crl, flaw)
                continue
            entry = crl.find(self._link.certificate.serial)
            if entry and self._counts(entry, crl):
                return self._revoked(entry, crl)
            if flaw := self._cannot_clear(crl):
                self._note(Because.CRL_INCONCLUSIVE, crl, flaw)
                continue
            if not self._span.reaches(crl.this_update):
                self._note(Because.CRL_INCONCLUSIVE, crl, "not issued yet at that time")
                continue
            if stale := self._stale(crl):
                self._note(Because.CRL_STALE, crl, stale)
            else:
                self.cleared_by = self._about(Because.CRL_CHECKED, crl)
            return None  # older ones are superseded
        return None

    def _not_its_own(self, crl: Crl) -> str:
        """Why its listings say nothing about this certificate."""
        signers = [link for link in self._signers if _may_sign_crls(link)]
        if not signers:
            return "its issuer may not sign CRLs"
        if not any(self._knowledge.is_signed(crl, signer) for signer in signers):
            return "not signed by the issuer's key"
        if crl.other_issuers or (crl.scope is not None and crl.scope.indirect):
            return "an indirect CRL"
        if crl.scope is not None and crl.scope.attributes_only:
            return "for attribute certificates only"
        return ""

    def _cannot_clear(self, crl: Crl) -> str:
        """Why not being listed says nothing, however new the CRL is."""
        if crl.is_delta:
            return "a delta CRL, lists changes only"
        if crl.unprocessed:
            return "it has a critical extension that is not understood"
        scope, is_ca = crl.scope, self._link.certificate.is_ca
        if scope is not None and (
            scope.point
            or scope.some_reasons
            or (scope.users_only and is_ca)
            or (scope.authorities_only and not is_ca)
        ):
            return "for a part of the issuer's certificates only"
        return weak_signature(scheme_of(crl.signature_algorithm), self._rules)

    def _stale(self, crl: Crl) -> str:
        span, oldest = self._span, self._rules.max_crl_age
        if crl.next_update is not None and span.is_past(crl.next_update):
            return f"next update was due {day(crl.next_update)}"
        if oldest is not None and span.is_past(later(crl.this_update, oldest)):
            return "older than policy allows"
        if crl.next_update is None and oldest is None:
            return "it does not say when the next one comes"
        return ""

    def _counts(self, entry: Revocation, crl: Crl) -> bool:
        """A revocation still to come counts only once the CRL announcing it is out."""
        if entry.reason == REMOVED:
            return False
        return self._span.reaches(crl.this_update) or self._span.reaches(entry.date)

    def _revoked(self, entry: Revocation, crl: Crl) -> Reason:
        because = f", {entry.reason}" if entry.reason else ""
        return self._about(Because.REVOKED, crl, f"{day(entry.date)}{because}; ")

    def _note(self, because: Because, crl: Crl, flaw: str) -> None:
        self.notes.append(self._about(because, crl, f"{flaw}; "))

    def _about(self, because: Because, crl: Crl, detail: str = "") -> Reason:
        number = "" if crl.number is None else f" no. {crl.number}"
        detail += f"CRL{number} of {day(crl.this_update)}"
        return reason(because, self._link, self._way, detail)


def _may_sign_crls(link: Link) -> bool:
    usage = link.certificate.key_usage
    return usage is None or "cRLSign" in usage
