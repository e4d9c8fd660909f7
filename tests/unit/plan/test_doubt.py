"""A certificate whose revocation cannot be told just now is no reason to send in clear."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smimefilter.base.reasons import Because
from smimefilter.pki.crl import Crl
from smimefilter.plan.plan import Action
from tests.support.pki import NOW
from tests.support.plans import AUTHORITY, ROOT, World, codes

ALICE, BOB = "alice@in.test", "bob@out.test"
DAY = timedelta(days=1)
URL = ("http://crl.test/sub",)


def crls(*, sub_until: float = 1) -> list[Crl]:
    """CRLs of root and CA, the CA's good for so many days from now."""
    since, until = NOW - 10 * DAY, NOW + sub_until * DAY
    return [
        Crl.read(ROOT.crl([], this_update=since, next_update=NOW + 10 * DAY)),
        Crl.read(AUTHORITY.crl([], this_update=since, next_update=until)),
    ]


def world(*, encrypt: str, **special: object) -> World:
    made = World().set("global", require_crl="yes", encrypt=encrypt)
    made.person(BOB, **special)
    return made


@pytest.mark.parametrize("encrypt", ["allow", "mandatory"])
def test_a_crl_past_its_time_delays_the_mail(encrypt: str) -> None:
    made = world(encrypt=encrypt)
    made.crls = crls(sub_until=-1)
    (decision,) = made.plan(ALICE, BOB).decisions
    assert decision.action is Action.DEFER
    assert Because.REVOCATION_UNKNOWN_NOW in codes(decision)
    assert decision.refusal
    assert str(decision.refusal.status) == "4.7.5"
    made.crls = crls()
    assert made.plan(ALICE, BOB).decisions[0].action is Action.ENCRYPT


@pytest.mark.parametrize("encrypt", ["allow", "mandatory"])
def test_so_does_one_that_has_not_been_fetched(encrypt: str) -> None:
    made = world(encrypt=encrypt, crl_urls=URL)
    made.crls = crls()[:1]
    assert made.plan(ALICE, BOB).decisions[0].action is Action.DEFER


@pytest.mark.parametrize(
    ("encrypt", "action"), [("allow", "untouched"), ("mandatory", "refuse")]
)
def test_where_there_is_none_to_be_had_policy_decides(encrypt: str, action: str) -> None:
    made = world(encrypt=encrypt)
    assert made.plan(ALICE, BOB).decisions[0].action == action


def test_another_certificate_takes_its_place() -> None:
    made = world(encrypt="allow", crl_urls=URL)
    made.set(BOB, require_crl="no")
    assert made.plan(ALICE, BOB).decisions[0].action is Action.ENCRYPT
