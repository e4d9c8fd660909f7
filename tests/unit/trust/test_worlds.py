"""What never makes a certificate better, over PKIs in which anybody may certify anybody.

Beside `test_properties.py`, where one PKI is asked in many ways: here the PKI is made at random
too, with the faults that certificates and CRLs have in practice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.trust.verdict import Purpose, Standing, TrustRules
from tests.support.pki import NOW, YEAR
from tests.support.trust import codes, knowing, verdict
from tests.support.worlds import (
    CRLS,
    DAY,
    FAULTS,
    PARTIES,
    Built,
    hours,
    worlds,
)

ASKED = st.fixed_dictionaries({
    "purpose": st.sampled_from(Purpose),
    "rules": st.builds(TrustRules, require_crl=st.booleans()),
    "at": st.just(NOW) | hours(NOW - 2 * DAY, NOW + 40 * DAY),
})  # fmt: skip
SOME = settings(max_examples=80, deadline=None)


def asked_of(built, asked, **also):
    known = {"roots": built.roots, "authorities": built.authorities, "crls": built.crls} | also
    return verdict(built.leaf, knowing(**known), **asked)


@SOME
@given(worlds(), ASKED, st.data())
def test_black_listing_never_improves(world, asked, data):
    built = Built(world)
    everybody = [built.leaf, *built.roots, *built.authorities]
    black = data.draw(st.lists(st.sampled_from(everybody), max_size=3))
    one = data.draw(st.sampled_from(everybody))
    before = asked_of(built, asked, black=black)
    after = asked_of(built, asked, black=[*black, one])
    assert before.usable or not after.usable
    assert not asked_of(built, asked, black=[built.leaf], white=[built.leaf]).usable


@SOME
@given(worlds(), ASKED)
def test_black_listing_everybody_who_issued_it_leaves_no_way(world, asked):
    built = Built(world)
    issuers = {path[0].thumbprint: path[0] for path in built.paths()}
    assert not asked_of(built, asked, black=issuers.values()).usable


@SOME
@given(worlds(), ASKED)
def test_removing_a_root_never_improves(world, asked):
    built = Built(world)
    usable = asked_of(built, asked).usable
    for gone in built.roots:
        left = [one for one in built.roots if one is not gone]
        assert usable or not asked_of(built, asked, roots=left).usable
        still_known = [*built.authorities, gone]
        assert usable or not asked_of(built, asked, roots=left, authorities=still_known).usable
    assert not asked_of(built, asked, roots=[]).usable


@SOME
@given(worlds(), ASKED, st.data())
def test_revoking_never_improves(world, asked, data):
    """One more entry on the CRLs there are."""
    one = data.draw(st.sampled_from([None, *sorted(world.edges)]))
    more = replace(world, revoked=world.revoked | {one})
    before, after = asked_of(Built(world), asked), asked_of(Built(more), asked)
    assert before.usable or not after.usable


@SOME
@given(worlds(), ASKED, st.integers(0, 4000))
def test_nothing_is_usable_after_its_end(world, asked, later):
    built = Built(world)
    at = built.leaf.certificate.not_after + timedelta(hours=later, seconds=1)
    found = asked_of(built, asked | {"at": at})
    assert not found.usable
    assert not asked_of(built, asked | {"at": at}, white=[built.leaf]).usable


BEGUN = [kind for kind in FAULTS if kind != "not yet"]
OUT = [kind for kind in CRLS if kind != "not yet"]


@SOME
@given(worlds(faults=BEGUN, crls=OUT), ASKED, hours(NOW, NOW + YEAR * 2), st.data())
def test_time_only_makes_worse_once_everything_has_begun(world, asked, at, data):
    """With every certificate begun and every CRL out, all that is still to come are ends."""
    built = Built(world)
    later = data.draw(hours(at, NOW + YEAR * 3))
    white = data.draw(st.sampled_from([[], [built.leaf]]))
    also = {"white": white, "allow_expired": data.draw(st.booleans())}
    before = asked_of(built, asked | {"at": at}, **also)
    after = asked_of(built, asked | {"at": later}, **also)
    assert before.usable or not after.usable


@SOME
@given(worlds(), ASKED)
def test_what_is_usable_has_a_path_that_was_planned(world, asked):
    """And a reason comes with each verdict."""
    built = Built(world)
    found = asked_of(built, asked)
    assert codes(found)
    if found.standing is Standing.VALID:
        ways = [[one.thumbprint for one in path] for path in built.paths()]
        assert [one.thumbprint for one in found.path[1:]] in ways
    if not any(True for _ in built.paths()):
        assert not found.usable


@SOME
@given(worlds(), ASKED)
def test_crls_that_are_missing_never_help_where_they_are_needed(world, asked):
    """No CRLs at all: nothing below a root is usable."""
    strict = asked | {"rules": TrustRules(require_crl=True)}
    none = replace(world, crls=("missing",) * len(PARTIES))
    assert not asked_of(Built(none), strict).usable
