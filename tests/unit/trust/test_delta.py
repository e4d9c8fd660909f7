"""Delta CRLs: merged with the base they fit, and never taken for more than they are."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from smimefilter.base.reasons import Because
from smimefilter.trust.verdict import Standing, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, key_of, root
from tests.support.trust import codes, knowing, verdict

ROOT = root("Delta Root", key="p256")
ALICE = ROOT.issue("Alice", mail="alice@example.com")
BOB = ROOT.issue("Bob", mail="bob@example.com")
REQUIRED = TrustRules(require_crl=True)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOLD, KEY = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.key_compromise
REMOVED = x509.ReasonFlags.remove_from_crl


def asked(*crls, one=ALICE, rules=REQUIRED, at=NOW):
    return verdict(one, knowing([ROOT], [], crls), rules=rules, at=at)


def base(revoked=(), **special):
    return special_crl(ROOT, revoked, **{"number": 5, "this_update": NOW - DAY} | special)


def delta(revoked=(), **special):
    return special_crl(ROOT, revoked, **{"number": 7, "delta_of": 5} | special)


def test_together_they_clear_and_both_are_named():
    found = asked(base(), delta())
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED]
    assert "delta CRL no. 7" in str(found.reasons[1])
    assert "CRL no. 5" in str(found.reasons[1])


def test_listed_on_either_is_revoked():
    assert asked(base([ALICE]), delta()).standing is Standing.REVOKED
    assert asked(base(), delta([ALICE])).standing is Standing.REVOKED
    assert asked(base([ALICE]), delta([BOB]), one=BOB).standing is Standing.REVOKED


def test_only_what_was_on_hold_is_taken_back():
    taken_back = delta([ALICE], reason=REMOVED)
    assert asked(base([ALICE], reason=HOLD), taken_back).usable
    assert asked(base(), taken_back).usable
    assert asked(base([ALICE], reason=KEY), taken_back).standing is Standing.REVOKED
    assert asked(base([ALICE]), taken_back).standing is Standing.REVOKED


@pytest.mark.parametrize(
    "misfit",
    [
        {"delta_of": 6},  # counts from a later base
        {"number": 5},  # not newer than the base
        {"number": None},
        {"this_update": NOW - 2 * DAY},
        {"scope": {"only_contains_user_certs": True}},
    ],
)
def test_one_that_does_not_fit_takes_nothing_back(misfit):
    taken_back = delta([ALICE], reason=REMOVED, **misfit)
    assert asked(base([ALICE], reason=HOLD), taken_back).standing is Standing.REVOKED
    assert codes(asked(taken_back))[1:] == [Because.CRL_INCONCLUSIVE]


def test_one_of_another_key_takes_nothing_back():
    other = root("Delta Root", key=key_of("p256", "another key"))
    taken_back = special_crl(other, [ALICE], reason=REMOVED, number=7, delta_of=5)
    known = knowing([ROOT, other], [], [base([ALICE], reason=HOLD), taken_back])
    assert verdict(ALICE, known, rules=REQUIRED).standing is Standing.REVOKED


def test_a_current_delta_renews_its_base():
    stale = {"next_update": NOW - HOUR}
    assert not asked(base(**stale)).usable
    assert asked(base(**stale), delta()).usable
    old = TrustRules(require_crl=True, max_crl_age=2 * HOUR)
    assert not asked(base(), rules=old).usable
    assert asked(base(), delta(), rules=old).usable


def test_a_stale_delta_leaves_its_base_as_it_is():
    stale = {"this_update": NOW - 2 * HOUR, "next_update": NOW - HOUR}
    assert asked(base(), delta(**stale)).usable
    assert asked(base(), delta([ALICE], **stale)).standing is Standing.REVOKED
    held = base([ALICE], reason=HOLD)
    assert asked(held, delta([ALICE], reason=REMOVED, **stale)).standing is Standing.REVOKED
    assert not asked(base(next_update=NOW - HOUR), delta(**stale)).usable


def test_the_newest_base_and_delta_count():
    first = delta([ALICE], reason=HOLD, number=6, this_update=NOW - 2 * HOUR)
    assert asked(base(), first).standing is Standing.REVOKED
    assert asked(base(), first, delta([ALICE], reason=REMOVED)).usable
    assert asked(base(), first, special_crl(ROOT, number=7)).usable


@pytest.mark.parametrize("lists", [REMOVED, None])
def test_no_later_delta_takes_back_what_an_earlier_one_revoked(lists):
    """Neither by saying so nor by leaving it out: only a hold ends."""
    earlier = {"number": 6, "this_update": NOW - 2 * HOUR}
    later = delta([ALICE], reason=REMOVED) if lists else delta()
    for reason in (KEY, None):
        found = asked(base(), delta([ALICE], reason=reason, **earlier), later)
        assert found.standing is Standing.REVOKED
        assert "delta CRL no. 6" in str(found.reasons[0])
        stays = "delta CRL no. 7 of 2026-06-01 11:00 UTC cannot take it back" in str(
            found.reasons[0]
        )
        assert stays is (lists is REMOVED)
    assert asked(base(), delta([ALICE], reason=HOLD, **earlier), later).usable
    before_base = {"number": 5, "delta_of": 4, "this_update": NOW - 2 * DAY}
    settled = delta([ALICE], reason=KEY, **before_base)  # by a newer complete one
    assert asked(base(number=6), settled, later).usable


def test_an_earlier_delta_of_another_key_is_none_of_this_series():
    other = root("Delta Root", key=key_of("p256", "another key"))
    revoking = special_crl(
        other, [ALICE], reason=KEY, number=6, delta_of=5, this_update=NOW - 2 * HOUR
    )
    known = knowing([ROOT], [], [base(), revoking, delta([ALICE], reason=REMOVED)])
    assert verdict(ALICE, known, rules=REQUIRED).usable  # nobody at hand signed it


def test_a_delta_that_is_not_out_yet():
    later = delta([ALICE], reason=REMOVED, this_update=NOW + HOUR)
    assert asked(base([ALICE], reason=HOLD), later).standing is Standing.REVOKED
    assert asked(base(), later).usable
    assert asked(base([ALICE], reason=HOLD), later, at=NOW + 2 * HOUR).usable


def test_a_base_with_an_unknown_critical_extension_is_none():
    assert not asked(base(unknown=True), delta()).usable
    assert asked(base([ALICE], unknown=True), delta()).standing is Standing.REVOKED
