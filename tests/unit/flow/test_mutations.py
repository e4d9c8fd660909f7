"""Broken mails, a few thousand: each comes to a plan and goes on, or is refused for its header.

`make fuzz` does a hundred thousand.
"""

from __future__ import annotations

import random

import pytest

from smimefilter.message.wire import HeaderTooLarge
from smimefilter.plan.plan import Action
from tests.support.mutations import mutated, opened, seeds

READ = {
    Action.UNTOUCHED,
    Action.OPEN,
    Action.DECRYPT,
    Action.VERIFY,
    Action.UNDECRYPTABLE,
    Action.CLEAN,
}


@pytest.mark.parametrize("number", range(20))
def test_whatever_comes_there_is_a_plan(number: int) -> None:
    source = random.Random(number)  # noqa: S311 - to break mails, and the same ones each time
    for _ in range(150):
        mail = mutated(source)
        try:
            plan, content = opened(mail)
        except HeaderTooLarge:
            continue
        (decision,) = plan.decisions
        assert decision.action in READ
        assert content


def test_the_seeds_are_good() -> None:
    for mail in seeds()[2:]:
        plan, _ = opened(mail)
        (decision,) = plan.decisions
        codes = {reason.because.value for reason in decision.reasons}
        assert codes & {"decrypted", "signature-good"}, codes


def test_a_subject_with_a_bare_carriage_return_gets_its_tag() -> None:
    mail = seeds()[2].replace(b"Subject: hello", b"Subject: hel\rlo")
    plan, content = opened(mail)
    assert plan.decisions[0].action is Action.VERIFY
    assert b"Subject: hel lo [signed by alice@out.test]\r\n" in content
