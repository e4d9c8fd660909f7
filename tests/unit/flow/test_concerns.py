"""What is said about the certificates of people who use mail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from smimefilter.flow.concerns import Concern, Trouble, concerns
from smimefilter.pki.crl import Crl
from smimefilter.plan.snapshot import Moment, Snapshot
from smimefilter.ports.stores import ActiveUser
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.verdict import Purpose
from tests.support.pki import NOW, YEAR, Issued
from tests.support.plans import AUTHORITY, ROOT, World

ALICE, BOB = "alice@in.test", "bob@out.test"
DAY = timedelta(days=1)


def user(address: str, purpose: Purpose = Purpose.ENCRYPT) -> ActiveUser:
    return ActiveUser(address, purpose, NOW)


def at(world: World, *revoked: Issued) -> Moment:
    """The world's moment, with a CRL of its authority."""
    snapshot = world.moment().snapshot
    knowledge = Knowledge(
        roots=[ROOT.certificate],
        authorities=[AUTHORITY.certificate],
        crls=[Crl.read(AUTHORITY.crl(revoked))],
    )
    return Snapshot(
        2, snapshot.tree, snapshot.certificates, Trust(knowledge), snapshot.keys
    ).at(NOW)


def told(moment: Moment, *users: ActiveUser) -> list[tuple[str, Trouble, bool]]:
    return [(one.user.address, one.trouble, one.covered) for one in concerns(moment, users)]


def test_a_good_certificate_is_no_concern() -> None:
    world = World()
    world.person(BOB)
    assert told(at(world), user(BOB)) == []


@pytest.mark.parametrize(
    ("special", "trouble"),
    [
        ({"not_after": NOW + 29 * DAY}, Trouble.EXPIRING),
        ({"not_after": NOW - DAY}, Trouble.EXPIRED),
        ({"not_before": NOW + DAY}, Trouble.NOT_YET_VALID),
        ({"key_usage": frozenset({"digitalSignature"})}, Trouble.UNSUITABLE),
    ],
)
def test_the_only_certificate(special: dict[str, Any], trouble: Trouble) -> None:
    world = World()
    world.person(BOB, **special)
    assert told(at(world), user(BOB)) == [(BOB, trouble, False)]


def test_a_revoked_certificate_says_why() -> None:
    world = World()
    bob = world.person(BOB)
    (found,) = concerns(at(world, bob), [user(BOB)])
    assert (found.trouble, found.covered) == (Trouble.REVOKED, False)
    assert "revoked by its issuer" in found.why
    assert found.thumbprint == bob.thumbprint


def second(world: World, **special: Any) -> Issued:
    """Another certificate for Bob."""
    other = AUTHORITY.issue("Bob anew", mail=BOB, key="p256", **special)
    world.people["bob anew"] = other
    return other


def test_an_expired_certificate_beside_its_successor_is_no_news() -> None:
    world = World()
    world.person(BOB, not_after=NOW - DAY)
    second(world)
    assert told(at(world), user(BOB)) == []


def test_a_revoked_one_is_news_though_another_takes_its_place() -> None:
    world = World()
    bob = world.person(BOB)
    second(world)
    assert told(at(world, bob), user(BOB)) == [(BOB, Trouble.REVOKED, True)]


def test_of_two_the_last_to_end_counts() -> None:
    world = World()
    world.person(BOB, not_after=NOW + DAY)
    other = second(world, not_after=NOW + 2 * DAY)
    (found,) = concerns(at(world), [user(BOB)])
    assert (found.trouble, found.thumbprint) == (Trouble.EXPIRING, other.thumbprint)
    world.people["bob anew"] = AUTHORITY.issue(
        "Bob", mail=BOB, key="p256", not_after=NOW + YEAR
    )
    assert told(at(world), user(BOB)) == []


def test_who_signs_is_looked_at_as_a_signer() -> None:
    world = World()
    alice = world.person(ALICE, key=True)
    moment = at(world, alice)
    assert told(moment, user(ALICE, Purpose.SIGN)) == [(ALICE, Trouble.REVOKED, False)]
    world.keys.clear()
    assert told(at(world), user(ALICE, Purpose.SIGN)) == []  # nobody's key: nothing to mend


def test_the_same_concern_is_known_again() -> None:
    world = World()
    bob = world.person(BOB)
    (one,), (other,) = (concerns(at(world, bob), [user(BOB)]) for _ in range(2))
    assert isinstance(one, Concern)
    assert one.key == other.key


def test_strangers_and_nonsense_are_no_concern() -> None:
    assert told(at(World()), user("nobody@out.test"), user("no address")) == []
