"""OCSP: whose answers count, and for what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.base.reasons import Because
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.ocsp import OcspAnswer, UnreadableOcsp, question
from smimefilter.trust import cache as cache_module
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.ocsp import LONGEST, ocsp_key
from smimefilter.trust.outline import public_key_of
from smimefilter.trust.verdict import (
    IssuerNeed,
    OcspNeed,
    Purpose,
    Standing,
    TrustRules,
    Verdict,
)
from tests.support.crls import special_crl
from tests.support.ocsp import HOUR, SIGNING, ocsp_answer, refusal
from tests.support.pki import NOW, YEAR, Issued, root
from tests.support.trust import knowing, verdict

URL = "http://ocsp.test/"
ROOT = root("Root of answers", key="p256")
SUB = ROOT.issue("Sub of answers", ca=True, key="p384")
OTHER = ROOT.issue("Other of answers", ca=True, key="p256")
BOB = SUB.issue("Bob of answers", mail="bob@x.test", key="p256", ocsp_urls=(URL,))
CAROL = SUB.issue("Carol of answers", mail="carol@x.test", key="p256", ocsp_urls=(URL,))
DELEGATE: dict[str, Any] = {
    "key": "p256", "extended_key_usage": SIGNING, "key_usage": frozenset({"digitalSignature"}),
}  # fmt: skip
RESPONDER = SUB.issue("Responder", **DELEGATE)
ASKING = TrustRules(ocsp=True)
REQUIRING = TrustRules(ocsp=True, require_crl=True)
KEY = ocsp_key(BOB.certificate, SUB.certificate)


def at_hand(answer: bytes | None, knowledge: Knowledge | None = None) -> Knowledge:
    known = knowledge or knowing([ROOT], [SUB, OTHER], [ROOT.crl()])
    return known if answer is None else known.with_answers({KEY: OcspAnswer.read(answer)})


def judged(answer: bytes | None, *, rules: TrustRules = REQUIRING, **special: Any) -> Verdict:
    return verdict(BOB, at_hand(answer, special.pop("knowledge", None)), rules=rules, **special)


def codes(found: Verdict) -> set[Because]:
    return {reason.because for reason in found.reasons}


# whose answers count


@pytest.mark.parametrize("by", [None, RESPONDER])
def test_a_good_answer_does_where_there_is_no_crl(by: Issued | None) -> None:
    found = judged(ocsp_answer(BOB, SUB, by=by))
    assert (found.standing, found.needs) == (Standing.VALID, ())
    assert Because.OCSP_GOOD in codes(found)


@pytest.mark.parametrize("by", [None, RESPONDER])
def test_one_that_says_revoked_revokes(by: Issued | None) -> None:
    found = judged(ocsp_answer(BOB, SUB, "revoked", by=by), rules=ASKING)
    assert found.standing is Standing.REVOKED
    (reason,) = [one for one in found.reasons if one.because is Because.REVOKED]
    assert "keyCompromise; OCSP answer of" in reason.detail


def impostor(**special: Any) -> Issued:
    return SUB.issue("Impostor", **(DELEGATE | special))


BAD: dict[str, bytes] = {
    "about another certificate": ocsp_answer(CAROL, SUB),
    "of another issuer": ocsp_answer(BOB, OTHER),
    "signed by a stranger": ocsp_answer(BOB, SUB, by=OTHER, certificates=()),
    "signed by a stranger who comes along": ocsp_answer(BOB, SUB, by=OTHER),
    "by the certificate itself": ocsp_answer(BOB, SUB, by=BOB),
    "by another user": ocsp_answer(BOB, SUB, by=CAROL),
    "without the delegate's certificate": ocsp_answer(BOB, SUB, by=RESPONDER, certificates=()),
    "by a delegate of another CA": ocsp_answer(BOB, SUB, by=OTHER.issue("R", **DELEGATE)),
    "by a delegate of the root": ocsp_answer(BOB, SUB, by=ROOT.issue("R", **DELEGATE)),
    "by one without the usage": ocsp_answer(BOB, SUB, by=impostor(extended_key_usage=None)),
    "by one whose key may not sign": ocsp_answer(
        BOB, SUB, by=impostor(key_usage=frozenset({"keyAgreement"}))
    ),
    "by one that has expired": ocsp_answer(
        BOB, SUB, by=impostor(not_before=NOW - YEAR, not_after=NOW - HOUR)
    ),
    "by one not valid yet": ocsp_answer(BOB, SUB, by=impostor(not_before=NOW + HOUR)),
    "by one with an unknown extension": ocsp_answer(
        BOB, SUB, by=impostor(unknown_critical=True)
    ),
    "by a weak key": ocsp_answer(BOB, SUB, by=impostor(key="rsa1024")),
    "no longer": ocsp_answer(BOB, SUB, next_update=NOW - HOUR / 60),
    "not yet": ocsp_answer(BOB, SUB, this_update=NOW + HOUR, next_update=NOW + 2 * HOUR),
    "endless and old": ocsp_answer(
        BOB, SUB, this_update=NOW - LONGEST - HOUR, next_update=None
    ),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_what_does_not_count_says_nothing_and_is_asked_for(answer: bytes) -> None:
    found = judged(answer)
    assert found.standing is Standing.UNTRUSTED
    assert {Because.NO_CRL_REQUIRED, Because.OCSP_INCONCLUSIVE} <= codes(found)
    (need,) = found.needs
    assert need == OcspNeed(KEY, BOB.certificate, SUB.certificate, (URL,))
    assert judged(answer, rules=ASKING).usable  # as it is without OCSP


@pytest.mark.parametrize("by", [None, RESPONDER])
def test_what_was_revoked_stays_so_until_a_newer_answer(by: Issued | None) -> None:
    answer = ocsp_answer(
        BOB, SUB, "revoked", by=by, this_update=NOW - 9 * HOUR, next_update=NOW - 8 * HOUR
    )
    found = judged(answer, rules=ASKING)
    assert found.standing is Standing.REVOKED
    assert found.needs  # but a newer one is wanted


def test_whoever_said_so_need_not_be_valid_any_more() -> None:
    gone = impostor(not_before=NOW - 400 * HOUR, not_after=NOW - HOUR)
    early = {"this_update": NOW - 9 * HOUR, "next_update": NOW - 8 * HOUR, "by": gone}
    assert judged(ocsp_answer(BOB, SUB, "revoked", **early)).standing is Standing.REVOKED
    late = {"this_update": NOW - HOUR / 2, "by": gone}  # it had expired when it signed
    assert judged(ocsp_answer(BOB, SUB, "revoked", **late)).standing is Standing.UNTRUSTED


def test_a_revoked_delegate_does_not_count() -> None:
    known = knowing([ROOT], [SUB], [ROOT.crl(), SUB.crl([RESPONDER])])
    answer = ocsp_answer(BOB, SUB, by=RESPONDER)
    found = judged(answer, knowledge=known)
    assert found.needs
    assert Because.OCSP_GOOD not in codes(found)


def test_nor_does_a_black_listed_one() -> None:
    known = knowing([ROOT], [SUB, RESPONDER], [ROOT.crl()], black=[RESPONDER])
    assert not judged(ocsp_answer(BOB, SUB, by=RESPONDER), knowledge=known).usable


def test_a_tampered_answer_does_not_count() -> None:
    answer = bytearray(ocsp_answer(BOB, SUB))
    answer[-1] ^= 1
    assert not judged(bytes(answer)).usable


def test_an_unknown_certificate_is_no_good_one_and_not_asked_for_again() -> None:
    found = judged(ocsp_answer(BOB, SUB, "unknown"))
    assert (found.standing, found.needs) == (Standing.UNTRUSTED, ())


def test_names_may_be_hashed_otherwise() -> None:
    assert judged(ocsp_answer(BOB, SUB, names=hashes.SHA256())).usable


# beside CRLs


def test_the_stricter_of_crl_and_ocsp_counts() -> None:
    listed = knowing([ROOT], [SUB], [ROOT.crl(), SUB.crl([BOB])])
    clear = knowing([ROOT], [SUB], [ROOT.crl(), SUB.crl()])
    assert judged(ocsp_answer(BOB, SUB), knowledge=listed).standing is Standing.REVOKED
    answer = ocsp_answer(BOB, SUB, "revoked")
    assert judged(answer, knowledge=clear).standing is Standing.REVOKED
    assert judged(ocsp_answer(BOB, SUB), knowledge=clear).standing is Standing.VALID


def test_nobody_asks_who_was_not_told_to() -> None:
    found = judged(ocsp_answer(BOB, SUB, "revoked"), rules=TrustRules())
    assert (found.standing, found.needs, found.asked) == (Standing.VALID, (), ())


def test_a_certificate_that_names_no_responder_needs_none() -> None:
    dave = SUB.issue("Dave", mail="dave@x.test", key="p256")
    assert verdict(dave, at_hand(None), rules=ASKING).needs == ()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(BAD)),
    st.booleans(),
    st.sampled_from([(), (BOB,), (CAROL,)]),
    st.booleans(),
)
def test_what_does_not_count_never_improves_a_verdict(
    bad: str, required: bool, revoked: tuple[Issued, ...], stale: bool
) -> None:
    ends = NOW - HOUR if stale else NOW + HOUR
    known = knowing([ROOT], [SUB], [ROOT.crl(), SUB.crl(revoked, next_update=ends)])
    rules = TrustRules(ocsp=True, require_crl=required)
    without, with_it = (
        judged(None, knowledge=known, rules=rules),
        judged(BAD[bad], knowledge=known, rules=rules),
    )
    assert with_it.standing is without.standing


# as long as it holds


def test_a_verdict_ends_with_the_answer_it_rests_on() -> None:
    found = judged(ocsp_answer(BOB, SUB, next_update=NOW + HOUR / 4))
    assert NOW + HOUR / 4 <= found.holds_until <= NOW + HOUR / 4 + timedelta(seconds=1)
    later = judged(ocsp_answer(BOB, SUB, next_update=NOW + HOUR / 4), at=NOW + HOUR)
    assert not later.usable


def test_a_new_answer_replaces_the_verdict_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times: list[Any] = []
    judge = cache_module.judge
    monkeypatch.setattr(cache_module, "judge", lambda *args: times.append(args) or judge(*args))

    def standing(trust: Trust, who: Issued) -> Standing:
        return trust.verdict(who.certificate, Purpose.ENCRYPT, NOW, ASKING).standing

    dave = SUB.issue("Dave", mail="dave@x.test", key="p256")
    nobody = Trust(at_hand(None))
    for _ in range(2):
        assert standing(nobody, BOB) is standing(nobody, dave) is Standing.VALID
    assert len(times) == 2
    revoked = nobody.with_answers({KEY: OcspAnswer.read(ocsp_answer(BOB, SUB, "revoked"))})
    for _ in range(2):
        assert standing(revoked, BOB) is Standing.REVOKED
        assert standing(revoked, dave) is Standing.VALID
    assert len(times) == 3  # Dave's stays
    good = revoked.with_answers({KEY: OcspAnswer.read(ocsp_answer(BOB, SUB))})
    assert standing(good, BOB) is Standing.VALID


# issuers that are missing


AIA = ("http://aia.test/sub.cer",)
ERIN = SUB.issue("Erin", mail="erin@x.test", key="p256", issuer_urls=AIA)


@pytest.mark.parametrize("fetching", [True, False])
def test_a_missing_issuer_is_a_need_where_it_may_be_fetched(fetching: bool) -> None:
    found = verdict(ERIN, knowing([ROOT]), rules=TrustRules(fetch_issuers=fetching))
    assert found.standing is Standing.UNTRUSTED
    assert found.needs == ((IssuerNeed(ERIN.certificate, AIA),) if fetching else ())


def test_no_need_where_there_is_a_path_or_no_place() -> None:
    rules = TrustRules(fetch_issuers=True)
    assert verdict(ERIN, knowing([ROOT], [SUB]), rules=rules).needs == ()
    assert verdict(BOB, knowing([ROOT]), rules=rules).needs == ()


# bytes


def test_a_question_names_its_certificate() -> None:
    from cryptography.x509 import ocsp

    asked = ocsp.load_der_ocsp_request(question(BOB.certificate, SUB.certificate, b"n" * 32))
    assert asked.serial_number == BOB.certificate.serial
    answer = OcspAnswer.read(ocsp_answer(BOB, SUB, nonce=b"n" * 32))
    (single,) = answer.singles
    assert (single.name_hash, single.key_hash) == (
        asked.issuer_name_hash,
        asked.issuer_key_hash,
    )
    assert answer.nonce == b"n" * 32


@pytest.mark.parametrize(
    "content", [b"", b"<html>", refusal(), special_crl(SUB), BOB.certificate.der]
)
def test_what_is_no_answer(content: bytes) -> None:
    with pytest.raises(UnreadableOcsp):
        OcspAnswer.read(content)


GOOD = ocsp_answer(BOB, SUB, nonce=b"n" * 32)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_damaged_answers_are_unreadable_or_do_not_count(at: int, change: int) -> None:
    answer = bytearray(GOOD)
    answer[at] ^= change
    try:
        read = OcspAnswer.read(bytes(answer))
    except UnreadableOcsp:
        return
    known = at_hand(None).with_answers({KEY: read})
    found = verdict(BOB, known, rules=REQUIRING)
    assert not found.usable or read.signed == OcspAnswer.read(GOOD).signed


@pytest.mark.parametrize("doubt", ["black-listed", "revoked", "weak"])
def test_a_doubt_about_a_delegate_takes_back_what_it_cleared_and_nothing_else(
    doubt: str,
) -> None:
    delegate = impostor(key="rsa1024") if doubt == "weak" else RESPONDER
    known = knowing(
        [ROOT],
        [SUB, delegate],
        [ROOT.crl(), *([SUB.crl([delegate, CAROL])] if doubt == "revoked" else [])],
        black=[delegate] if doubt == "black-listed" else [],
    )
    good, revoked = (
        judged(ocsp_answer(BOB, SUB, status, by=delegate), rules=ASKING, knowledge=known)
        for status in ("good", "revoked")
    )
    assert Because.OCSP_GOOD not in codes(good)
    assert revoked.standing is Standing.REVOKED


def test_an_answer_of_the_year_one_is_no_trouble() -> None:
    answer = OcspAnswer.read(ocsp_answer(BOB, SUB))
    single = answer.single_for(BOB.certificate, public_key_of(SUB.certificate.der))
    assert single is not None
    first = replace(single, this_update=datetime.min.replace(tzinfo=UTC), next_update=None)
    answer = replace(answer, singles=(first,))
    known = knowing([ROOT], [SUB, OTHER], [ROOT.crl()]).with_answers({KEY: answer})
    assert Because.OCSP_INCONCLUSIVE in codes(verdict(BOB, known, rules=ASKING))


def test_an_unreadable_certificate_that_comes_along_hides_nobody() -> None:
    """Whoever carries the answer may add what he likes."""
    answer = OcspAnswer.read(ocsp_answer(BOB, SUB, by=RESPONDER))
    junk = Certificate(b"\x30\x03\x02\x01\x01")
    answer = replace(answer, certificates=(junk, *answer.certificates))
    known = knowing([ROOT], [SUB, OTHER], [ROOT.crl()]).with_answers({KEY: answer})
    assert Because.OCSP_GOOD in codes(verdict(BOB, known, rules=ASKING))
