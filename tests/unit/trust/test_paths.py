"""Paths (C5): several of them, cross certificates, loops, bounds, and RFC 5280 §6.1."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from smimefilter.base.reasons import Because
from smimefilter.pki.certificate import Certificate
from smimefilter.trust import link as link_module
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.search import MAX_STEPS, MAX_WAYS, search
from smimefilter.trust.verdict import PolicyRules, Purpose, Standing, TrustRules
from tests.support.pki import NOW, YEAR, key_of, root
from tests.support.trust import codes, knowing, verdict

ROOT, OTHER_ROOT = root(), root("Other Root")
SUB = ROOT.issue("Sub CA", ca=True)
CROSS = OTHER_ROOT.issue("Sub CA", ca=True, key=SUB.key)
ALICE = SUB.issue("Alice", mail="alice@example.com")
SERVER_AUTH = frozenset({"1.3.6.1.5.5.7.3.1"})


def test_one_of_two_paths_is_enough():
    old_sub = ROOT.issue("Sub CA", ca=True, key=SUB.key, not_after=NOW - timedelta(days=1))
    for authorities in ([old_sub, SUB], [SUB, old_sub]):
        found = verdict(ALICE, knowing([ROOT], authorities))
        assert found.standing is Standing.VALID
        assert found.path[1] == SUB.certificate


def test_a_cross_certificate_leads_to_the_other_root():
    found = verdict(ALICE, knowing([OTHER_ROOT], [SUB, CROSS]))
    assert found.path == (ALICE.certificate, CROSS.certificate, OTHER_ROOT.certificate)


def test_the_best_path_speaks_and_the_others_are_told():
    old_cross = OTHER_ROOT.issue("Sub CA", ca=True, key=SUB.key, not_after=NOW - YEAR / 2)
    known = knowing([ROOT, OTHER_ROOT], [old_cross, SUB], crls=[SUB.crl([ALICE])])
    found = verdict(ALICE, known)
    assert found.standing is Standing.REVOKED
    assert codes(found) == [Because.REVOKED]
    others = [reason for reason in found.reasons if reason.source]
    assert [reason.because for reason in others] == [Because.EXPIRED]
    assert "Other Root" in others[0].source


def test_a_path_that_only_lacks_a_crl_is_the_best_of_the_failing():
    rules = TrustRules(require_crl=True)
    known = knowing([ROOT, OTHER_ROOT], [CROSS, SUB], crls=[OTHER_ROOT.crl([CROSS])])
    found = verdict(ALICE, known, rules=rules)
    assert found.standing is Standing.UNTRUSTED
    assert codes(found)[0] is Because.NO_CRL_REQUIRED


def test_renewed_root_with_the_same_key():
    renewed = root(not_before=NOW - timedelta(days=10), key=ROOT.key)
    expired = root(not_after=NOW - timedelta(days=10), key=ROOT.key)
    found = verdict(ALICE, knowing([expired, renewed], [SUB]))
    assert found.path[-1] == renewed.certificate
    found = verdict(ALICE, knowing([expired], [SUB]))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.EXPIRED])
    assert found.reasons[0].about == expired.thumbprint


def test_loops_of_cross_certificates_end():
    one, two = root("One"), root("Two")
    one_by_two = two.issue("One", ca=True, key=one.key)
    two_by_one = one.issue("Two", ca=True, key=two.key)
    bob = one.issue("Bob", mail="bob@example.com")
    found = verdict(bob, knowing([ROOT], [one_by_two, two_by_one]))
    assert (found.standing, codes(found)[0]) == (Standing.UNTRUSTED, Because.NO_PATH)
    found = verdict(bob, knowing([two], [one_by_two, two_by_one]))
    assert found.standing is Standing.VALID


def test_no_way_names_a_key_twice_under_one_name():
    one, two = root("One"), root("Two")
    renewed = [two.issue("One", ca=True, key=one.key, serial=n + 1) for n in range(3)]
    by_one = one.issue("Two", ca=True, key=two.key)
    known = knowing([two], [*renewed, by_one])
    bob = one.issue("Bob", mail="bob@example.com")
    found = search(known.link(bob.certificate), known)
    ways = found.to_roots + found.dead_ends
    assert len(found.to_roots) == len(renewed)
    assert all(len({(link.key, link.name) for link in way}) == len(way) for way in ways)


def mesh_of_bridges():
    bridges = [root(f"Bridge {n}", key="p256") for n in range(8)]
    mesh = [
        a.issue(f"Bridge {n}", ca=True, key=b.key)
        for n, b in enumerate(bridges)
        for a in bridges
        if a is not b
    ]
    return bridges, mesh, bridges[0].issue("Bob", mail="bob@example.com", key="p256")


@pytest.mark.parametrize("with_root", [False, True])
def test_a_mesh_of_bridges_ends_soon_with_a_clear_verdict(with_root, monkeypatch):
    bridges, mesh, bob = mesh_of_bridges()
    known = knowing([bridges[-1]] if with_root else [], mesh)
    checked = []
    check = link_module.verifies
    monkeypatch.setattr(
        link_module, "verifies", lambda *args: checked.append(args) or check(*args)
    )
    found = verdict(bob, known)
    assert 0 < len(checked) <= MAX_STEPS
    if with_root:
        assert found.standing is Standing.VALID
    else:
        assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_LIMIT])


def test_the_work_of_a_search_is_bounded():
    key = key_of("p256", "Many")
    many = [
        root("Many", key=key_of("p256", f"Other {n % 3}"), serial=n + 1) for n in range(400)
    ]
    known = knowing([], many)
    leaf = root("Many", key=key).issue("Bob", mail="bob@example.com", key="p256")
    found = search(known.link(leaf.certificate), known)
    assert not found.to_roots
    roots = [root("Many", key=key, serial=n + 1) for n in range(2 * MAX_WAYS)]
    known = knowing(roots)
    found = search(known.link(leaf.certificate), known)
    assert (len(found.to_roots), found.complete) == (MAX_WAYS, False)
    assert MAX_STEPS < 400


def test_names_match_whatever_their_case_and_encoding():
    loud = root("TEST  root", key=ROOT.key)
    found = verdict(ALICE, knowing([loud], [SUB]))
    assert found.standing is Standing.VALID


def test_path_length():
    short = ROOT.issue("Short CA", ca=True, path_length=0)
    deep = short.issue("Deep CA", ca=True)
    bob = deep.issue("Bob", mail="bob@example.com")
    found = verdict(bob, knowing([ROOT], [short, deep]))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_INVALID])
    carol = short.issue("Carol", mail="carol@example.com")
    assert verdict(carol, knowing([ROOT], [short])).usable
    strict_root = root("Strict Root", path_length=0)
    sub = strict_root.issue("Sub CA", ca=True)
    dave = sub.issue("Dave", mail="dave@example.com")
    assert codes(verdict(dave, knowing([strict_root], [sub]))) == [Because.PATH_INVALID]


def test_who_is_no_ca_issues_nothing():
    mallory = ALICE.issue("Mallory", mail="boss@example.com")
    found = verdict(mallory, knowing([ROOT], [SUB, ALICE]))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.NO_PATH])
    found = verdict(mallory, knowing([ALICE]))
    assert found.standing is Standing.UNTRUSTED


@pytest.mark.parametrize("usage", [{"digitalSignature"}, {"cRLSign"}])
def test_who_may_not_sign_certificates_issues_nothing(usage):
    odd = ROOT.issue("Odd CA", ca=True, key_usage=frozenset(usage))
    bob = odd.issue("Bob", mail="bob@example.com")
    found = verdict(bob, knowing([ROOT], [odd]))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_INVALID])
    odd_root = root("Odd Root", key_usage=frozenset(usage))
    carol = odd_root.issue("Carol", mail="carol@example.com")
    assert codes(verdict(carol, knowing([odd_root]))) == [Because.KEY_USAGE]


def test_a_ca_for_servers_does_not_speak_for_mail():
    servers = ROOT.issue("Servers CA", ca=True, extended_key_usage=SERVER_AUTH)
    bob = servers.issue("Bob", mail="bob@example.com")
    known = knowing([ROOT], [servers])
    found = verdict(bob, known)
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.EXTENDED_KEY_USAGE])
    assert verdict(bob, known, purpose=Purpose.ANY).usable


def test_unknown_critical_extension_of_a_ca():
    odd = ROOT.issue("Odd CA", ca=True, unknown_critical=True)
    bob = odd.issue("Bob", mail="bob@example.com")
    found = verdict(bob, knowing([ROOT], [odd]))
    assert codes(found) == [Because.UNKNOWN_CRITICAL]
    assert found.reasons[0].about == odd.thumbprint


def test_a_signature_that_names_two_algorithms_is_none():
    der = ALICE.certificate.der
    sha256, sha512 = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("0b", "0d"))
    assert der.count(sha256) == 2
    mixed = Certificate(sha512.join(der.rsplit(sha256, 1)))
    assert verdict(mixed, knowing([ROOT], [SUB])).standing is Standing.UNTRUSTED


def test_policies():
    explicit = TrustRules(policies=PolicyRules(require_explicit=True))
    found = verdict(ALICE, knowing([ROOT], [SUB]), rules=explicit)
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_INVALID])


def test_a_kind_of_name_that_cannot_be_compared_is_refused():
    name = x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4"))
    constrained = _made("ID CA", "ID CA", x509.NameConstraints([name], None))
    leaf = _made("Thing", "ID CA", x509.SubjectAlternativeName([name]))
    found = verdict(leaf, Knowledge(roots=[constrained]))
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_INVALID])


def _made(subject, issuer, extension):
    key = key_of("p256", issuer)
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (subject, issuer)
    ]
    builder = (
        x509.CertificateBuilder(issuer_name=names[1], subject_name=names[0])
        .public_key(key.public_key())
        .serial_number(len(subject))
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
        .add_extension(x509.BasicConstraints(subject == issuer, None), critical=True)
        .add_extension(extension, critical=True)
    )
    return Certificate(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
