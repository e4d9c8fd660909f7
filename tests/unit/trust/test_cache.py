"""Verdicts kept: as long as they hold, no longer, and not too many."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from smimefilter.base.reasons import Because, Reason
from smimefilter.pki.ocsp import OcspAnswer
from smimefilter.trust import cache as cache_module
from smimefilter.trust.cache import Trust, VerdictCache, weight
from smimefilter.trust.verdict import (
    IssuerNeed,
    OcspNeed,
    Purpose,
    Standing,
    TrustRules,
    Verdict,
)
from tests.support.ocsp import ocsp_answer
from tests.support.pki import NOW, root
from tests.support.trust import STRICT, knowing, verdict

ROOT = root()
SUB = ROOT.issue("Sub CA", ca=True)
ALICE = SUB.issue("Alice", mail="alice@example.com")
KNOWN = knowing([ROOT], [SUB], [ROOT.crl(), SUB.crl()])
DAY = timedelta(days=1)


@pytest.fixture
def judged(monkeypatch):
    """How often a verdict was made anew."""
    times = []
    judge = cache_module.judge

    def counting(*arguments):
        times.append(arguments)
        return judge(*arguments)

    monkeypatch.setattr(cache_module, "judge", counting)
    return times


def ask(trust, *, purpose=Purpose.ENCRYPT, at=NOW, rules=STRICT, one=ALICE):
    return trust.verdict(one.certificate, purpose, at, rules)


def test_asked_twice_judged_once(judged):
    trust = Trust(KNOWN)
    first = ask(trust)
    assert ask(trust, at=NOW + DAY) is first
    assert first == verdict(ALICE, KNOWN)
    assert len(judged) == 1


def test_another_purpose_or_other_rules_are_judged_apart(judged):
    trust = Trust(KNOWN)
    asked = [
        ask(trust),
        ask(trust, purpose=Purpose.SIGN),
        ask(trust, rules=TrustRules(require_crl=True)),
        ask(trust, rules=TrustRules(max_crl_age=timedelta(minutes=5))),
    ]
    assert len(judged) == len(asked)
    assert len({id(one) for one in asked}) == len(asked)


def test_not_kept_past_its_time(judged):
    trust = Trust(KNOWN)
    required = TrustRules(require_crl=True)
    assert ask(trust, rules=required).usable
    assert not ask(trust, rules=required, at=NOW + 8 * DAY).usable  # the CRL is stale by then
    assert ask(trust, rules=required).usable  # and looking back again
    end = ALICE.certificate.not_after + timedelta(microseconds=1)
    assert ask(trust, at=end).standing is Standing.EXPIRED


def test_bounded_and_keeps_what_is_asked_for(judged):
    many = [SUB.issue(f"U{n}", mail=f"u{n}@example.com", key=ALICE.key) for n in range(20)]
    cache = VerdictCache(size=8)
    trust = Trust(KNOWN, cache)
    for one in many:
        ask(trust, one=one)
        ask(trust)
        assert len(cache) <= 8
    assert len(judged) == len(many) + 1


def test_new_knowledge_new_verdicts():
    assert ask(Trust(KNOWN)).usable
    assert not ask(Trust(knowing([ROOT], [SUB], [SUB.crl([ALICE])]))).usable


def test_large_certificates_leave_room_for_fewer():
    one = ALICE.certificate
    cache = VerdictCache(octets=4 * len(one.der))
    made = [verdict(one, KNOWN, rules=TrustRules(minimum_rsa_bits=n)) for n in range(100)]
    for n, found in enumerate(made):
        cache.put(one, TrustRules(minimum_rsa_bits=n), found, len(one.der))
    assert len(cache) <= 4
    assert cache.get(one, Purpose.ENCRYPT, NOW, TrustRules(minimum_rsa_bits=99)) is made[99]


def test_what_is_kept_holds_no_bytes_of_a_certificate():
    cache = VerdictCache()
    found = verdict(ALICE, KNOWN)
    cache.put(ALICE.certificate, STRICT, found, 1)
    (key,) = cache._young
    assert key[0] == ALICE.certificate.thumbprint


def test_a_verdict_weighs_all_that_is_kept_for_it():
    """What it shares with the knowledge is there anyway."""
    of = ALICE.certificate
    bare = Verdict(Standing.UNTRUSTED, Purpose.ANY, (), (of,), NOW, NOW)
    least = weight(of, bare, KNOWN)
    assert least > len(of.der)
    assert weight(of, replace(bare, path=(of, SUB.certificate, ROOT.certificate)), KNOWN) < (
        least + len(SUB.certificate.der)
    )
    url, stranger = "http://x.test/" + "u" * 5000, root("Stranger to the cache").certificate
    needs = (OcspNeed("key", of, stranger, (url,)), IssuerNeed(stranger, (url,)))
    reasons = (Reason(Because.NO_PATH, detail="d" * 7000, source="s" * 900),)
    answer = OcspAnswer.read(ocsp_answer(ALICE, SUB))
    more = {
        "needs": (needs, 2 * len(url) + len(stranger.der)),
        "reasons": (reasons, 7900),
        "path": ((of, stranger), len(stranger.der)),
        "asked": ((("key", answer),), len(answer.der)),
    }
    for field, (value, octets) in more.items():
        assert weight(of, replace(bare, **{field: value}), KNOWN) >= least + octets, field


def test_large_verdicts_leave_room_for_fewer():
    cache = VerdictCache(octets=20 * len(ALICE.certificate.der))
    trust = Trust(KNOWN, cache)
    for n in range(100):
        ask(trust, rules=TrustRules(minimum_rsa_bits=n))
    assert len(cache) < 20
