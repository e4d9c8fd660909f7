"""Verdicts beside two other programs, over PKIs in which anybody may certify anybody.

`openssl verify` builds one path and stays with it, so it is asked about each path by itself;
the paths are enumerated from the plan of the PKI, not by the search that is tested. The other,
pyhanko-certvalidator, finds paths of its own. Where one disagrees, a reason has to stand in
`DIFFERENCES`; each reason there has to occur, or it would hide what it was not written for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import example, given, settings

from smimefilter.trust.verdict import Purpose, Standing, TrustRules, Verdict
from tests.support.second_opinions import (
    Opinion,
    no_crl_about_its_own_signer,
    of_certvalidator,
    of_openssl,
    only_crls_of_the_issuer,
)
from tests.support.trust import knowing, verdict
from tests.support.worlds import PARTIES, Built, Edge, World, worlds

pytestmark = pytest.mark.system

RULES: Final = TrustRules(require_crl=True)
BEFORE, AFTER = 2, 3  # one CA's name with its two keys
FINE: Final = ("",) * len(PARTIES)


def ours(built: Built) -> Verdict:
    known = knowing(built.roots, built.authorities, built.crls)
    return verdict(built.leaf, known, purpose=Purpose.ANY, rules=RULES)


def openssl(built: Built) -> Opinion:
    """Whether it accepts any path, and what it says of those it does not."""
    words = []
    for path in built.paths():
        usable, why = of_openssl(built.leaf, path[-1:], path[:-1], built.crls)
        if usable:
            return True, ""
        words.append(why)
    return False, "\n".join(words)


def certvalidator(built: Built) -> Opinion:
    return of_certvalidator(built.leaf, built.roots, built.authorities, built.crls)


Other = Callable[[Built], Opinion]
OTHERS: Final[tuple[Other, ...]] = (openssl, certvalidator)


# why they may disagree


@dataclass(frozen=True)
class Difference:
    why: str
    whom: tuple[Other, ...]
    holds: Callable[[Built, Verdict, str], bool]  # the verdict here, the other's words
    shown_by: World


def crl_of_another_key(built: Built, here: Verdict, words: str) -> bool:
    issuers = {issuer.subject for issuer in here.path[1:]}
    return here.usable and f"CN={PARTIES[AFTER][0]}" in issuers and "CRL" in words


def crl_signer_certified_elsewhere(built: Built, here: Verdict, words: str) -> bool:
    trusted = {root.certificate.subject for root in built.roots}
    path: set[str] = set()
    for issuer in here.path[1:]:
        path.add(issuer.subject)
        if issuer.subject in trusted:
            break  # where the other one ends, whoever certified that root
    certifiers = {
        f"CN={PARTIES[edge.issuer][0]}"
        for edge in built.world.edges
        if edge.subject in {BEFORE, AFTER}
    }
    return crl_of_another_key(built, here, words) and not certifiers <= path


def doubtful_signer_came_first(built: Built, here: Verdict, words: str) -> bool:
    return not here.usable and any(
        "superseded by one of a doubtful signer" in reason.detail for reason in here.reasons
    )


def listed_on_an_old_crl(built: Built, here: Verdict, words: str) -> bool:
    world = built.world
    listing = {world.leaf_issuer if edge is None else edge.issuer for edge in world.revoked}
    return here.standing is Standing.REVOKED and "past" in {world.crls[n] for n in listing}


def crl_of_another_name(built: Built, here: Verdict, words: str) -> bool:
    with only_crls_of_the_issuer():
        return here.usable == certvalidator(built)[0]


def signer_answers_for_itself(built: Built, here: Verdict, words: str) -> bool:
    with only_crls_of_the_issuer(), no_crl_about_its_own_signer():
        return here.usable == certvalidator(built)[0]


DIFFERENCES: Final = (
    Difference(
        "openssl wants the CRL of the very key that issued; here another of the CA's keys may"
        " have signed it, with a path of its own (RFC 5280 §6.3.3 f)",
        (openssl,),
        crl_of_another_key,
        World(
            frozenset({Edge(BEFORE, 0), Edge(AFTER, 0)}),
            leaf_issuer=BEFORE,
            crls=("", "", "missing", *FINE[3:]),
        ),
    ),
    Difference(
        "certvalidator takes a CRL that another of the CA's keys signed only where whoever"
        " certified that key stands in the certificate's own path; here any path to the same"
        " root will do (RFC 5280 §6.3.3 f)",
        (certvalidator,),
        crl_signer_certified_elsewhere,
        World(
            frozenset({Edge(BEFORE, 4), Edge(4, 0), Edge(AFTER, 0)}),
            leaf_issuer=AFTER,
            crls=("", "", "", "past", *FINE[4:]),
        ),
    ),
    Difference(
        "a CRL whose signer is in doubt keeps those that are not newer from clearing here, of"
        " whatever key (decision 7); the others take the one they like",
        OTHERS,
        doubtful_signer_came_first,
        World(frozenset({Edge(BEFORE, 0, "expired"), Edge(AFTER, 0)}), leaf_issuer=AFTER),
    ),
    Difference(
        "certvalidator forgets whom an old CRL lists once there is a new one, of another key;"
        " here such a CA has two sets, and the listing stands (decision 7)",
        (certvalidator,),
        listed_on_an_old_crl,
        World(
            frozenset({Edge(BEFORE, 0), Edge(AFTER, 0)}),
            leaf_issuer=BEFORE,
            crls=("", "", "past", *FINE[3:]),
            revoked=frozenset({None}),
        ),
    ),
    Difference(
        "certvalidator has any CA's CRL clear what the same issuer certified, by whatever name"
        " (against RFC 5280 §6.3.3 b 1)",
        (certvalidator,),
        crl_of_another_name,
        World(frozenset({Edge(4, 0), Edge(6, 0)}), leaf_issuer=4, crls=("missing", *FINE[1:])),
    ),
    Difference(
        "certvalidator lets a CRL say that its own signer is not revoked, and before it has"
        " checked the signature at that; here somebody else has to (decision 7)",
        (certvalidator,),
        signer_answers_for_itself,
        World(
            frozenset({Edge(BEFORE, 0), Edge(AFTER, BEFORE), Edge(4, 0), Edge(5, 0)}),
            leaf_issuer=BEFORE,
            crls=("", "", "not yet", *FINE[3:]),
        ),
    ),
)


def disagreements(world: World) -> Iterator[str]:
    """What others say otherwise, for no reason that is known."""
    built = Built(world)
    here = ours(built)
    for other in OTHERS:
        there, words = other(built)
        if here.usable != there and not any(
            other in known.whom and known.holds(built, here, words) for known in DIFFERENCES
        ):
            told = [str(reason) for reason in here.reasons]
            yield f"{other.__name__} {there}: {words}\nhere {here.standing}: {told}"


@settings(max_examples=250, deadline=None)
@given(worlds())
@example(World(frozenset({Edge(2, 0), Edge(4, 2), Edge(5, 4)}), leaf_issuer=5))
@example(World(frozenset({Edge(4, 1)}), roots=frozenset({1}), leaf_issuer=4))
@example(World(frozenset({Edge(4, 0)}), leaf_issuer=4, revoked=frozenset({None})))
@example(
    World(
        frozenset({Edge(BEFORE, 0), Edge(AFTER, 0)}),
        leaf_issuer=AFTER,
        revoked=frozenset({None}),
    )
)
def test_others_say_the_same(world: World) -> None:
    assert list(disagreements(world)) == []


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda known: known.holds.__name__)
def test_each_difference_occurs(difference: Difference) -> None:
    built = Built(difference.shown_by)
    here = ours(built)
    for other in difference.whom:
        there, words = other(built)
        assert here.usable != there, words
        assert difference.holds(built, here, words)


def test_both_outcomes_occur_on_every_kind_of_key() -> None:
    """Or the comparison shows nothing."""
    for party in range(2, len(PARTIES) - 1):
        for issuer in (0, 1):
            edges = frozenset({Edge(party, issuer)})
            good = World(edges, roots=frozenset({issuer}), leaf_issuer=party)
            bad = World(edges, good.roots, party, revoked=edges)
            for world, usable in ((good, True), (bad, False)):
                built = Built(world)
                assert ours(built).usable is usable
                assert [other(built)[0] for other in OTHERS] == [usable, usable]
