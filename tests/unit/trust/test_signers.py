"""Who signs CRLs: keys on the path, and others with a path of their own."""

from __future__ import annotations

from datetime import timedelta
from time import perf_counter

import pytest
from cryptography import x509

from smimefilter.base.reasons import Because
from smimefilter.trust.verdict import Purpose, Standing, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, YEAR, key_of, root
from tests.support.points import indirect_crl, point, pointed
from tests.support.trust import codes, knowing, verdict, weakly_signed

ROOT = root("Signer Root")
OTHER_ROOT = root("Other Root")
CA = ROOT.issue("Signing CA", ca=True, key="p256")
ALICE = CA.issue("Alice", mail="alice@example.com")
FOR_CRLS = {"key_usage": frozenset({"cRLSign"}), "key": "ed25519"}
SIGNER = ROOT.issue("Signing CA", **FOR_CRLS)
REQUIRED = TrustRules(require_crl=True)


def asked(signer, *, listing=(), rules=REQUIRED, one=ALICE, black=(), crls=(), roots=(ROOT,)):
    """The verdict when the one CRL of Signing CA is by `signer`."""
    every = [ROOT.crl(), signer.crl(listing), *crls]
    return verdict(one, knowing(roots, [CA, signer], every, black=black), rules=rules)


def test_another_key_of_the_name_below_the_same_root():
    found = asked(SIGNER)
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED, Because.CRL_CHECKED]
    assert "signed by CN=Signing CA" in str(found.reasons[1])
    assert asked(SIGNER, listing=[ALICE]).standing is Standing.REVOKED


@pytest.mark.parametrize(
    "signer",
    [
        OTHER_ROOT.issue("Signing CA", **FOR_CRLS),
        ROOT.issue("Signing CA", key="ed25519", key_usage=frozenset({"digitalSignature"})),
        ROOT.issue("Signing CA", key="ed25519", key_usage=frozenset()),
        CA.issue("Nobody", mail="n@example.com").issue("Signing CA", **FOR_CRLS),
        root("Signing CA", key="ed25519"),
    ],
)
def test_who_is_not_entitled_neither_clears_nor_revokes(signer):
    roots = (ROOT, OTHER_ROOT)
    found = asked(signer, roots=roots)
    assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INVALID]
    assert asked(signer, listing=[ALICE], rules=TrustRules(), roots=roots).usable


def test_a_signer_with_an_invalid_path():
    narrow = ROOT.issue("Narrow CA", ca=True, path_length=0)
    deep = narrow.issue("Deep CA", ca=True)
    signer = deep.issue("Signing CA", **FOR_CRLS)
    known = knowing(
        [ROOT], [CA, narrow, deep, signer],
        [ROOT.crl(), narrow.crl(), deep.crl(), signer.crl([ALICE])],
    )  # fmt: skip
    assert codes(verdict(ALICE, known, rules=REQUIRED))[1:] == [Because.CRL_INVALID]


def doubtful():
    expired = ROOT.issue("Signing CA", **FOR_CRLS, not_after=NOW - timedelta(minutes=1))
    yield pytest.param(expired, {}, id="expired")
    yield pytest.param(SIGNER, {"black": [SIGNER]}, id="black-listed")
    newer = ROOT.crl([SIGNER], number=2, this_update=NOW - timedelta(minutes=1))
    yield pytest.param(SIGNER, {"crls": [newer]}, id="revoked")
    yield pytest.param(
        ROOT.issue("Signing CA", key="rsa1024", key_usage=frozenset({"cRLSign"})), {}, id="weak"
    )


@pytest.mark.parametrize(("signer", "known"), list(doubtful()))
def test_whose_signer_is_in_doubt_revokes_but_does_not_clear(signer, known):
    found = asked(signer, **known)
    assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]
    for rules in (REQUIRED, TrustRules()):
        revoked = asked(signer, listing=[ALICE], rules=rules, **known)
        assert revoked.standing is Standing.REVOKED


def test_a_signer_whose_status_is_unknown_clears_only_where_no_crl_is_required():
    sub = ROOT.issue("Sub CA", ca=True, key="p256")
    signer = sub.issue("Signing CA", **FOR_CRLS)
    known = knowing([ROOT], [CA, sub, signer], [ROOT.crl(), signer.crl()])
    assert codes(verdict(ALICE, known, rules=REQUIRED))[1:] == [Because.CRL_INCONCLUSIVE]
    found = verdict(ALICE, known)
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED, Because.CRL_CHECKED]
    known = knowing([ROOT], [CA, sub, signer], [ROOT.crl(), signer.crl(), sub.crl()])
    assert verdict(ALICE, known, rules=REQUIRED).usable


def test_a_crl_issuer_vouches_for_itself_only_where_its_issuer_says_so():
    unnamed = pointed(CA, "Issuer", [], signs_crls=True)
    alice = pointed(CA, "Alice", [point(issuer=unnamed)])
    crls = [ROOT.crl(), indirect_crl(unnamed)]
    assert not verdict(alice, knowing([ROOT], [CA, unnamed], crls), rules=REQUIRED).usable
    named = pointed(CA, "Issuer", [point(issuer=unnamed)], signs_crls=True)
    known = knowing([ROOT], [CA, named], crls)
    assert verdict(alice, known, rules=REQUIRED).usable
    crls = [ROOT.crl(), indirect_crl(named, [(named, CA)])]
    found = verdict(alice, knowing([ROOT], [CA, named], crls), rules=REQUIRED)
    assert found.standing is Standing.UNTRUSTED


def test_two_signers_do_not_vouch_for_each_other():
    one = pointed(CA, "One", [], signs_crls=True)
    two = pointed(CA, "Two", [point(issuer=one)], signs_crls=True)
    one = pointed(CA, "One", [point(issuer=two)], signs_crls=True)
    alice = pointed(CA, "Alice", [point(issuer=one)])
    known = knowing([ROOT], [CA, one, two], [ROOT.crl(), indirect_crl(one), indirect_crl(two)])
    found = verdict(alice, known, rules=REQUIRED)
    assert codes(found) == [Because.NO_CRL_REQUIRED, Because.CRL_INCONCLUSIVE]


OWN = CA.issue("Signing CA", **FOR_CRLS)  # self-issued
HOUR = timedelta(hours=1)


def test_a_key_for_crls_does_not_answer_for_itself():
    newest = OWN.crl(this_update=NOW - HOUR / 2, number=9)
    found = verdict(OWN, knowing([ROOT], [CA, OWN], [ROOT.crl(), newest]), purpose=Purpose.ANY)
    assert Because.CRL_INVALID in codes(found)
    crls = [ROOT.crl(), newest, CA.crl([OWN])]
    found = verdict(OWN, knowing([ROOT], [CA, OWN], crls), purpose=Purpose.ANY)
    assert found.standing is Standing.REVOKED
    assert not asked(OWN, rules=REQUIRED, crls=[CA.crl([OWN], number=0)]).usable


def test_a_key_for_crls_cleared_by_the_key_it_is_certified_with():
    older = CA.crl(this_update=NOW - 2 * HOUR)
    assert asked(OWN, crls=[older]).usable
    assert not asked(OWN).usable


def test_a_newer_crl_of_a_doubtful_signer_hides_no_older_listing():
    older = {"this_update": NOW - 2 * HOUR}
    found = asked(SIGNER, black=[SIGNER], crls=[CA.crl([ALICE], **older)], rules=TrustRules())
    assert found.standing is Standing.REVOKED
    found = asked(SIGNER, black=[SIGNER], crls=[CA.crl(**older)])
    assert codes(found)[1:] == [Because.CRL_INCONCLUSIVE, Because.CRL_INCONCLUSIVE]


def test_a_weakly_signed_signer():
    signer = ROOT.issue("Signing CA", key="rsa2048", key_usage=frozenset({"cRLSign"}))
    weak = weakly_signed(signer, ROOT, "sha1")
    known = knowing([ROOT], [CA], [ROOT.crl(), signer.crl()])
    known = type(known)(
        roots=[ROOT.certificate],
        authorities=[CA.certificate, weak],
        crls=[crl.crl for name in known._crls_by_name.values() for crl in name],
    )
    assert not verdict(ALICE, known, rules=REQUIRED).usable
    assert verdict(ALICE, known, rules=TrustRules(require_crl=True, allow_sha1=True)).usable


@pytest.mark.parametrize("top", [ROOT, OTHER_ROOT])
def test_too_many_signers_end_in_a_clear_verdict(top):
    """Whatever has no root above it is none."""
    name = {"key_usage": frozenset({"cRLSign"})}
    forger = OTHER_ROOT.issue("Signing CA", key=key_of("p256", "forger"), **name)
    crls = [forger.crl(number=number) for number in range(40)]
    listing = forger.crl([ALICE], this_update=NOW - YEAR)
    others = [
        top.issue("Signing CA", key=key_of("p256", f"other {number}"), **name)
        for number in range(90)
    ]
    known = knowing([ROOT], [CA, *others], [ROOT.crl(), *crls, listing])
    known.prepare()
    started = perf_counter()
    found = verdict(ALICE, known)
    assert perf_counter() - started < 0.5  # a bound on the order, on a busy machine
    if top is ROOT:
        assert (found.standing, codes(found)[0]) == (Standing.UNTRUSTED, Because.PATH_LIMIT)
    else:
        assert found.usable
    assert verdict(ALICE, knowing([ROOT], [CA, *others], [ROOT.crl(), *crls])).usable


def test_preparing_changes_no_verdict():
    known = knowing([ROOT], [CA, SIGNER], [ROOT.crl(), SIGNER.crl()])
    known.prepare()
    assert verdict(ALICE, known, rules=REQUIRED).usable


# a CA that changed its key, and keeps a set of CRLs for each

NEW_KEY = ROOT.issue("Signing CA", ca=True, key=key_of("p256", "Signing CA, its new key"))


@pytest.mark.parametrize("newer", [timedelta(0), HOUR / 2])
@pytest.mark.parametrize("days", [0, 6, 8])
def test_a_crl_of_the_new_key_hides_no_listing_of_the_old_one(newer, days):
    """However new it is, and however old the other."""
    clearing = NEW_KEY.crl(this_update=NOW - HOUR + newer, next_update=NOW + YEAR / 2, number=9)
    crls = [ROOT.crl(next_update=NOW + YEAR / 2), clearing, CA.crl([ALICE])]
    known = knowing([ROOT], [CA, NEW_KEY], crls)
    found = verdict(ALICE, known, rules=REQUIRED, at=NOW + timedelta(days=days))
    assert found.standing is Standing.REVOKED


def test_what_a_key_takes_back_itself_is_taken_back():
    """A newer CRL of the old key supersedes its older one, whatever the new key says."""
    earlier = CA.crl([ALICE], this_update=NOW - 3 * HOUR)
    later = CA.crl(number=2, this_update=NOW - 2 * HOUR)
    clearing = NEW_KEY.crl(number=9)
    known = knowing([ROOT], [CA, NEW_KEY], [ROOT.crl(), earlier, later, clearing])
    assert verdict(ALICE, known, rules=REQUIRED).usable
    known = knowing([ROOT], [CA, NEW_KEY], [ROOT.crl(), earlier, clearing])
    assert verdict(ALICE, known, rules=REQUIRED).standing is Standing.REVOKED


def test_the_crl_of_another_key_clears_where_there_is_none_of_the_first():
    known = knowing([ROOT], [CA, NEW_KEY], [ROOT.crl(), NEW_KEY.crl()])
    assert verdict(ALICE, known, rules=REQUIRED).usable


# a CA of the same name that another CA below the root set up, with a key of its own

LIKES = ROOT.issue("Sub that likes to issue", ca=True, key="p256")
TWIN = LIKES.issue("Signing CA", ca=True, key=key_of("p256", "Signing CA, a twin's"))
SCOPES = [{"only_contains_user_certs": True}, {"indirect_crl": True}, None]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("signer", [NEW_KEY, TWIN])
@pytest.mark.parametrize("rules", [TrustRules(), REQUIRED])
def test_no_crl_of_another_key_takes_a_listing_back_whatever_its_scope(signer, scope, rules):
    empty = special_crl(signer, scope=scope, this_update=NOW - HOUR / 2, number=99)
    authorities, crls = [CA, LIKES, TWIN, NEW_KEY], [ROOT.crl(), LIKES.crl(), empty]
    known = knowing([ROOT], authorities, [*crls, CA.crl([ALICE])])
    assert verdict(ALICE, known, rules=rules).standing is Standing.REVOKED
    known = knowing([ROOT], authorities, [*crls, CA.crl()])
    assert verdict(ALICE, known, rules=rules).usable


@pytest.mark.parametrize(
    ("newer", "usable"),
    [
        ({"scope": {"only_contains_user_certs": True}}, True),
        ({"scope": {"only_contains_ca_certs": True}}, False),  # does not cover her
        ({"scope": {"only_some_reasons": frozenset({x509.ReasonFlags.superseded})}}, False),
        ({"delta_of": 1}, False),
        ({"this_update": NOW + HOUR}, False),
        ({"unknown": True}, False),
    ],
)
def test_a_newer_crl_of_the_same_key_takes_a_listing_back_where_it_covers_all(newer, usable):
    fields = {"number": 2, "this_update": NOW - HOUR / 2} | newer
    crls = [ROOT.crl(), CA.crl([ALICE]), special_crl(CA, **fields)]
    found = verdict(ALICE, knowing([ROOT], [CA], crls))
    assert (found.standing is Standing.VALID) is usable
    assert (found.standing is Standing.REVOKED) is not usable


def test_a_doubtful_signer_takes_no_listing_back():
    for_crls = FOR_CRLS | {"key": key_of("p256", "for CRLs")}
    signer = ROOT.issue("Signing CA", not_after=NOW - HOUR / 4, **for_crls)
    crls = [
        ROOT.crl(),
        special_crl(signer, [ALICE]),
        special_crl(signer, number=2, scope=SCOPES[0], this_update=NOW - HOUR / 2),
    ]
    assert verdict(ALICE, knowing([ROOT], [CA, signer], crls)).standing is Standing.REVOKED


# strangers' CRLs and certificates of a name


def test_crls_of_nobody_hide_no_listing_once_they_were_looked_at():
    forger = OTHER_ROOT.issue("Signing CA", **FOR_CRLS)
    junk = [forger.crl(number=n, this_update=NOW - HOUR / 2) for n in range(400)]
    known = knowing([ROOT], [CA], [ROOT.crl(), CA.crl([ALICE]), *junk])
    known.prepare()
    assert verdict(ALICE, known).standing is Standing.REVOKED
