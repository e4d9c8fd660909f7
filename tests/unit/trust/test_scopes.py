"""CRLs in parts: by point, by kind of certificate, by reason; and indirect ones."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from smimefilter.base.reasons import Because
from smimefilter.trust.verdict import Standing, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, root
from tests.support.points import directory, indirect_crl, point, pointed, relative, url
from tests.support.trust import codes, knowing, verdict

ROOT = root("Scope Root")
CA = ROOT.issue("Scope CA", ca=True, key="p256")
OTHER = ROOT.issue("Other CA", ca=True, key="p256")
REQUIRED = TrustRules(require_crl=True)
A, B = "http://crl.example.com/a.crl", "http://crl.example.com/b.crl"
KEY, HOLD = x509.ReasonFlags.key_compromise, x509.ReasonFlags.certificate_hold
SOME = frozenset({KEY, x509.ReasonFlags.ca_compromise})
REST = frozenset(x509.ReasonFlags) - SOME - {
    x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl,
}  # fmt: skip


def asked(one, *crls, rules=REQUIRED, authorities=()):
    known = knowing([ROOT], [CA, OTHER, *authorities], [ROOT.crl(), *crls])
    return verdict(one, known, rules=rules)


def at(names, **fields):
    return special_crl(CA, scope={"full_name": names, **fields})


@pytest.mark.parametrize(
    ("own", "of_crl", "clear"),
    [
        (url(A), {"full_name": url(A)}, True),
        (url(A), {"full_name": url(B)}, False),
        (url(A), {"full_name": url(B) + url(A)}, True),
        (url(A), {"only_contains_user_certs": True}, True),
        (url(A), {"only_contains_ca_certs": True}, False),
        (directory(CA, "Part"), {"full_name": directory(CA, "part ")}, True),
        (directory(CA, "Part"), {"relative_name": relative("Part")}, True),
        (relative("Part"), {"full_name": directory(CA, "Part")}, True),
        (relative("Part"), {"relative_name": relative("Part")}, True),
        (relative("Part"), {"relative_name": relative("Else")}, False),
        (directory(OTHER, "Part"), {"relative_name": relative("Part")}, False),
    ],
)
def test_a_crl_of_one_point_clears_who_names_that_point(own, of_crl, clear):
    one = pointed(CA, "Alice", [point(own)])
    found = asked(one, special_crl(CA, scope=of_crl))
    assert found.usable == clear
    if not clear:
        assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]


def test_a_crl_without_a_point_clears_everybody_and_one_with_a_point_not():
    assert asked(pointed(CA, "Alice", [point(url(A))]), CA.crl()).usable
    assert not asked(CA.issue("Bob", mail="bob@example.com"), at(url(A))).usable
    assert asked(CA.issue("Bob", mail="bob@example.com"), at(directory(CA))).usable


def test_any_of_several_points_will_do():
    one = pointed(CA, "Alice", [point(url(A)), point(url(B))])
    assert asked(one, at(url(B))).usable


def test_listed_for_another_point_is_revoked_all_the_same():
    one = pointed(CA, "Alice", [point(url(A))])
    part = {"scope": {"full_name": url(B)}, "revoked": [one]}
    older = special_crl(CA, **part, this_update=NOW - timedelta(hours=2))
    assert asked(one, at(url(A)), older).standing is not Standing.REVOKED
    assert asked(one, at(url(A)), special_crl(CA, **part)).standing is Standing.REVOKED
    newer = special_crl(CA, **part, number=2)
    assert asked(one, at(url(A)), newer).standing is Standing.REVOKED


def test_a_newer_crl_supersedes_older_ones_of_its_point_only():
    one = pointed(CA, "Alice", [point(url(A))])
    day = timedelta(days=1)
    part = {"full_name": url(A), "only_some_reasons": SOME}
    held = special_crl(CA, [one], scope=part, this_update=NOW - 2 * day)
    assert asked(one, held, special_crl(CA, scope=part)).standing is Standing.UNTRUSTED
    rest = special_crl(CA, scope=part | {"only_some_reasons": REST})
    assert asked(one, held, special_crl(CA, scope=part), rest).usable
    assert asked(one, held, rest).standing is Standing.REVOKED


def test_reasons_add_up():
    one = CA.issue("Alice", mail="alice@example.com")
    some = special_crl(CA, scope={"only_some_reasons": SOME})
    rest = special_crl(CA, scope={"only_some_reasons": REST})
    assert codes(asked(one, some)) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]
    assert codes(asked(one, rest)) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]
    assert codes(asked(one, some, rest)).count(Because.CRL_CHECKED) == 3
    for revoking in (SOME, REST):
        listing = special_crl(CA, [one], scope={"only_some_reasons": revoking}, number=2)
        assert asked(one, some, rest, listing).standing is Standing.REVOKED


def test_reasons_of_the_point_limit_those_of_the_crl():
    one = pointed(CA, "Alice", [point(url(A), SOME), point(url(B), REST)])
    assert not asked(one, at(url(A))).usable
    assert not asked(one, at(url(A)), at(url(B), only_some_reasons=SOME)).usable
    assert asked(one, at(url(A)), at(url(B))).usable


def test_an_indirect_crl_answers_for_who_names_its_issuer():
    one = pointed(CA, "Alice", [point(url(A), issuer=OTHER)])
    assert asked(one, indirect_crl(OTHER)).usable
    assert asked(one, indirect_crl(OTHER, names=url(A))).usable
    assert not asked(one, indirect_crl(OTHER, names=url(B))).usable
    assert not asked(one, indirect_crl(OTHER, flagged=False)).usable
    by_name = pointed(CA, "Alice", [point(issuer=OTHER)])
    assert asked(by_name, indirect_crl(OTHER, names=directory(OTHER))).usable
    assert not asked(CA.issue("Bob", mail="b@example.com"), indirect_crl(OTHER)).usable


def test_entries_of_an_indirect_crl_are_for_the_issuer_last_named():
    alice = pointed(CA, "Alice", [point(issuer=OTHER)])
    bob = pointed(CA, "Bob", [point(issuer=OTHER)])
    carol = pointed(OTHER, "Carol", [point(url(A))])
    before = [(carol, None), (alice, CA), (bob, None)]
    crl = indirect_crl(OTHER, before)
    assert asked(alice, crl).standing is Standing.REVOKED
    assert asked(bob, crl).standing is Standing.REVOKED
    assert asked(carol, crl).standing is Standing.REVOKED
    others = indirect_crl(OTHER, [(alice, None), (bob, ROOT), (carol, CA)])
    for one in (alice, bob, carol):
        assert asked(one, others).usable


def test_an_indirect_crl_nobody_asked_for_says_nothing():
    one = CA.issue("Bob", mail="bob@example.com")
    crl = indirect_crl(OTHER, [(one, CA)])
    found = asked(one, crl, rules=TrustRules())
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED, Because.NO_CRL]


def test_a_direct_crl_that_lists_others_clears_nobody():
    one = CA.issue("Bob", mail="bob@example.com")
    crl = indirect_crl(CA, [(pointed(OTHER, "Carol", []), OTHER)], flagged=False)
    assert codes(asked(one, crl)) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]
    revoking = indirect_crl(CA, [(one, CA)], flagged=False)
    assert asked(one, revoking).standing is Standing.REVOKED


def test_reasons_name_every_crl_used():
    one = pointed(CA, "Alice", [point(url(A), SOME, OTHER), point(url(B), REST)])
    found = asked(one, indirect_crl(OTHER), at(url(B)))
    told = [str(reason) for reason in found.reasons if reason.about == one.thumbprint]
    assert sum("2026-06-01" in text for text in told) == 2
    assert any("Other CA" in text for text in told)
