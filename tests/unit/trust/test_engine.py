"""The verdict of each kind (C9), and the order in which causes are looked at."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smimefilter.base.reasons import Because
from smimefilter.pki.certificate import Certificate
from smimefilter.trust.verdict import Purpose, Standing, TrustRules
from tests.support.pki import NOW, YEAR, root
from tests.support.trust import codes, knowing, verdict, weakly_signed

ROOT = root()
SUB = ROOT.issue("Sub CA", ca=True)
ALICE = SUB.issue("Alice", mail="alice@example.com")
OLD = SUB.issue("Old", mail="old@example.com", not_after=NOW - timedelta(days=1))
YOUNG = SUB.issue("Young", mail="young@example.com", not_before=NOW + timedelta(days=1))
SIGNER = SUB.issue("Signer", mail="s@example.com", key_usage=frozenset({"digitalSignature"}))
STRANGER = root("Elsewhere").issue("Stranger", mail="stranger@example.net")

KNOWN = {"roots": [ROOT], "authorities": [SUB]}


@pytest.mark.parametrize(
    ("one", "special", "standing", "because"),
    [
        (ALICE, {}, Standing.VALID, Because.VALID_PATH),
        (OLD, {}, Standing.EXPIRED, Because.EXPIRED),
        (YOUNG, {}, Standing.NOT_YET_VALID, Because.NOT_YET_VALID),
        (ALICE, {"crls": [SUB.crl([ALICE])]}, Standing.REVOKED, Because.REVOKED),
        (ALICE, {"crls": [ROOT.crl([SUB])]}, Standing.REVOKED, Because.REVOKED),
        (ALICE, {"black": [ALICE]}, Standing.BLACK_LISTED, Because.BLACK_LISTED),
        (ALICE, {"black": [SUB]}, Standing.BLACK_LISTED, Because.ISSUER_BLACK_LISTED),
        (ALICE, {"black": [ROOT]}, Standing.BLACK_LISTED, Because.ISSUER_BLACK_LISTED),
        (ALICE, {"white": [ALICE]}, Standing.WHITE_LISTED, Because.WHITE_LISTED),
        (STRANGER, {"white": [STRANGER]}, Standing.WHITE_LISTED, Because.WHITE_LISTED),
        (OLD, {"white": [OLD]}, Standing.EXPIRED, Because.WHITE_LISTED_EXPIRED),
        (STRANGER, {}, Standing.UNTRUSTED, Because.NO_PATH),
        (ALICE, {"authorities": []}, Standing.UNTRUSTED, Because.NO_PATH),
        (ALICE, {"roots": []}, Standing.UNTRUSTED, Because.NO_PATH),
        (SIGNER, {}, Standing.UNSUITABLE, Because.KEY_USAGE),
    ],
)
def test_standings(one, special, standing, because):
    found = verdict(one, knowing(**(KNOWN | special)))
    assert found.standing is standing
    assert codes(found)[0] is because
    assert found.usable == (standing in {Standing.VALID, Standing.WHITE_LISTED})


def test_a_valid_verdict_names_its_path():
    found = verdict(ALICE, knowing(**KNOWN))
    assert found.path == (ALICE.certificate, SUB.certificate, ROOT.certificate)


def test_reasons_name_the_certificate_at_fault():
    found = verdict(ALICE, knowing(**KNOWN, crls=[ROOT.crl([SUB])]))
    assert found.reasons[0].about == SUB.thumbprint
    assert "Sub CA" in str(found.reasons[0])
    assert ROOT.certificate.subject in str(verdict(ALICE, knowing([], [SUB])).reasons[0])
    assert SUB.certificate.subject in str(verdict(ALICE, knowing([ROOT])).reasons[0])


def test_purposes():
    known = knowing(**KNOWN)
    exchange = SUB.issue("Box", mail="box@example.com", key="x25519")
    assert verdict(SIGNER, known, purpose=Purpose.SIGN).usable
    assert verdict(SIGNER, known, purpose=Purpose.ANY).usable
    assert verdict(exchange, known, purpose=Purpose.ENCRYPT).usable
    assert verdict(exchange, known, purpose=Purpose.SIGN).standing is Standing.UNSUITABLE
    assert verdict(SUB, known, purpose=Purpose.ANY).usable
    assert verdict(SUB, known, purpose=Purpose.ENCRYPT).standing is Standing.UNSUITABLE


def test_a_root_is_valid_by_itself_and_a_self_signed_one_elsewhere_is_not():
    known = knowing(**KNOWN)
    assert verdict(ROOT, known, purpose=Purpose.ANY).path == (ROOT.certificate,)
    other = verdict(root("Elsewhere"), known, purpose=Purpose.ANY)
    assert (other.standing, codes(other)) == (Standing.UNTRUSTED, [Because.NO_PATH])


def test_unknown_critical_extensions_are_refused_for_every_purpose():
    odd = SUB.issue("Odd", mail="odd@example.com", unknown_critical=True)
    known = knowing(**KNOWN)
    assert verdict(odd, known).standing is Standing.UNSUITABLE
    trust_alone = verdict(odd, known, purpose=Purpose.ANY)
    assert trust_alone.standing is Standing.UNTRUSTED
    assert codes(trust_alone) == [Because.UNKNOWN_CRITICAL]


def test_a_forged_signature_is_no_path():
    forger = root("Test Root", key="p256").issue("Sub CA", ca=True, key="p256")
    forged = forger.issue("Mallory", mail="alice@example.com")
    found = verdict(forged, knowing(**KNOWN))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.NO_PATH])


@pytest.mark.parametrize("der", [b"", b"garbage", ALICE.certificate.der[:-40]])
def test_bytes_that_are_no_certificate_get_a_verdict(der):
    found = verdict(Certificate(der), knowing(**KNOWN))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.UNREADABLE])


def test_an_unreadable_ca_certificate_is_left_out():
    broken = ROOT.issue("Sub CA", ca=True)
    damaged = Certificate(broken.certificate.der.replace(b"\x55\x1d\x0e", b"\x55\x1d\x13"))
    known = knowing([ROOT], [SUB])
    again = type(known)(roots=[ROOT.certificate], authorities=[damaged, SUB.certificate])
    assert verdict(ALICE, again).usable


@pytest.mark.parametrize(
    ("digest", "rules"),
    [("sha1", TrustRules(allow_sha1=True)), ("md5", TrustRules(allow_md5=True))],
)
def test_weak_signatures(digest, rules):
    weak = weakly_signed(ALICE, SUB, digest)
    weak_sub = weakly_signed(SUB, ROOT, digest)
    found = verdict(weak, knowing(**KNOWN))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.WEAK_ALGORITHM])
    assert verdict(weak, knowing(**KNOWN), rules=rules).usable
    above = type(knowing())(roots=[ROOT.certificate], authorities=[weak_sub])
    found = verdict(ALICE, above)
    assert codes(found) == [Because.WEAK_ALGORITHM]
    assert found.reasons[0].about == weak_sub.thumbprint


def test_the_signature_of_a_root_is_nobodys_business():
    weak_root = weakly_signed(ROOT, ROOT, "sha1")
    known = type(knowing())(roots=[weak_root], authorities=[SUB.certificate])
    assert verdict(ALICE, known).usable


def test_short_keys():
    short = SUB.issue("Short", mail="short@example.com", key="rsa1024")
    found = verdict(short, knowing(**KNOWN))
    assert (found.standing, codes(found)) == (Standing.UNSUITABLE, [Because.WEAK_KEY])
    assert verdict(short, knowing(**KNOWN), rules=TrustRules(minimum_rsa_bits=1024)).usable
    weak_ca = ROOT.issue("Weak CA", ca=True, key="rsa1024")
    below = weak_ca.issue("Bob", mail="bob@example.com")
    found = verdict(below, knowing([ROOT], [weak_ca]))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.WEAK_KEY])
    assert found.reasons[0].about == weak_ca.thumbprint


def test_times_are_inclusive():
    known = knowing(**KNOWN)
    start, end = ALICE.certificate.not_before, ALICE.certificate.not_after
    tick = timedelta(microseconds=1)
    assert verdict(ALICE, known, at=start).usable
    assert verdict(ALICE, known, at=end).usable
    assert verdict(ALICE, known, at=start - tick).standing is Standing.NOT_YET_VALID
    assert verdict(ALICE, known, at=end + tick).standing is Standing.EXPIRED


def test_a_verdict_holds_until_the_next_date_it_rests_on():
    short_sub = ROOT.issue("Short CA", ca=True, not_after=NOW + timedelta(days=30))
    bob = short_sub.issue("Bob", mail="bob@example.com")
    found = verdict(bob, knowing([ROOT], [short_sub], [short_sub.crl()]))
    assert found.holds_from <= NOW < found.holds_until
    assert found.holds_until <= NOW + timedelta(days=7, seconds=1)  # the CRL's next update
    found = verdict(bob, knowing([ROOT], [short_sub]))
    assert found.holds_until == NOW + timedelta(days=30, microseconds=1)
    assert found.holds_from == NOW - YEAR


@pytest.mark.parametrize("days", [0, 1, 8, 29, 31, 200, 400])
def test_within_its_span_judging_again_gives_the_same(days):
    sub = ROOT.issue("Span CA", ca=True, not_after=NOW + timedelta(days=30))
    bob = sub.issue("Bob", mail="bob@example.com")
    known = knowing([ROOT], [sub], [sub.crl(), ROOT.crl()])
    found = verdict(bob, known, at=NOW + timedelta(days=days))
    tick = timedelta(microseconds=1)
    for at in (found.holds_from, found.holds_until - tick):
        again = verdict(bob, known, at=at)
        assert (again.standing, again.reasons) == (found.standing, found.reasons)
        assert (again.holds_from, again.holds_until) == (found.holds_from, found.holds_until)


def test_a_name_that_cannot_be_read_gets_a_verdict():
    der = ROOT.issue("Bits", mail="bits@example.com").certificate.der
    odd = der.replace(b"\x0c\x04Bits", b"\x03\x04\0its")
    found = verdict(Certificate(odd), knowing([ROOT]))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.UNREADABLE])
