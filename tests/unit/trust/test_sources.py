"""Where CRLs are to be had, and which takes whose place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.trust.issued import IssuedCrl
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.link import Link
from smimefilter.trust.sources import (
    MOST_OF_ONE,
    CrlPlaces,
    crl_urls,
    is_in_doubt,
    newer_than,
    signer_of,
    superseded,
)
from smimefilter.trust.verdict import TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, Issued, root
from tests.support.points import point, pointed, url
from tests.support.trust import knowing

ROOT = root("Root of sources")
SUB = ROOT.issue("Sub of sources", ca=True, key="p256")
STRANGER = root("Stranger")
PLACE = "http://crl.test/sub.crl"


def places(*certificates: Issued, users: bool = True) -> set[str]:
    knowledge = Knowledge(
        roots=[ROOT.certificate],
        authorities=[SUB.certificate, *(one.certificate for one in certificates)],
    )
    return CrlPlaces().of(knowledge, users=users)


def named(issuer: Issued, *urls: str) -> Issued:
    return pointed(issuer, "Pointed", [point(url(text)) for text in urls])


def test_of_a_user_only_when_asked_for() -> None:
    bob = named(SUB, PLACE)
    assert places(bob) == {PLACE}
    assert places(bob, users=False) == set()


def test_of_a_ca_always() -> None:
    ca = ROOT.issue("CA", ca=True, key="p256", crl_urls=("http://crl.test/root.crl",))
    assert places(ca, users=False) == {"http://crl.test/root.crl"}


def test_a_stranger_sends_us_nowhere() -> None:
    assert places(named(STRANGER, "http://169.254.0.1/")) == set()


def test_nor_does_one_who_uses_a_known_name() -> None:
    impostor = root("Sub of sources", key="p384")  # the name of a CA at hand, another key
    assert places(named(impostor, "http://evil.test/")) == set()


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("HTTPS://crl.test/a", True),
        ("ldap://dir.test/CN=CA?certificateRevocationList;binary", True),
        ("ldap:///CN=CA,DC=test?certificateRevocationList?base", True),
        ("ftp://crl.test/a", False),
        ("file:///etc/passwd", False),
        ("http://crl.test/" + "a" * 2000, False),
        ("http://crl.test/a\r\nb", False),
        ("http://[broken/", False),
        ("", False),
    ],
)
def test_urls_that_can_be_fetched(text: str, taken: bool) -> None:
    assert crl_urls(named(SUB, text).certificate) == ((text,) if taken else ())


def test_the_freshest_crl_has_a_place_too() -> None:
    fresh = x509.FreshestCRL([point(url("http://crl.test/delta.crl"))])
    builder = (
        x509.CertificateBuilder(issuer_name=SUB.certificate.parsed.subject)
        .subject_name(x509.Name([]))
        .public_key(SUB.key.public_key())  # type: ignore[arg-type]
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.CRLDistributionPoints([point(url(PLACE))]), critical=False)
        .add_extension(fresh, critical=False)
    )
    der = builder.sign(SUB.key, hashes.SHA256()).public_bytes(Encoding.DER)  # type: ignore[arg-type]
    assert crl_urls(Certificate(der)) == (PLACE, "http://crl.test/delta.crl")


def test_what_was_read_once_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bob = named(SUB, PLACE)
    sut = CrlPlaces()
    knowledge = Knowledge(
        roots=[ROOT.certificate], authorities=[SUB.certificate, bob.certificate]
    )
    assert sut.of(knowledge, users=True) == {PLACE}
    monkeypatch.setattr("smimefilter.trust.sources.crl_urls", lambda _: pytest.fail("again"))
    assert sut.of(knowledge, users=True) == {PLACE}


# whose place


def crl(issuer: Issued = SUB, **special: Any) -> IssuedCrl:
    return IssuedCrl(Crl.read(special_crl(issuer, **special)))


KNOWN = Knowledge(roots=[ROOT.certificate], authorities=[SUB.certificate])
SIGNER = Link(SUB.certificate)
EARLIER = NOW - timedelta(days=2)


def test_the_signer_is_a_ca_at_hand() -> None:
    found = signer_of(crl(), KNOWN)
    assert found is not None
    assert found.certificate == SUB.certificate
    assert signer_of(crl(STRANGER), KNOWN) is None
    assert signer_of(crl(name="Sub of sources", key=STRANGER.key), KNOWN) is None


@pytest.mark.parametrize(
    ("old", "gone"),
    [
        (crl(this_update=EARLIER, number=1), True),
        (crl(this_update=EARLIER, number=9), True),  # numbers began anew: the date counts
        (crl(number=1), True),
        (crl(number=3), False),
        (crl(this_update=EARLIER, scope={"only_contains_user_certs": True}), False),
        (crl(this_update=EARLIER, delta_of=1), False),
        (crl(ROOT, this_update=EARLIER), False),
        (crl(this_update=EARLIER, key=STRANGER.key), False),  # nobody's
    ],
)
def test_what_a_new_one_takes_the_place_of(old: IssuedCrl, gone: bool) -> None:
    new = crl(number=2)
    assert superseded(new, SIGNER, [old]) == ([old] if gone else [])


def test_a_ca_with_two_keys_has_two_sets() -> None:
    renewed = ROOT.issue("Sub of sources", ca=True, key="p384")
    old = crl(renewed, this_update=EARLIER)
    assert old.issuer_name == crl().issuer_name
    assert superseded(crl(number=2), SIGNER, [old]) == []


def deltas(*entries: tuple[list[int], x509.ReasonFlags | None]) -> list[IssuedCrl]:
    """One for each of these, an hour apart, the last one of now."""
    first = NOW - timedelta(hours=len(entries))
    return [
        crl(
            revoked=revoked, reason=reason, number=10 + n, delta_of=5,
            this_update=first + timedelta(hours=n + 1),
        )
        for n, (revoked, reason) in enumerate(entries)
    ]  # fmt: skip


REMOVED, KEY = x509.ReasonFlags.remove_from_crl, x509.ReasonFlags.key_compromise
HOLD = x509.ReasonFlags.certificate_hold


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        (([7], KEY), ([7], REMOVED), False),
        (([7], None), ([8], KEY), False),
        (([7], KEY), ([], None), False),
        (([7], KEY), ([7], HOLD), False),
        (([7], KEY), ([7, 8], KEY), True),
        (([7], HOLD), ([7], REMOVED), True),
        (([7], REMOVED), ([], None), True),
        (([], None), ([7], KEY), True),
    ],
)
def test_a_delta_that_takes_back_takes_no_place(before: Any, after: Any, gone: bool) -> None:
    old, new = deltas(before, after)
    assert superseded(new, SIGNER, [old]) == ([old] if gone else [])
    # a complete CRL that is newer than the old one settles it, whichever comes first
    complete = crl(number=10, this_update=NOW - timedelta(minutes=30))
    assert superseded(new, SIGNER, [old, complete]) == [old]
    assert superseded(complete, SIGNER, [old, new]) == [old]
    assert superseded(complete, SIGNER, [old]) == []  # the last delta stays


def test_a_newer_one_is_found() -> None:
    new, other = crl(number=5), crl(number=4)
    assert newer_than(other, SIGNER, [new], NOW) is new
    assert newer_than(new, SIGNER, [other], NOW) is None
    assert newer_than(new, SIGNER, [new], NOW) is None


def test_one_of_the_future_keeps_nothing_out() -> None:
    new, future = crl(number=5), crl(number=6, this_update=NOW + timedelta(days=9000))
    assert newer_than(new, SIGNER, [future], NOW) is None


def test_of_many_urls_in_one_certificate_the_first_count() -> None:
    many = [f"http://crl.test/{n}" for n in range(100)]
    assert crl_urls(named(SUB, *many).certificate) == tuple(many[:MOST_OF_ONE])


def test_urls_are_only_followed_below_a_root_and_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = STRANGER.issue("Lost CA", ca=True, crl_urls=("http://crl.test/lost",))
    known = Knowledge(roots=[ROOT.certificate], authorities=[lost.certificate])
    assert CrlPlaces().of(known, users=True) == set()
    many = [
        ROOT.issue(f"CA {n}", ca=True, key="p256", crl_urls=(f"http://crl.test/{n}",))
        for n in range(5)
    ]
    monkeypatch.setattr("smimefilter.trust.sources.MOST", 3)
    known = Knowledge(roots=[ROOT.certificate], authorities=[one.certificate for one in many])
    assert CrlPlaces().of(known, users=True) == {f"http://crl.test/{n}" for n in range(3)}


def test_urls_of_one_ca_take_no_place_of_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many it names, in however many certificates that are stored first."""
    monkeypatch.setattr("smimefilter.trust.sources.MOST", 6)
    hostile = ROOT.issue("Hostile", ca=True, key="p256")
    below = [
        hostile.issue(f"Below {n}", ca=True, key="p256", crl_urls=(f"http://evil.test/{n}",))
        for n in range(8)
    ]
    users = [named(below[0], f"http://evil.test/user/{n}", PLACE) for n in range(8)]
    bob, carol = named(SUB, PLACE), named(SUB, "http://crl.test/2")
    known = knowing([ROOT], [hostile, *below, *users, SUB, bob, carol])
    sut = CrlPlaces()
    found = sut.of(known, users=True)
    assert len(found) == 6
    assert {PLACE, "http://crl.test/2"} <= found
    assert len(sut.branches(PLACE)) in {1, 2}
    assert knowing([ROOT], [SUB]).link(SUB.certificate).key in sut.branches(PLACE)


def test_of_users_that_name_the_same_one_of_each_ca_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Link] = []
    signed_by = Link.signed_by

    def counting(link: Link, issuer: Link) -> bool:
        tried.append(link)
        return signed_by(link, issuer)

    impostor = root("Sub of sources", key="p384")
    bobs = [named(impostor, PLACE), *(named(SUB, PLACE) for _ in range(20))]
    known = knowing([ROOT], [SUB, *bobs])
    monkeypatch.setattr(Link, "signed_by", counting)
    assert CrlPlaces().of(known, users=True) == {PLACE}
    assert len(tried) <= 4


def test_a_black_listed_signer_is_in_doubt_whichever_certificate_it_uses() -> None:
    authority = root("Sources")
    below = authority.issue("Below", ca=True, key="p256")
    again = authority.issue("Below", ca=True, key=below.key)
    both = knowing([authority], [below, again], black=[below])
    alone = knowing([authority], [below], black=[below])
    one = alone.link(below.certificate)
    assert is_in_doubt(one, alone, TrustRules(), NOW)
    assert is_in_doubt(one, both, TrustRules(), NOW)  # its key is struck with it
    assert not is_in_doubt(one, knowing([authority], [below]), TrustRules(), NOW)
