"""Intellicard, in the profile that is told in its documentation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from smimefilter.handlers.intellicard import Intellicard, IntellicardSettings
from smimefilter.ports.handlers import (
    HandlerTrouble,
    Issued,
    Later,
    NotIssued,
    Order,
    Outcome,
)
from smimefilter.ports.requests import RequestState
from smimefilter.store.database import Database
from tests.support.cas.desk import ALICE, Desk, Memory, Services, order, other_key
from tests.support.cas.intellicard import FakeIntellicard
from tests.support.cas.server import Fault, stranger


@pytest.fixture
async def ca() -> AsyncIterator[FakeIntellicard]:
    async with FakeIntellicard() as running:
        yield running


def settings(ca: FakeIntellicard, **special: Any) -> IntellicardSettings:
    return IntellicardSettings.model_validate(ca.settings(**special))


async def ask(
    ca: FakeIntellicard,
    wanted: Order | None = None,
    memory: Memory | None = None,
    **special: Any,
) -> Outcome:
    handler = Intellicard.opened(settings(ca, **special), Services())
    handler._link._pauses = (0.0,)
    try:
        return await handler.request(wanted or order(), memory or Memory())
    finally:
        await handler.close()


async def trouble(ca: FakeIntellicard, *given: Any, **special: Any) -> str:
    with pytest.raises(HandlerTrouble) as caught:
        await ask(ca, *given, **special)
    text = str(caught.value)
    assert "\n" not in text
    assert "CN=" not in text  # the query
    return text


@pytest.mark.parametrize("form", ["pkcs7", "pem", "der"])
async def test_issued_at_once(ca: FakeIntellicard, form: str) -> None:
    ca.form, memory = form, Memory()
    outcome = await ask(ca, memory=memory)
    assert isinstance(outcome, Issued)
    assert outcome.certificate.addresses == (ALICE,)
    assert len(outcome.chain) == (0 if form == "der" else 2)
    (asked,) = ca.asked
    assert (asked.method, asked.path) == ("PUT", f"/epki/customers/DE-4711/orders/{order().id}")
    assert asked.query == {"ca": "CN=Issuing CA", "address": ALICE, "days": "365"}
    assert asked.body == ca.orders[order().id]
    assert memory.states == [{"ordered": True}]


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("", timedelta(minutes=15)),
        ("600", timedelta(minutes=10)),
        ("1", timedelta(minutes=1)),
        ("9999999", timedelta(days=1)),
        ("tomorrow", timedelta(minutes=15)),
    ],
)
async def test_in_work_then_issued(ca: FakeIntellicard, said: str, again: timedelta) -> None:
    ca.approvals, ca.retry_after = True, said
    first = await ask(ca)
    assert isinstance(first, Later)
    assert first.again == again
    ca.approvals = False
    assert isinstance(await ask(ca, order(first.state)), Issued)
    assert [one.method for one in ca.asked] == ["PUT", "GET"]


async def test_an_order_that_did_not_arrive_is_put_again(ca: FakeIntellicard) -> None:
    assert isinstance(await ask(ca, order({"ordered": True})), Issued)
    assert [one.method for one in ca.asked] == ["GET", "PUT"]


async def test_an_order_whose_answer_was_lost_is_one(ca: FakeIntellicard) -> None:
    ca.fault, memory = Fault.LOST, Memory()
    assert "without an answer" in await trouble(ca, order(), memory)
    ca.fault = None
    outcome = await ask(ca, order(memory.last), memory)
    assert isinstance(outcome, Issued)
    assert list(ca.issued.values()) == [outcome.certificate]


@pytest.mark.parametrize("status", [400, 409, 410, 413, 422])
async def test_refused_for_good(ca: FakeIntellicard, status: int) -> None:
    ca.refusal = (status, "not in your\ncontract")
    assert await ask(ca) == NotIssued("the CA refuses: not in your contract")


@pytest.mark.parametrize("status", [301, 401, 403, 429, 500, 502, 503])
async def test_what_may_be_over_later(ca: FakeIntellicard, status: int) -> None:
    ca.refusal = (status, "not now")
    assert f"HTTP {status}" in await trouble(ca)


@pytest.mark.parametrize("body", [b"", b"rubbish", b"<html>", b"\x30\x82", b"0" * 5000])
async def test_answers_that_are_not_understood(ca: FakeIntellicard, body: bytes) -> None:
    ca.reply = (200, body, "application/pkcs7-mime")
    assert "holds no certificate" in await trouble(ca)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.SILENT, "no answer within 1 s"),
        (Fault.LARGE, "larger than 1 MiB"),
        (Fault.CLOSE, "without an answer"),
    ],
)
async def test_a_service_that_misbehaves(ca: FakeIntellicard, fault: Fault, said: str) -> None:
    ca.fault = fault
    handler = Intellicard.opened(settings(ca, timeout=1), Services())
    handler._link._pauses = ()
    with pytest.raises(HandlerTrouble, match=said):
        await handler.request(order(), Memory())
    await handler.close()


async def test_without_a_client_certificate_that_it_knows() -> None:
    async with FakeIntellicard(clients=stranger()) as other:
        assert "perhaps our certificate is not taken" in await trouble(other)
        assert not other.asked


async def test_it_can_be_tried(ca: FakeIntellicard) -> None:
    handler = Intellicard.opened(settings(ca), Services())
    assert await handler.test() == "the service answers, and knows customer DE-4711"
    await handler.close()
    handler = Intellicard.opened(settings(ca, customer_id="other"), Services())
    with pytest.raises(HandlerTrouble, match="HTTP 403 Forbidden: not your account"):
        await handler.test()
    await handler.close()


@pytest.mark.parametrize(
    "special",
    [
        {"ca_dn": ""}, {"ca_dn": "Example CA"}, {"customer_id": "../x"}, {"customer_id": ""},
        {"url": "http://ca.test"}, {"timeout": 0}, {"nothing": 1},
    ],
)  # fmt: skip
async def test_settings_that_are_none(ca: FakeIntellicard, special: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(ca, **special)


async def test_requested_and_stored(ca: FakeIntellicard, database: Database) -> None:
    ca.approvals = True
    desk = Desk(database, Intellicard, settings(ca))
    waiting = await desk.request()
    assert waiting.state is RequestState.PENDING
    ca.approvals = False
    assert (await desk.again(waiting)).state is RequestState.ISSUED
    assert set(ca.issued.values()) <= set(await desk.stored())


@pytest.mark.parametrize(
    ("special", "why"),
    [
        ({"public": other_key()}, "it is for another key"),
        ({"addresses": ("mallory@example.com",)}, "it names mallory@example.com, not"),
    ],
)
async def test_a_ca_that_gives_something_else(
    ca: FakeIntellicard, database: Database, special: dict[str, Any], why: str
) -> None:
    ca.special = special
    refused = await Desk(database, Intellicard, settings(ca)).request()
    assert refused.state is RequestState.REFUSED
    assert why in refused.outcome
