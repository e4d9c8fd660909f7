"""The trust list (C8): how far black reaches, and that white does not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from smimefilter.base.reasons import Because
from smimefilter.pki.certificate import Certificate
from smimefilter.trust.ctl import Listing, TrustList, TrustListEntry
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.verdict import Purpose, Standing
from tests.support.pki import NOW, root
from tests.support.trust import codes, knowing, verdict

ROOT, OTHER_ROOT = root(), root("Other Root")
SUB = ROOT.issue("Sub CA", ca=True)
DEEP = SUB.issue("Deep CA", ca=True)
ALICE = DEEP.issue("Alice", mail="alice@example.com")
CROSS = OTHER_ROOT.issue("Sub CA", ca=True, key=SUB.key)  # the same CA, another certificate
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KNOWN = {"roots": [ROOT], "authorities": [SUB, DEEP]}
BOTH = {"roots": [ROOT, OTHER_ROOT], "authorities": [SUB, CROSS, DEEP]}


@pytest.mark.parametrize("black", [DEEP, SUB, ROOT])
def test_black_goes_down_to_everything_below(black):
    found = verdict(ALICE, knowing(**KNOWN, black=[black]))
    assert found.standing is Standing.BLACK_LISTED
    assert codes(found) == [Because.ISSUER_BLACK_LISTED]
    assert found.reasons[0].about == black.thumbprint


@pytest.mark.parametrize("roots", [[], [ROOT]])
def test_black_goes_down_without_a_root_too(roots):
    known = knowing(roots, [DEEP], black=[DEEP])
    assert verdict(ALICE, known).standing is Standing.BLACK_LISTED


def test_another_certificate_of_a_black_listed_ca_is_struck_too():
    known = knowing(**BOTH, black=[SUB])
    found = verdict(ALICE, known)
    assert (found.standing, codes(found)) == (
        Standing.BLACK_LISTED,
        [Because.ISSUER_BLACK_LISTED],
    )
    assert verdict(CROSS, known, purpose=Purpose.ANY).standing is Standing.BLACK_LISTED


def test_a_ca_renamed_with_its_key_is_struck_too():
    renamed = OTHER_ROOT.issue("Quite Another", ca=True, key=SUB.key)
    below = renamed.issue("Eve", mail="eve@example.com")
    known = knowing([OTHER_ROOT], [renamed, SUB], black=[SUB])
    assert verdict(below, known).standing is Standing.BLACK_LISTED


def test_a_black_listed_ca_strikes_nobody_by_cross_certifying_it():
    known = knowing(**BOTH, black=[OTHER_ROOT])
    found = verdict(ALICE, known)
    assert found.standing is Standing.VALID
    assert found.path[-1] == ROOT.certificate


def test_a_clean_path_counts_only_if_it_is_valid():
    known = knowing(**BOTH, black=[OTHER_ROOT], crls=[ROOT.crl([SUB])])
    found = verdict(ALICE, known)
    assert found.standing is Standing.BLACK_LISTED
    assert Because.REVOKED in [reason.because for reason in found.reasons if reason.source]


def test_an_end_entity_entry_is_for_that_certificate_alone():
    renewed = DEEP.issue("Alice", mail="alice@example.com", key=ALICE.key)
    known = knowing(**KNOWN, black=[ALICE])
    assert verdict(ALICE, known).standing is Standing.BLACK_LISTED
    assert verdict(renewed, known).usable


def test_an_unknown_black_listed_certificate_disturbs_nobody():
    assert verdict(ALICE, knowing(**KNOWN, black=[root("Nobody Knows")])).usable


def test_white_needs_no_path_no_crl_and_no_valid_issuer():
    lost = root("Lost").issue("Bob", mail="bob@example.com")
    assert verdict(lost, knowing(white=[lost])).standing is Standing.WHITE_LISTED
    revoked = knowing(**KNOWN, white=[ALICE], crls=[DEEP.crl([ALICE])])
    assert verdict(ALICE, revoked).standing is Standing.WHITE_LISTED


def test_white_is_not_inherited():
    known = knowing(authorities=[SUB, DEEP], white=[SUB, DEEP])
    found = verdict(ALICE, known)
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.NO_PATH])


def test_white_does_not_make_fit():
    signer = SUB.issue("S", mail="s@example.com", key_usage=frozenset({"digitalSignature"}))
    short = SUB.issue("Short", mail="short@example.com", key="rsa1024")
    for one, because in ((signer, Because.KEY_USAGE), (short, Because.WEAK_KEY)):
        found = verdict(one, knowing(white=[one]))
        assert (found.standing, codes(found)) == (Standing.UNSUITABLE, [because])


@pytest.mark.parametrize(
    ("allow_expired", "standing", "because"),
    [
        (False, Standing.EXPIRED, Because.WHITE_LISTED_EXPIRED),
        (True, Standing.WHITE_LISTED, Because.WHITE_LISTED),
    ],
)
def test_white_and_expired(allow_expired, standing, because):
    old = SUB.issue("Old", mail="old@example.com", not_after=NOW - timedelta(days=1))
    found = verdict(old, knowing(white=[old], allow_expired=allow_expired))
    assert (found.standing, codes(found)) == (standing, [because])


def test_allow_expired_does_not_mean_allow_early():
    young = SUB.issue("Young", mail="young@example.com", not_before=NOW + timedelta(days=1))
    found = verdict(young, knowing(white=[young], allow_expired=True))
    assert found.standing is Standing.NOT_YET_VALID


def test_black_beats_white():
    for black in (ALICE, DEEP, ROOT):
        known = knowing(**KNOWN, white=[ALICE], black=[black])
        assert verdict(ALICE, known).standing is Standing.BLACK_LISTED
    invalid_beside = knowing(**BOTH, white=[ALICE], black=[OTHER_ROOT], crls=[ROOT.crl([SUB])])
    assert verdict(ALICE, invalid_beside).standing is Standing.BLACK_LISTED
    entries = [TrustListEntry(ALICE.thumbprint, listing) for listing in Listing]
    for order in (entries, entries[::-1]):
        known = Knowledge(roots=[ROOT.certificate], trust_list=TrustList(order))
        assert verdict(ALICE, known).standing is Standing.BLACK_LISTED


# other forms of the very same certificate, that anybody can make


def other_form(certificate: Certificate) -> Certificate:
    """With the other signature of ECDSA on P-256."""
    frame = asn1_x509.Certificate.load(certificate.der)
    r, s = decode_dss_signature(frame["signature_value"].native)
    frame["signature_value"] = encode_dss_signature(r, P256_ORDER - s)
    made = Certificate.read(frame.dump(force=True))
    assert made != certificate
    return made


@pytest.mark.parametrize("purpose", [Purpose.ENCRYPT, Purpose.VERIFY])
def test_the_other_form_of_a_black_listed_certificate_is_black_listed(purpose):
    """Thumbprints are all that an entry has: its certificate need not be at hand."""
    authority = ROOT.issue("Curves", ca=True, key="p256")
    bob = authority.issue("Bob", mail="bob@example.com")
    knowledge = knowing([ROOT], [authority], black=[bob])
    found = verdict(other_form(bob.certificate), knowledge, purpose=purpose)
    assert found.standing is Standing.BLACK_LISTED


def test_the_other_form_of_a_black_listed_ca_is_no_way_around():
    middle = root("Curves", key="p256")
    below = middle.issue("Sub of Curves", ca=True)
    bob = below.issue("Bob", mail="bob@example.com")
    knowledge = Knowledge(
        roots=[middle.certificate],
        authorities=[other_form(below.certificate)],
        trust_list=TrustList([TrustListEntry(below.thumbprint, Listing.BLACK)]),
    )
    assert not verdict(bob, knowledge).usable


def test_the_other_form_of_a_good_certificate_is_good():
    authority = ROOT.issue("Curves", ca=True, key="p256")
    bob = authority.issue("Bob", mail="bob@example.com")
    assert verdict(other_form(bob.certificate), knowing([ROOT], [authority])).usable


def test_a_signature_with_unused_bits_does_not_hold():
    """Else anybody could give a certificate another thumbprint so."""
    for number in range(60):
        bob = DEEP.issue(f"Bob {number}", mail="bob@example.com")
        signature = bob.certificate.parsed.signature
        if signature[-1] & 1 == 0:
            break
    der = bob.certificate.der
    before = der[: -1 - len(signature)]
    assert der == before + b"\0" + signature
    known = knowing(**KNOWN, black=[bob])
    assert not verdict(Certificate.read(before + b"\1" + signature), known).usable
