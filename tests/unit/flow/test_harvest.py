"""What signatures teach is stored, but for one CA too many of a name."""

from __future__ import annotations

from typing import Any, cast

import pytest

from smimefilter.flow import harvest as harvesting
from smimefilter.flow.harvest import Harvest
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.opened import Lesson
from smimefilter.plan.snapshot import CertificateIndex, Snapshot
from smimefilter.policy.tree import Tree
from smimefilter.ports.stores import Shelf
from smimefilter.trust.branches import CROWD, is_crowded
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from tests.support.pki import NOW, Issued, key_of, root
from tests.unit.flow.test_revalidation import Journal

ROOT = root("Root of lessons", key="p256")
CAS = [
    ROOT.issue("A name that many have", ca=True, key=key_of("p256", f"of many {n}"))
    for n in range(CROWD + 1)
]


class Shelves:
    def __init__(self) -> None:
        self.stored: list[Certificate] = []

    async def add(self, found: list[Certificate], _: Shelf, __: str) -> list[bool]:
        self.stored += found
        return [True] * len(found)


def harvest(authorities: list[Issued]) -> tuple[Harvest, Shelves]:
    known = [one.certificate for one in authorities]
    trust = Trust(Knowledge(roots=[ROOT.certificate], authorities=known))
    snapshot = Snapshot(1, Tree({}), CertificateIndex([]), trust)
    current = type("State", (), {"snapshot": snapshot})()
    snapshots = type("Snapshots", (), {"current": current})()
    shelves = Shelves()
    sut = Harvest(
        cast(Any, snapshots), cast(Any, shelves), cast(Any, None), Journal(), lambda: NOW
    )
    return sut, shelves


@pytest.mark.parametrize(("known", "learnt"), [(CROWD - 1, True), (CROWD, False)])
async def test_a_ca_is_learnt_unless_so_many_have_its_name(known: int, learnt: bool) -> None:
    sut, shelves = harvest(CAS[:known])
    one, other = CAS[-1], CAS[-2]
    bob = one.issue("Bob", mail="bob@x.test", key="p256")
    carol = other.issue("Carol", mail="carol@x.test", key="p256")
    for whose, issuer in ((bob, one), (carol, other)):
        taught = whose.certificate.addresses[0], (whose.certificate, issuer.certificate)
        lesson = Lesson(*taught)
        sut._waiting[lesson.address, whose.certificate.thumbprint] = lesson
    await sut.write()
    assert shelves.stored == [bob.certificate, *[one.certificate] * learnt, carol.certificate]
    assert sut._waiting == {}


SELF_MADE = [root("A name that many have", key=key_of("p256", f"own {n}")) for n in range(40)]


async def test_a_crowd_of_self_made_cas_keeps_no_true_one_out() -> None:
    """Nor does what somebody has made below another CA."""
    greedy = ROOT.issue("Greedy", ca=True, key="p256")
    below = [
        greedy.issue("A name that many have", ca=True, key=key_of("p256", f"of many {n}"))
        for n in range(CROWD)
    ]
    sut, shelves = harvest([greedy, *SELF_MADE[:CROWD], *below])
    middle = ROOT.issue("Middle", ca=True, key="p256")
    true = middle.issue("A name that many have", ca=True, key="p256")
    bob = true.issue("Bob", mail="bob@x.test", key="p256")
    brought = (bob.certificate, true.certificate, middle.certificate)
    sut._waiting["bob@x.test"] = Lesson("bob@x.test", brought)
    await sut.write()
    assert shelves.stored == list(brought)


async def test_of_a_crowd_in_one_mail_only_so_many_are_learnt() -> None:
    sut, shelves = harvest([])
    brought = tuple(one.certificate for one in SELF_MADE)
    sut._waiting["bob@x.test"] = Lesson("bob@x.test", brought)
    await sut.write()
    assert shelves.stored == list(brought[:CROWD])


async def test_what_signs_crls_and_is_no_ca_is_a_crowd_of_its_own() -> None:
    """An end-user certificate with cRLSign makes each search for CRL signers longer."""
    signers = [
        ROOT.issue("A name that many have", key="p256", key_usage=frozenset({"cRLSign"}))
        for _ in range(CROWD + 1)
    ]
    known = [one.certificate for one in signers[:-1]]
    knowledge = Knowledge(roots=[ROOT.certificate], authorities=known)
    assert is_crowded(signers[-1].certificate, knowledge)
    assert not is_crowded(CAS[0].certificate, knowledge)  # the true CA is not kept out
    everyday = ROOT.issue("A name that many have", mail="bob@x.test")
    assert not is_crowded(everyday.certificate, knowledge)


async def test_what_waits_for_the_database_is_bounded_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harvesting, "MOST", 3)
    sut, shelves = harvest([CAS[0]])
    people = [
        CAS[0].issue(f"User {n}", mail=f"u{n}@x.test", key="p256").certificate for n in range(6)
    ]
    for one in people:
        sut._remember(Lesson(one.addresses[0], (one,)))
    assert len(sut._waiting) == 3
    journal = cast(Journal, sut._journal)
    assert [event for event, _ in journal.notes] == ["certificates of signatures not kept"]
    await sut.write()
    assert shelves.stored == people[:3]
    assert not sut._waiting
    for one in people:
        sut._remember(Lesson(one.addresses[0], (one,)))
    told = [event for event, _ in journal.notes].count("certificates of signatures not kept")
    assert told == 2
