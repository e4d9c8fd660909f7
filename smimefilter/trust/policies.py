"""Certificate policies along a path: which are valid, mapped, required.

The valid policies are a graph with a layer for each certificate, as RFC 9618 has it in place of
RFC 5280's tree, whose size could be driven beyond all bounds.

RFC 5280 §6.1.2 to §6.1.5 as RFC 9618 §5 changes them. Raises `UnreadableCertificate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from smimefilter.pki import tlv
from smimefilter.pki.certificate import Certificate, UnreadableCertificate

from .verdict import ANY_POLICY, PolicyRules

ANY: Final = "2.5.29.32.0"
_MAPPINGS: Final = x509.ObjectIdentifier("2.5.29.33")
_MOST: Final = 256  # policies or mappings of one certificate


@dataclass(frozen=True, slots=True)
class Policies:
    """What one certificate says on policies; dotted OIDs."""

    asserted: frozenset[str] | None = None  # None: no word on it
    mappings: dict[str, frozenset[str]] = field(default_factory=dict)  # issuer's: subject's
    require_explicit: int | None = None  # certificates until it holds
    inhibit_mapping: int | None = None
    inhibit_any: int | None = None


def policies_of(certificate: Certificate) -> Policies:
    """Read what a certificate says."""
    asserted, require, inhibit_mapping, inhibit_any = None, None, None, None
    mappings: dict[str, frozenset[str]] = {}
    for extension in certificate.extensions:
        match extension.value:
            case x509.CertificatePolicies() as value:
                asserted = frozenset(policy.policy_identifier.dotted_string for policy in value)
            case x509.PolicyConstraints() as value:
                require = value.require_explicit_policy
                inhibit_mapping = value.inhibit_policy_mapping
            case x509.InhibitAnyPolicy() as value:
                inhibit_any = value.skip_certs
            case x509.UnrecognizedExtension(oid=oid, value=der) if oid == _MAPPINGS:
                mappings = _mappings(der)
            case _:
                pass
    if len(asserted or ()) > _MOST or sum(map(len, mappings.values())) > _MOST:
        raise UnreadableCertificate(f"it has more than {_MOST} policies")
    return Policies(asserted, mappings, require, inhibit_mapping, inhibit_any)


class PolicyState:
    """The policy variables of one path, walked from the root down."""

    def __init__(self, rules: PolicyRules, length: int) -> None:
        """`length`: certificates below the root."""
        self._accepted: Final = frozenset(
            ANY if policy == ANY_POLICY else policy for policy in rules.accepted
        )
        self._graph: Final = _Graph()
        self._explicit = 0 if rules.require_explicit else length + 1
        self._mapping = 0 if rules.inhibit_mapping else length + 1
        self._any = 0 if rules.inhibit_any else length + 1

    def take(self, policies: Policies, *, self_issued: bool, last: bool) -> str:
        """One certificate; what is wrong with its policies, if anything is."""
        any_counts = self._any > 0 or (self_issued and not last)
        self._graph.add_layer(policies.asserted, any_counts)
        if not self._explicit and not self._graph.layers:
            return "none of its policies is valid, and one is required"
        return self._finish(policies) if last else self._pass(policies, self_issued)

    def _pass(self, policies: Policies, self_issued: bool) -> str:
        for issuer, subjects in policies.mappings.items():
            if issuer == ANY or ANY in subjects:
                return "it maps anyPolicy"
        self._graph.map(policies.mappings, self._mapping > 0)
        step = 0 if self_issued else 1
        self._explicit = _least(self._explicit - step, policies.require_explicit)
        self._mapping = _least(self._mapping - step, policies.inhibit_mapping)
        self._any = _least(self._any - step, policies.inhibit_any)
        return ""

    def _finish(self, policies: Policies) -> str:
        self._explicit = max(self._explicit - 1, 0)
        if policies.require_explicit == 0:
            self._explicit = 0
        if self._explicit or self._graph.reaches(self._accepted):
            return ""
        return "none of the accepted policies is valid for it, and one is required"


@dataclass(slots=True, eq=False)
class _Node:
    policy: str
    expected: frozenset[str]
    parents: list[_Node]
    children: int = 0


class _Graph:
    """Valid policies, a layer for each certificate; no layers when no policy is valid."""

    def __init__(self) -> None:
        self.layers: list[dict[str, _Node]] = [{ANY: _Node(ANY, frozenset((ANY,)), [])}]

    def add_layer(self, asserted: frozenset[str] | None, any_counts: bool) -> None:
        if asserted is None:
            self.layers = []
        if asserted is None or not self.layers:
            return
        above = self.layers[-1]
        expecting: dict[str, list[_Node]] = {}
        for node in above.values():
            for policy in node.expected:
                expecting.setdefault(policy, []).append(node)
        self.layers.append({})
        for policy in asserted - {ANY}:
            if parents := expecting.get(policy) or expecting.get(ANY):
                self._add(policy, frozenset((policy,)), parents)
        if ANY in asserted and any_counts:
            for policy, parents in expecting.items():
                if policy not in self.layers[-1]:
                    self._add(policy, frozenset((policy,)), parents)
        self._prune()

    def map(self, mappings: dict[str, frozenset[str]], allowed: bool) -> None:
        layer = self.layers[-1] if self.layers else {}
        for issuer, subjects in mappings.items():
            node = layer.get(issuer)
            if allowed and node:
                node.expected = subjects
            elif allowed and ANY in layer:
                self._add(issuer, subjects, layer[ANY].parents)
            elif node:
                _drop(layer, node)
        self._prune()

    def reaches(self, accepted: frozenset[str]) -> bool:
        """Whether an accepted policy, named as in the root's domain, is valid to the end."""
        if not self.layers or ANY in accepted or ANY in self.layers[-1]:
            return bool(self.layers)
        return any(
            node.policy in accepted and node.parents[0].policy == ANY
            for layer in self.layers[1:]
            for node in layer.values()
        )

    def _add(self, policy: str, expected: frozenset[str], parents: list[_Node]) -> None:
        self.layers[-1][policy] = _Node(policy, expected, parents)
        for parent in parents:
            parent.children += 1

    def _prune(self) -> None:
        """Drop what leads to nothing in the lowest layer."""
        for layer in reversed(self.layers[:-1]):
            for node in [node for node in layer.values() if not node.children]:
                _drop(layer, node)
        if self.layers and not self.layers[0]:
            self.layers = []


def _drop(layer: dict[str, _Node], node: _Node) -> None:
    del layer[node.policy]
    for parent in node.parents:
        parent.children -= 1


def _least(counter: int, stated: int | None) -> int:
    counter = max(counter, 0)
    return counter if stated is None else min(counter, stated)


def _mappings(der: bytes) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    try:
        for _, start, end in tlv.elements(der, *tlv.whole(der, tlv.SEQUENCE)):
            pair = tlv.Cursor(der, start, end)
            issuer, subject = (_dotted(der[slice(*pair.take(tlv.OID))]) for _ in range(2))
            found.setdefault(issuer, set()).add(subject)
    except tlv.BadDer as error:
        raise UnreadableCertificate(f"its policy mappings: {error}") from None
    return {issuer: frozenset(subjects) for issuer, subjects in found.items()}


def _dotted(content: bytes) -> str:
    arcs, arc = [], 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(arc)
            arc = 0
    if not arcs or content[-1] >= 0x80:
        raise tlv.BadDer("an OID is cut off")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
