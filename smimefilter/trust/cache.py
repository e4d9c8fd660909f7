"""Verdicts kept as long as they hold, and the one face of this room: `Trust`.

A verdict is kept for a certificate, a purpose and rules, of one `Knowledge`; new knowledge
comes with a new cache, so nothing has to be taken back. Answers of OCSP come one by one: they
share the cache, and a verdict that rests on one is made again when there is another. Strangers'
certificates are judged too, so what is kept is bounded in octets as well as in number: of all
that is kept for a verdict and would not be there without it. A hit costs about a microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.ocsp import OcspAnswer

from .engine import judge
from .knowledge import Knowledge
from .verdict import Need, OcspNeed, Purpose, TrustRules, Verdict

SIZE: Final = 65536  # verdicts
OCTETS: Final = 1 << 27  # that they weigh
_OBJECT: Final = 200  # octets of what holds a text or a few values

_Key = tuple[str, Purpose, TrustRules]


class VerdictCache:
    """At most `size` verdicts, that weigh so many `octets`; those not asked for go first."""

    def __init__(self, size: int = SIZE, octets: int = OCTETS) -> None:
        self._half: Final = max(1, size // 2)
        self._half_octets: Final = octets // 2
        self._octets = 0  # of the young
        self._young: dict[_Key, tuple[Verdict, int]] = {}
        self._old: dict[_Key, tuple[Verdict, int]] = {}

    def get(
        self, certificate: Certificate, purpose: Purpose, at: datetime, rules: TrustRules
    ) -> Verdict | None:
        """The verdict, if it is kept and holds at that time."""
        key = (certificate.thumbprint, purpose, rules)
        kept = self._young.get(key)
        if kept is None:
            kept = self._old.get(key)
            if kept is None:
                return None
            self._keep(key, *kept)
        verdict = kept[0]
        return verdict if verdict.holds_from <= at < verdict.holds_until else None

    def put(
        self, certificate: Certificate, rules: TrustRules, verdict: Verdict, octets: int
    ) -> None:
        """Keep a verdict that was made under `rules`. `octets`: what it weighs."""
        self._keep((certificate.thumbprint, verdict.purpose, rules), verdict, octets)

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def _keep(self, key: _Key, verdict: Verdict, octets: int) -> None:
        if len(self._young) >= self._half or self._octets + octets > self._half_octets:
            self._old, self._young, self._octets = self._young, {}, 0
        self._young[key] = verdict, octets
        self._octets += octets


class Trust:
    """Asks for verdicts on one state of knowledge. Safe to be asked from several threads."""

    def __init__(self, knowledge: Knowledge, cache: VerdictCache | None = None) -> None:
        """`cache`: one that belongs to this knowledge alone; a new one if none is given."""
        self.knowledge: Final = knowledge
        self._cache: Final = VerdictCache() if cache is None else cache

    def verdict(
        self, certificate: Certificate, purpose: Purpose, at: datetime, rules: TrustRules
    ) -> Verdict:
        """The verdict, from memory where it still holds. `at` is an aware time, UTC."""
        verdict = self._cache.get(certificate, purpose, at, rules)
        if verdict is None or (verdict.asked and not self._is_current(verdict)):
            verdict = judge(certificate, purpose, at, rules, self.knowledge)
            octets = weight(certificate, verdict, self.knowledge)
            self._cache.put(certificate, rules, verdict, octets)
        return verdict

    def verdict_among(
        self,
        certificate: Certificate,
        purpose: Purpose,
        at: datetime,
        rules: TrustRules,
        more: Sequence[Certificate],
    ) -> Verdict:
        """The same where further certificates came along, which may lead to a root."""
        verdict = self.verdict(certificate, purpose, at, rules)
        if verdict.usable or not more:
            return verdict
        return judge(certificate, purpose, at, rules, self.knowledge.with_certificates(more))

    def with_answers(self, answers: Mapping[str, OcspAnswer]) -> Trust:
        """The same with other answers of OCSP; verdicts that do not rest on them stay."""
        return Trust(self.knowledge.with_answers(answers), self._cache)

    def _is_current(self, verdict: Verdict) -> bool:
        at_hand = self.knowledge.answers
        return all(at_hand.get(key) is answer for key, answer in verdict.asked)


def weight(certificate: Certificate, verdict: Verdict, knowledge: Knowledge) -> int:
    """The octets that are kept for a verdict and would not be otherwise, about."""
    certificates = {certificate, *verdict.path}
    octets = _OBJECT * (2 + len(verdict.path))
    for need in verdict.needs:
        certificates |= _needed(need)
        octets += _OBJECT + sum(_OBJECT + len(url) for url in need.urls)
    for reason in verdict.reasons:
        octets += _OBJECT + len(reason.about) + len(reason.source) + len(reason.detail)
    for key, answer in verdict.asked:
        octets += _OBJECT + len(key) + (len(answer.der) if answer else 0)
    return octets + sum(len(one.der) for one in certificates if not knowledge.holds(one))


def _needed(need: Need) -> set[Certificate]:
    if isinstance(need, OcspNeed):
        return {need.certificate, need.issuer, *need.above}
    return {need.certificate}
