"""CRLs honoured: full ones, stale, forged, newer ones, and those that cannot answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from smimefilter.base.reasons import Because
from smimefilter.trust.verdict import Standing, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, key_of, root
from tests.support.trust import codes, knowing, verdict, weakly_signed_crl

ROOT = root()
SUB = ROOT.issue("Sub CA", ca=True)
ALICE = SUB.issue("Alice", mail="alice@example.com")
BOB = SUB.issue("Bob", mail="bob@example.com")
REQUIRED = TrustRules(require_crl=True)
DAY = timedelta(days=1)


def asked(*crls, rules=REQUIRED, at=NOW, one=ALICE):
    """The verdict when these CRLs of Sub CA are known, and a good one of the root."""
    wide = {"this_update": NOW - 300 * DAY, "next_update": NOW + 300 * DAY}
    known = knowing([ROOT], [SUB], [ROOT.crl(**wide), *crls])
    return verdict(one, known, rules=rules, at=at)


def test_listed_and_not_listed():
    crl = SUB.crl([ALICE])
    assert asked(crl).standing is Standing.REVOKED
    found = asked(crl, one=BOB)
    assert found.standing is Standing.VALID
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED, Because.CRL_CHECKED]


def test_revoked_tells_when_and_why():
    crl = special_crl(SUB, [ALICE], reason=x509.ReasonFlags.key_compromise, date=NOW - 3 * DAY)
    assert "keyCompromise" in str(asked(crl).reasons[0])
    assert "2026-05-29" in str(asked(crl).reasons[0])


def test_without_a_crl():
    found = asked(rules=TrustRules())
    assert found.standing is Standing.VALID
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED, Because.NO_CRL]
    found = asked()
    assert (found.standing, codes(found)) == (
        Standing.UNTRUSTED,
        [Because.NO_CRL_REQUIRED, Because.NO_CRL],
    )


def test_a_crl_is_required_for_the_ca_too():
    found = verdict(ALICE, knowing([ROOT], [SUB], [SUB.crl()]), rules=REQUIRED)
    assert found.standing is Standing.UNTRUSTED
    assert found.reasons[1].about == SUB.thumbprint


@pytest.mark.parametrize("rules", [REQUIRED, TrustRules()])
def test_stale_still_revokes_but_clears_nobody(rules):
    stale = {"this_update": NOW - 9 * DAY, "next_update": NOW - DAY}
    assert asked(SUB.crl([ALICE], **stale), rules=rules).standing is Standing.REVOKED
    found = asked(SUB.crl(**stale), rules=rules)
    assert found.usable != rules.require_crl
    assert Because.CRL_STALE in codes(found)


def test_next_update_itself_is_in_time():
    crl = SUB.crl(next_update=NOW)
    assert asked(crl).usable
    assert not asked(crl, at=NOW + timedelta(microseconds=1)).usable


def test_max_crl_age():
    crl = SUB.crl(this_update=NOW - 2 * DAY)
    for days, usable in ((3, True), (2, True), (1, False)):
        rules = TrustRules(require_crl=True, max_crl_age=days * DAY)
        known = knowing([ROOT], [SUB], [ROOT.crl(), crl])
        assert verdict(ALICE, known, rules=rules).usable == usable
    forever = TrustRules(require_crl=True, max_crl_age=timedelta.max)
    assert verdict(ALICE, knowing([ROOT], [SUB], [ROOT.crl(), crl]), rules=forever).usable


@pytest.mark.parametrize("newer_first", [False, True])
def test_a_newer_crl_beats_an_older_one(newer_first):
    older = special_crl(
        SUB, [ALICE], reason=x509.ReasonFlags.certificate_hold, this_update=NOW - 2 * DAY
    )
    newer = SUB.crl([BOB], number=2)
    crls = [newer, older] if newer_first else [older, newer]
    assert asked(*crls).standing is Standing.VALID
    assert asked(*crls, one=BOB).standing is Standing.REVOKED


def test_a_newer_stale_crl_still_beats_an_older_one():
    older = SUB.crl(this_update=NOW - 9 * DAY, next_update=NOW + DAY)
    newer = SUB.crl(this_update=NOW - 5 * DAY, next_update=NOW - DAY, number=2)
    assert codes(asked(older, newer))[1:] == [Because.CRL_STALE]


def test_a_forged_crl_neither_revokes_nor_clears():
    key = key_of("rsa2048", "Mallory")
    forged = special_crl(SUB, [ALICE], key=key, number=9)
    found = asked(forged, rules=TrustRules())
    assert found.standing is Standing.VALID
    assert Because.CRL_INVALID in codes(found)
    assert not asked(special_crl(SUB, key=key)).usable
    assert asked(forged, SUB.crl()).standing is Standing.VALID


def test_a_crl_of_another_name_is_not_asked():
    assert codes(asked(special_crl(SUB, name="Else CA")))[1:] == [Because.NO_CRL]


def test_a_ca_that_may_not_sign_crls():
    mute = ROOT.issue("Mute CA", ca=True, key_usage=frozenset({"keyCertSign"}))
    carol = mute.issue("Carol", mail="carol@example.com")
    known = knowing([ROOT], [mute], [ROOT.crl(), mute.crl()])
    found = verdict(carol, known, rules=REQUIRED)
    assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INVALID]


def test_a_crl_by_the_new_key_of_the_ca_on_the_path():
    new = ROOT.issue("Roll CA", ca=True, key="p256")
    old_by_new = new.issue("Roll CA", ca=True)
    carol = old_by_new.issue("Carol", mail="carol@example.com")
    crls = [ROOT.crl(), new.crl()]
    found = verdict(carol, knowing([ROOT], [new, old_by_new], crls), rules=REQUIRED)
    assert found.standing is Standing.VALID
    crls = [ROOT.crl(), new.crl([carol])]
    found = verdict(carol, knowing([ROOT], [new, old_by_new], crls), rules=REQUIRED)
    assert found.standing is Standing.REVOKED


@pytest.mark.parametrize(
    "special",
    [
        {"delta_of": 1, "number": 2},
        {"scope": {"url": "http://crl.example.com/part.crl"}},
        {"scope": {"only_some_reasons": frozenset({x509.ReasonFlags.key_compromise})}},
        {"scope": {"only_contains_ca_certs": True}},
        {"unknown": True},
    ],
)
def test_what_cannot_clear_can_revoke(special):
    found = asked(special_crl(SUB, **special))
    assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]
    for rules in (REQUIRED, TrustRules()):
        assert asked(special_crl(SUB, [ALICE], **special), rules=rules).standing is (
            Standing.REVOKED
        )
    assert asked(special_crl(SUB, **special), SUB.crl()).standing is Standing.VALID


def test_an_unknown_critical_entry_extension():
    crl = special_crl(SUB, [ALICE], unknown_in_entry=True)
    assert asked(crl).standing is Standing.REVOKED
    assert codes(asked(crl, one=BOB)) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]


def test_crls_about_other_things_say_nothing():
    found = asked(special_crl(SUB, [ALICE], scope={"only_contains_attribute_certs": True}))
    assert (found.standing, codes(found)) == (
        Standing.UNTRUSTED,
        [Because.NO_CRL_REQUIRED, Because.CRL_INVALID],
    )


def test_a_crl_for_users_clears_users():
    crl = special_crl(SUB, scope={"only_contains_user_certs": True})
    assert asked(crl).standing is Standing.VALID
    for_cas = special_crl(ROOT, scope={"only_contains_user_certs": True})
    found = verdict(ALICE, knowing([ROOT], [SUB], [SUB.crl(), for_cas]), rules=REQUIRED)
    assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]


def test_remove_from_crl_is_no_revocation():
    removed = x509.ReasonFlags.remove_from_crl
    delta = special_crl(SUB, [ALICE], reason=removed, delta_of=1, number=2)
    assert asked(delta, SUB.crl()).standing is Standing.VALID


def test_looking_back_in_time():
    crl = special_crl(SUB, [ALICE], date=NOW - DAY)
    assert asked(crl, at=NOW - 2 * DAY, rules=TrustRules()).usable
    assert asked(crl, at=NOW - DAY, rules=TrustRules()).standing is Standing.REVOKED
    assert not asked(crl, at=NOW - 2 * DAY).usable
    announced = special_crl(SUB, [ALICE], date=NOW + DAY)
    assert asked(announced).standing is Standing.REVOKED


def test_weakly_signed_crls_do_not_clear():
    weak_ca = root("Weak Digest CA")
    carol = weak_ca.issue("Carol", mail="carol@example.com")
    crl = weakly_signed_crl(weak_ca.crl(), weak_ca, "sha1")
    found = verdict(carol, knowing([weak_ca], [], [crl]), rules=REQUIRED)
    assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]
    relaxed = TrustRules(require_crl=True, allow_sha1=True)
    assert verdict(carol, knowing([weak_ca], [], [crl]), rules=relaxed).usable
    listing = weakly_signed_crl(weak_ca.crl([carol]), weak_ca, "sha1")
    assert verdict(carol, knowing([weak_ca], [], [listing])).standing is Standing.REVOKED
