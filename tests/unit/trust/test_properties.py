"""What never makes a certificate better: black-listing, fewer roots, more revoked, later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.pki.crl import Crl
from smimefilter.trust.ctl import Listing, TrustList, TrustListEntry
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.verdict import Purpose, Standing, TrustRules
from tests.support.pki import NOW, YEAR, root
from tests.support.trust import verdict

# Two roots, a CA with a certificate from each, one below both, end entities on each level; and
# a signer of CRLs in the name of that CA.
A, B = root("Root A"), root("Root B")
SUB = A.issue("Sub CA", ca=True)
CROSS = B.issue("Sub CA", ca=True, key=SUB.key, not_after=NOW + timedelta(days=100))
DEEP = SUB.issue("Deep CA", ca=True)
ALICE = DEEP.issue("Alice", mail="alice@example.com")
BOB = SUB.issue("Bob", mail="bob@example.com", not_after=NOW + timedelta(days=50))
SIGNER = A.issue("Sub CA", key="p256", key_usage=frozenset({"cRLSign"}))
CAS = [A, B, SUB, CROSS, DEEP, SIGNER]
EVERY = [*CAS, ALICE, BOB]
GOOD = {one: Crl.read(one.crl()) for one in (A, B, SUB, DEEP, SIGNER)}
NEWER = {"number": 2, "this_update": NOW - timedelta(minutes=1)}
REVOKING = {
    (one, issuer): Crl.read(issuer.crl([one], **NEWER))
    for one, issuer in (
        (SUB, A), (CROSS, B), (DEEP, SUB), (BOB, SUB), (ALICE, DEEP), (SIGNER, A),
        (DEEP, SIGNER), (BOB, SIGNER),
    )
}  # fmt: skip


@dataclass(frozen=True)
class World:
    roots: frozenset
    authorities: frozenset
    crls: frozenset
    revoked: frozenset
    black: frozenset
    white: frozenset

    def knowledge(self):
        entries = [TrustListEntry(one.thumbprint, Listing.BLACK) for one in self.black]
        entries += [TrustListEntry(one.thumbprint, Listing.WHITE) for one in self.white]
        return Knowledge(
            roots=[one.certificate for one in self.roots],
            authorities=[one.certificate for one in self.authorities],
            crls=[GOOD[one] for one in self.crls] + [REVOKING[one] for one in self.revoked],
            trust_list=TrustList(entries),
        )


def some(of):
    return st.frozensets(st.sampled_from(list(of)))


WORLDS = st.builds(
    World,
    roots=some([A, B, DEEP]),
    authorities=some(CAS),
    crls=some(GOOD),
    revoked=some(REVOKING),
    black=some(EVERY),
    white=some(EVERY),
)
ASKED = st.fixed_dictionaries({
    "one": st.sampled_from([ALICE, BOB, DEEP, SUB]),
    "purpose": st.sampled_from(Purpose),
    "rules": st.builds(TrustRules, require_crl=st.booleans()),
    "at": st.integers(-400, 800).map(lambda days: NOW + timedelta(days=days)),
})  # fmt: skip


def usable(world, one, **asked):
    return verdict(one, world.knowledge(), **asked).usable


@settings(max_examples=60, deadline=None)
@given(WORLDS, ASKED, st.sampled_from(EVERY))
def test_black_listing_never_improves(world, asked, black):
    blacker = replace(world, black=world.black | {black})
    assert usable(world, **asked) or not usable(blacker, **asked)
    if black is asked["one"]:
        found = verdict(asked.pop("one"), blacker.knowledge(), **asked)
        assert found.standing is Standing.BLACK_LISTED


@settings(max_examples=60, deadline=None)
@given(WORLDS, ASKED)
def test_removing_a_root_never_improves(world, asked):
    without_white = replace(world, white=frozenset())
    for gone in world.roots:
        still_known = {"roots": world.roots - {gone}, "authorities": world.authorities | {gone}}
        demoted = replace(world, **still_known)
        assert usable(world, **asked) or not usable(demoted, **asked)
        removed = replace(without_white, roots=world.roots - {gone})
        assert usable(without_white, **asked) or not usable(removed, **asked)


@settings(max_examples=60, deadline=None)
@given(WORLDS, ASKED, st.sampled_from(list(REVOKING)))
def test_revoking_never_improves(world, asked, revoked):
    more = replace(world, revoked=world.revoked | {revoked})
    # a CRL that lists another certificate may be the one that clears this, where one is wanted
    asked["rules"] = TrustRules()
    assert usable(world, **asked) or not usable(more, **asked)


@settings(max_examples=60, deadline=None)
@given(WORLDS, ASKED, st.integers(0, 1000))
def test_time_past_the_end_never_improves(world, asked, days):
    asked["at"] = asked["one"].certificate.not_after + timedelta(days=days, seconds=1)
    assert not usable(world, **asked)


@settings(max_examples=60, deadline=None)
@given(WORLDS, ASKED, st.sampled_from(CAS))
def test_white_listing_a_ca_helps_nobody_below(world, asked, white):
    one = asked.pop("one")
    if one is not white:
        whiter = replace(world, white=world.white | {white})
        assert usable(world, one, **asked) == usable(whiter, one, **asked)


@settings(max_examples=80, deadline=None)
@given(WORLDS, ASKED, st.floats(0, 1))
def test_a_verdict_is_the_same_throughout_its_span(world, asked, where):
    one, at = asked.pop("one"), asked.pop("at")
    found = verdict(one, world.knowledge(), at=at, **asked)
    assert found.holds_from <= at < found.holds_until
    low, high = max(found.holds_from, NOW - 9 * YEAR), min(found.holds_until, NOW + 9 * YEAR)
    then = low + (high - low - timedelta.resolution) * where
    assert verdict(one, world.knowledge(), at=then, **asked).standing is found.standing
