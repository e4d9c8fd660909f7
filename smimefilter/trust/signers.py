"""Whose key signed a CRL, and whether it may.

The key of a CA on the path signs its CRLs, or another key of the same name, on the path or
not. One that is not needs a valid path of its own, to the root of the path that is asked
about, and its certificates must not be revoked themselves. The certificate that is asked about
may sign the CRL that answers for it only where it is named as CRL issuer in its own
distribution point, by whoever issued it.

A doubt about a signer, expired, weak, revoked, black-listed, of unknown status, takes away
what its CRLs could clear, not what they revoke.

RFC 5280 §6.3.3 (f). Raises `UnreadableCertificate` for what the path says about revocation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from smimefilter.base.reasons import Because
from smimefilter.pki.certificate import UnreadableCertificate

from .issued import IssuedCrl
from .knowledge import Knowledge
from .link import Link
from .path import path_problems
from .pkix import validate
from .search import Effort, Way, ways_to
from .span import Span
from .verdict import NO_POLICY_RULES, Purpose, TrustRules

MAX_STEPS: Final = 200  # on the ways of signers, in one judgement
MAX_CHECKS: Final = 200  # of signatures, likewise
WAY_STEPS: Final = 10  # what looking at one way of a signer costs

_DOUBTS: Final = {
    Because.EXPIRED: "whoever signed it has expired",
    Because.WEAK_ALGORITHM: "whoever signed it is weakly signed",
    Because.WEAK_KEY: "whoever signed it has a weak key",
}


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a CRL and is entitled to."""

    link: Link
    doubt: str = ""  # why its CRLs clear nobody


class Signers:
    """Finds signers for one judgement, and remembers them."""

    def __init__(
        self,
        knowledge: Knowledge,
        rules: TrustRules,
        span: Span,
        status_doubt: Callable[[Way], str],
    ) -> None:
        """`status_doubt`: why a way may be revoked, if it may."""
        self.effort: Final = Effort(MAX_STEPS, MAX_CHECKS)
        self._knowledge: Final = knowledge
        self._rules: Final = replace(rules, policies=NO_POLICY_RULES)
        self._span: Final = span
        self._status_doubt: Final = status_doubt
        self._known: Final[dict[tuple[Link, Link], Signer | None]] = {}

    def of(self, crl: IssuedCrl, way: Way) -> Signer | None:
        """Who signed a CRL that is asked about the first certificate of `way`; None when
        nobody entitled did."""
        above = [link for link in way[1:] if link.name == crl.issuer_name]
        if crl.issuer_name == way[0].name != way[0].issuer_name:
            above.insert(0, way[0])
        for link in above:
            if self._signed(crl, link):
                return Signer(link)
        return self._elsewhere(crl, way, above)

    def _signed(self, crl: IssuedCrl, link: Link) -> bool:
        try:
            return link.may_sign_crls and self.effort.proves(crl, link)
        except UnreadableCertificate:
            return False

    def _elsewhere(self, crl: IssuedCrl, way: Way, above: list[Link]) -> Signer | None:
        """A signer off the path; the first one without a doubt, if any is."""
        doubtful = None
        for link in self._knowledge.named(crl.issuer_name):
            if link in above or link.key == way[0].key:
                continue
            if not (self._knowledge.leads_somewhere(link) and self._signed(crl, link)):
                continue
            signer = self._entitled(link, way[-1])
            if signer and not signer.doubt:
                return signer
            doubtful = doubtful or signer
        return doubtful

    def _entitled(self, link: Link, anchor: Link) -> Signer | None:
        if (link, anchor) not in self._known:
            # while its own status is being asked for, it can vouch for nobody
            self._known[link, anchor] = Signer(link, "its signer's status depends on itself")
            self._known[link, anchor] = self._look(link, anchor)
        return self._known[link, anchor]

    def _look(self, link: Link, anchor: Link) -> Signer | None:
        doubtful = None
        for way in ways_to(anchor, link, self._knowledge, self.effort):
            if not self.effort.spend(WAY_STEPS):
                break
            doubt = self._doubt(way)
            if doubt == "":
                return Signer(link)
            if doubt is not None:
                doubtful = doubtful or Signer(link, doubt)
        return doubtful

    def _doubt(self, way: Way) -> str | None:
        """Why this way makes no certain signer; None when it makes no signer at all."""
        problems = path_problems(way, Purpose.ANY, self._rules, self._span)
        if any(problem.because not in _DOUBTS for problem in problems):
            return None
        if problems:  # which kept `path_problems` from looking at the rest
            invalid = validate(way, NO_POLICY_RULES)
            return None if invalid else _DOUBTS[problems[0].because]
        if any(map(self._knowledge.is_struck, way)):
            return "whoever signed it is black-listed"
        return self._status_doubt(way)
