"""The path validation algorithm of RFC 5280 §6.1: what each certificate lets the next one be.

Signature and name chaining, basic constraints, path length, key usage, name constraints
(`subtrees.py`) and policies (`policies.py`). Of what a root says of itself, its path length and
name constraints are imposed on what is below (RFC 5937 §3.2); its policies are not, few roots
mean them so.

Times, algorithms and critical extensions are `path.py`'s. Never raises for a bad certificate.
"""

from __future__ import annotations

from smimefilter.pki.certificate import UnreadableCertificate

from .link import Link
from .policies import PolicyState
from .search import Way
from .subtrees import Subtrees
from .verdict import PolicyRules


def validate(way: Way, policies: PolicyRules) -> tuple[Link, str] | None:
    """Walk a way of at least two certificates, from its root down.

    None when it is valid; else the certificate where it failed, and how.
    """
    link = way[-1]
    try:
        walk = _Walk(way, policies)
        for link in way[-2::-1]:
            if problem := walk.step(link):
                return link, problem
    except UnreadableCertificate as error:
        return link, f"it cannot be read: {error}"
    return None


class _Walk:
    """The state of RFC 5280 §6.1.2, on the way down."""

    def __init__(self, way: Way, policies: PolicyRules) -> None:
        self._last = way[0]
        self._issuer = way[-1]
        self._policies = PolicyState(policies, len(way) - 1)
        self._subtrees: list[Subtrees] = []
        self._length = len(way) - 1  # CAs that may follow
        self._impose(way[-1])

    def step(self, link: Link) -> str:
        """What is wrong with the next certificate, if anything is."""
        last = link is self._last
        if link.issuer_name != self._issuer.name or not link.signed_by(self._issuer):
            return "it is not signed by the one above"
        if last or not link.is_self_issued:
            for subtrees in self._subtrees:
                if kind := subtrees.refused(link.names):
                    return f"the name constraints above do not allow its {kind}"
        problem = self._policies.take(link.policies, self_issued=link.is_self_issued, last=last)
        return problem or ("" if last else self._prepare(link))

    def _prepare(self, link: Link) -> str:
        """For the certificate below it: §6.1.4 (g), (k) to (n)."""
        if link.basic_constraints is None or not link.basic_constraints.ca:
            return "it is no CA"
        usage = link.certificate.key_usage
        if usage is not None and "keyCertSign" not in usage:
            return "it may not sign certificates"
        if not link.is_self_issued:
            if not self._length:
                return "the path is longer than a CA above allows"
            self._length -= 1
        self._impose(link)
        self._issuer = link
        return ""

    def _impose(self, link: Link) -> None:
        basic = link.basic_constraints
        if basic is not None and basic.path_length is not None:
            self._length = min(self._length, basic.path_length)
        if link.subtrees is not None:
            self._subtrees.append(link.subtrees)
