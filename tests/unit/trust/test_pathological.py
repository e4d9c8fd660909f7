"""Graphs made to be expensive: each ends soon, with a verdict that says why.

What is asserted is work: signatures checked, ways and comparisons, by the bounds that the
rooms state. A clock would only tell how busy the machine is.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from smimefilter.base.reasons import Because
from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate
from smimefilter.trust import constraints, engine, issued, link, policies, search, signers
from smimefilter.trust.verdict import PolicyRules, Standing, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, YEAR, Issued, key_of, root
from tests.support.trust import codes, knowing, verdict

ALL_WAYS = search.MAX_WAYS * search.MAX_LENGTH
SEARCHING = search.MAX_STEPS + search.MAX_LENGTH  # signatures of one search, at most
NEEDS_CRL = TrustRules(require_crl=True)


@pytest.fixture
def work(monkeypatch):
    """Counts what is costly, by name."""
    done = Counter()

    def counted(module, name, called):
        real = getattr(module, name)

        def count(*arguments):
            done[called] += 1
            return real(*arguments)

        monkeypatch.setattr(module, name, count)

    counted(link, "verifies", "signatures of certificates")
    counted(issued, "verifies", "signatures of CRLs")
    counted(constraints, "dotted_ends", "names")
    counted(policies, "_Node", "policy nodes")
    return done


def ca(issuer, name, **special):
    return issuer.issue(name, **({"ca": True, "key": "p256"} | special))


def mail(issuer, **special):
    return issuer.issue("Bob", mail="bob@example.com", key="p256", **special)


def mesh(parties):
    """Each certified by each other."""
    return [
        ca(one, other.certificate.parsed.subject.get_attributes_for_oid(
            x509.NameOID.COMMON_NAME)[0].value, key=other.key)
        for one in parties for other in parties if one is not other
    ]  # fmt: skip


def of_one_name(count, name="Same"):
    return [root(name, key=key_of("p256", f"{name} {n}")) for n in range(count)]


# graphs of CAs


@pytest.mark.parametrize("with_root", [False, True])
@pytest.mark.parametrize("names", ["many", "one"])
def test_everybody_certifies_everybody(work, names, with_root):
    parties = (
        of_one_name(12)
        if names == "one"
        else [root(f"Party {n}", key=key_of("p256", f"Party {n}")) for n in range(12)]
    )
    known = knowing([parties[-1]] if with_root else [], mesh(parties))
    found = verdict(mail(parties[0]), known)
    if with_root:  # of one name, too: what is tried in vain costs no step
        assert found.standing is Standing.VALID
    else:
        assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_LIMIT])
    assert work["signatures of certificates"] <= SEARCHING


def test_one_key_under_one_name_in_many_certificates(work):
    key = key_of("p256", "One key")
    first = root("One", key=key)
    renewed = [ca(first, "One", key=key, serial=n + 1) for n in range(500)]
    found = verdict(mail(first), knowing([], renewed))
    # they certify each other, and none of them leads anywhere else
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_LIMIT])
    assert work["signatures of certificates"] == 1
    assert verdict(mail(first), knowing([first], renewed)).usable


def test_a_root_is_found_among_many_of_its_name(work):
    """Roots are looked at first, and the key identifier says in which order."""
    strangers = of_one_name(500)
    top = root("Same", key=key_of("p256", "the right one"))
    found = verdict(mail(top), knowing([top], strangers))
    assert found.standing is Standing.VALID
    assert work["signatures of certificates"] <= SEARCHING


@pytest.mark.parametrize("hint", [True, False])
def test_an_issuer_beyond_the_bounds_is_found_where_its_key_is_hinted_at(
    work, monkeypatch, hint
):
    strangers = of_one_name(500)
    top = root()
    last = ca(top, "Same", key=key_of("p256", "the right one"))
    if not hint:
        monkeypatch.setattr(link.Link, "prefers", lambda *_: True)
    found = verdict(mail(last), knowing([top], [*strangers, last]))
    if hint:
        assert found.standing is Standing.VALID
        return
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_LIMIT])
    assert work["signatures of certificates"] <= SEARCHING


def test_an_issuer_is_found_behind_very_many_that_cannot_be_it(work, monkeypatch):
    """They have the name, and are no CAs."""
    monkeypatch.setattr(search, "MANY", 10)
    top = root()
    last = ca(top, "Same", key=key_of("p256", "the right one"))
    usage = frozenset({"cRLSign"})
    crowd = [top.issue("Same", key="p256", key_usage=usage, serial=n + 9) for n in range(100)]
    assert verdict(mail(last), knowing([top], [*crowd, last])).usable
    assert work["signatures of certificates"] <= search.MAX_LENGTH


def test_a_missing_issuer_is_asked_for_however_many_have_its_name(work, monkeypatch):
    monkeypatch.setattr(link.Link, "prefers", lambda *_: True)
    missing = root("Same", key=key_of("p256", "the right one"))
    bob = mail(missing, issuer_urls=("http://aia.test/same",))
    found = verdict(bob, knowing([], of_one_name(500)), rules=TrustRules(fetch_issuers=True))
    assert codes(found) == [Because.PATH_LIMIT]
    assert [need.certificate for need in found.needs] == [bob.certificate]
    assert work["signatures of certificates"] <= SEARCHING


def test_of_many_missing_issuers_some_are_asked_for():
    key = key_of("p256", "of many")
    same = [
        ca(
            root(f"Missing {n}", key="p256"),
            "Same",
            key=key,
            issuer_urls=(f"http://{n}.test/",),
        )
        for n in range(30)
    ]
    found = verdict(mail(same[0]), knowing([], same), rules=TrustRules(fetch_issuers=True))
    assert len(found.needs) == engine.MOST_MISSING


def test_ladders_double_the_ways_with_each_rung(work):
    """Two certificates of each CA: 2**10 ways to the root."""
    top = root(key="p256")
    rung, every = top, []
    for n in range(10):
        rung = ca(rung, f"Rung {n}", path_length=0)  # no way is valid, so all are tried
        twin = ca(Issued(_issuer_of(rung, every, top)), f"Rung {n}", key=rung.key)
        every += [rung, twin]
    found = verdict(mail(rung), knowing([top], every))
    assert found.standing is Standing.UNTRUSTED
    assert set(codes(found)) <= {Because.PATH_INVALID, Because.PATH_LIMIT}
    assert Because.PATH_LIMIT in codes(found)
    # a certificate's signature is checked once for each key, however many ways it lies on
    assert work["signatures of certificates"] <= len(every) + 1


def _issuer_of(rung, every, top):
    return (every[-2] if every else top).identity


@pytest.mark.parametrize("length", [search.MAX_LENGTH, search.MAX_LENGTH + 1, 60])
def test_long_chains(work, length):
    """`length`: of the certificates, the end entity and the root among them."""
    top = root(key="p256")
    chain = [top]
    for n in range(length - 2):
        chain.append(ca(chain[-1], f"Deep {n}"))
    found = verdict(mail(chain[-1]), knowing([top], chain[1:]))
    if length <= search.MAX_LENGTH:
        assert found.standing is Standing.VALID
    else:
        assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_LIMIT])
    assert work["signatures of certificates"] <= search.MAX_LENGTH


# CRLs


def test_forged_crls_of_one_name_keep_nobody_from_the_true_one(work):
    """They are newer than the real one, and there are more than anybody would look at."""
    top = root(key="p256")
    bob, stranger = mail(top), key_of("p256", "stranger")
    forged = [
        special_crl(top, number=n, key=stranger, this_update=NOW - timedelta(minutes=1))
        for n in range(2, 502)
    ]
    found = verdict(bob, knowing([top], crls=[*forged, top.crl()]), rules=NEEDS_CRL)
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED]
    assert work["signatures of CRLs"] == len(forged) + 1


@pytest.mark.parametrize("self_made", [0, 40])
def test_forged_crls_that_list_it_revoke_nobody_and_cut_nothing_short(work, self_made):
    """Nor do certificates of the CA's name that strangers made, of the keys that signed them
    or of others: what leads to no root is not tried."""
    top = root(key="p256")
    bob, names = mail(top), [key_of("p256", f"self-made {n}") for n in range(40)]
    strangers = [root(key=key) for key in names[:self_made]]
    forged = [
        special_crl(top, [bob], number=n, key=names[n % 40], this_update=NOW)
        for n in range(400)
    ]
    known = knowing([top], strangers, [*forged, top.crl()])
    found = verdict(bob, known, rules=NEEDS_CRL)
    assert codes(found) == [Because.VALID_PATH, Because.CRL_CHECKED]
    assert work["signatures of CRLs"] == len(forged) + 1


def test_a_revocation_below_forged_crls_is_not_lost(work):
    top = root(key="p256")
    bob, stranger = mail(top), key_of("p256", "stranger")
    forged = [
        special_crl(top, [bob], number=n, key=stranger, this_update=NOW - timedelta(minutes=1))
        for n in range(2, 502)
    ]
    found = verdict(bob, knowing([top], crls=[*forged, top.crl([bob])]))
    assert (found.standing, codes(found)[0]) == (Standing.REVOKED, Because.REVOKED)
    assert work["signatures of CRLs"] == len(forged) + 1


def test_a_verdict_has_so_many_reasons_and_says_how_many_more_there_are():
    top = root(key="p256")
    bob = mail(top)
    many = [special_crl(top, number=n, this_update=NOW, unknown=True) for n in range(300)]
    many.append(special_crl(top, next_update=NOW - timedelta(minutes=1)))
    found = verdict(bob, knowing([top], crls=many), rules=NEEDS_CRL)
    assert len(found.reasons) == engine.MOST_REASONS
    assert Because.CRL_STALE in codes(found)  # the last one, and the only one of its kind
    assert str(found.reasons[-1]) == f"and more of these kinds [{300 + 2 - 15}]"


def test_what_a_mail_brings_is_looked_at_with_bounded_effort(work):
    """Each of these may have signed the CRL, and may have issued each other."""
    top = root(key="p256")
    bob = mail(top)
    junk = special_crl(top, [bob], this_update=NOW, key=key_of("p256", "nobody"))
    known = knowing([top], crls=[junk, top.crl()])
    known.prepare()
    work.clear()
    strangers = [root(key=key_of("p256", f"stranger {n}")).certificate for n in range(64)]
    assert verdict(bob, known.with_certificates(strangers), rules=NEEDS_CRL).usable
    bounds = SEARCHING + search.MAX_CHECKS + signers.MAX_CHECKS
    assert work["signatures of certificates"] <= bounds
    assert work["signatures of CRLs"] <= signers.MAX_CHECKS


def test_crls_of_a_name_that_many_have(work):
    """Each CRL may be signed by each of them, and each of those has the same CRLs."""
    top = root("Same", key="p256")
    others = [
        ca(top, "Same", key=key_of("p256", f"Same {n}"), key_usage=frozenset({"cRLSign"}))
        for n in range(40)
    ]
    crls = [
        special_crl(one, number=n, this_update=NOW - timedelta(minutes=n + 1))
        for n, one in enumerate(others)
    ]
    known = knowing([top], others, crls)
    known.prepare()
    assert work["signatures of CRLs"] <= len(crls) * (len(others) + 1)
    work.clear()
    found = verdict(mail(top), known, rules=NEEDS_CRL)
    assert found.standing is Standing.UNTRUSTED
    assert work["signatures of CRLs"] <= signers.MAX_STEPS
    assert work["signatures of certificates"] <= SEARCHING + signers.MAX_STEPS


def test_each_way_with_crls_of_its_own(work):
    """As many ways as are tried, each with a CRL that another has to sign."""
    parties = [root(f"Party {n}", key=key_of("p256", f"Party {n}")) for n in range(8)]
    crls = [
        special_crl(one, name=f"Party {(n + 1) % 8}")
        for n, one in enumerate(parties)
        for _ in range(20)
    ]
    known = knowing([parties[-1]], mesh(parties), crls)
    found = verdict(mail(parties[0]), known, rules=NEEDS_CRL)
    assert found.standing is Standing.UNTRUSTED
    assert work["signatures of CRLs"] <= signers.MAX_STEPS
    assert work["signatures of certificates"] <= SEARCHING + signers.MAX_STEPS


# policies and names


def special(issuer, name, *extensions, last=False):
    """A certificate with extensions that profiles know nothing of."""
    key = key_of("p256", name)
    builder = (
        x509.CertificateBuilder(issuer_name=issuer.certificate.parsed.subject)
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(1 + sum(name.encode()))
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
        .add_extension(x509.BasicConstraints(not last, None), critical=True)
    )
    if last:
        builder = builder.add_extension(_usage(), critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    made = builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
    chain = (issuer.certificate, *issuer.chain)
    return Issued(Identity(Certificate(made), key, chain))


def _usage():
    return x509.KeyUsage(True, False, False, False, True, False, False, False, False)


def chain_of(count, *extensions, last):
    """A root, so many CAs with these extensions, and an end entity with its own."""
    top = root(key="p256")
    chain = [top]
    for n in range(count):
        chain.append(special(chain[-1], f"Special {n}", *extensions))
    return special(chain[-1], "Bob", *last, last=True), knowing([top], chain[1:])


def all_to_all(count):
    """Policies, each mapped to each."""
    oids = [f"1.3.6.1.4.1.99999.{n}" for n in range(1, count + 1)]
    pairs = [
        {"issuer_domain_policy": one, "subject_domain_policy": other}
        for one in oids
        for other in oids
    ]
    asserted = x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]
    )
    der = asn1_x509.PolicyMappings(pairs).dump()
    return asserted, x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), der)


def test_policies_mapped_to_each_other_do_not_multiply(work):
    """RFC 5280's tree would have 16**10 leaves."""
    asserted, mapped = all_to_all(16)
    bob, known = chain_of(10, asserted, mapped, last=[asserted])
    accepted = frozenset({"1.3.6.1.4.1.99999.3"})
    rules = TrustRules(policies=PolicyRules(accepted, require_explicit=True))
    assert verdict(bob, known, rules=rules).standing is Standing.VALID
    assert work["policy nodes"] <= 1 + 11 * 16


def test_more_policies_than_anybody_has_are_refused(work):
    asserted, mapped = all_to_all(17)  # 289 mappings
    bob, known = chain_of(2, asserted, mapped, last=[asserted])
    found = verdict(bob, known)
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.PATH_INVALID])
    assert work["policy nodes"] <= 2


def many_names(count, first=0):
    return [x509.RFC822Name(f"user{n}@host{n}.example") for n in range(first, first + count)]


def hosts(count):
    return [x509.RFC822Name(f"other{n}.example") for n in range(count)]


def test_names_and_constraints_do_not_multiply(work):
    """900 names below ten CAs with 1000 constraints each would be nine million comparisons."""
    imposed = x509.NameConstraints(None, hosts(constraints.MOST))
    names = x509.SubjectAlternativeName(many_names(900))
    bob, known = chain_of(10, imposed, last=[names])
    assert verdict(bob, known).standing is Standing.VALID
    assert work["names"] == 900  # once each, whatever is above


def test_more_constraints_than_anybody_has_are_refused(work):
    imposed = x509.NameConstraints(None, hosts(constraints.MOST + 1))
    bob, known = chain_of(1, imposed, last=[x509.SubjectAlternativeName(many_names(1, 9000))])
    found = verdict(bob, known)
    assert (found.standing, codes(found)) == (Standing.UNTRUSTED, [Because.UNREADABLE])
    assert work["names"] == 0


def test_more_names_than_anybody_has_are_refused(work):
    imposed = x509.NameConstraints(None, hosts(constraints.MOST))
    names = x509.SubjectAlternativeName(many_names(2000, first=5000))
    bob, known = chain_of(10, imposed, last=[names])
    found = verdict(bob, known)
    assert (found.standing, set(codes(found))) == (Standing.UNTRUSTED, {Because.PATH_INVALID})
    assert work["names"] == 0


def test_refused_names_are_told_once_for_each_ca():
    """Not once for each of them: reasons are for people."""
    imposed = x509.NameConstraints([x509.RFC822Name("example.com")], None)
    names = x509.SubjectAlternativeName(many_names(900))
    bob, known = chain_of(10, imposed, last=[names])
    assert codes(verdict(bob, known)) == [Because.PATH_INVALID] * 10


def test_a_crowd_of_one_name_hides_no_ca():
    """However many strangers' certificates have the name, the one that fits is found."""
    sub = root("Root of a crowd", key="p256")
    ca_ = sub.issue("Crowded CA", ca=True, key="p256")
    crowd = [
        sub.issue("Crowded CA", ca=True, key=key_of("p256", f"crowd {n}")) for n in range(149)
    ]
    found = verdict(mail(ca_), knowing([sub], [ca_, *crowd]))
    assert found.standing is Standing.VALID
