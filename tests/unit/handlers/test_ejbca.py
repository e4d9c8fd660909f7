"""EJBCA: at once, after an approval, refused; and never two certificates for one order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from smimefilter.handlers.ejbca import Ejbca, EjbcaSettings
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
from tests.support.cas.ejbca import FakeEjbca, error
from tests.support.cas.server import Fault, stranger


@pytest.fixture
async def ca() -> AsyncIterator[FakeEjbca]:
    async with FakeEjbca() as running:
        yield running


def settings(ca: FakeEjbca, **special: Any) -> EjbcaSettings:
    return EjbcaSettings.model_validate(ca.settings(**special))


async def ask(
    ca: FakeEjbca, wanted: Order | None = None, memory: Memory | None = None, **special: Any
) -> Outcome:
    handler = Ejbca.opened(settings(ca, **special), Services())
    try:
        return await handler.request(wanted or order(), memory or Memory())
    finally:
        await handler.close()


async def trouble(ca: FakeEjbca, *given: Any, **special: Any) -> str:
    with pytest.raises(HandlerTrouble) as caught:
        await ask(ca, *given, **special)
    text = str(caught.value)
    assert "\n" not in text
    return text


# the good way


async def test_issued_at_once_with_its_chain(ca: FakeEjbca) -> None:
    memory = Memory()
    outcome = await ask(ca, memory=memory)
    assert isinstance(outcome, Issued)
    assert outcome.certificate.addresses == (ALICE,)
    assert outcome.chain == (ca.authority.certificate, *ca.authority.chain)
    (asked,) = ca.asked
    body = json.loads(asked.body)
    assert body["certificate_profile_name"] == "SMIME"
    assert body["end_entity_profile_name"] == "Employee"
    assert body["email"] == ALICE
    assert body["username"] == f"smimefilter-{order().id}"
    assert memory.states == [{"password": body["password"]}]  # before it was asked


async def test_a_chain_that_is_not_given_is_fetched(ca: FakeEjbca) -> None:
    ca.with_chain = False
    outcome = await ask(ca)
    assert isinstance(outcome, Issued)
    assert outcome.chain == (ca.authority.certificate, *ca.authority.chain)


async def test_somebody_approves(ca: FakeEjbca) -> None:
    ca.approvals, memory = True, Memory()
    first = await ask(ca, memory=memory)
    assert isinstance(first, Later)
    assert "waits to be approved at EJBCA, request 1001" in first.note
    assert first.state == memory.last
    assert first.again == timedelta(minutes=15)
    second = await ask(ca, order(first.state))
    assert isinstance(second, Later)
    ca.decide(approve=True)
    third = await ask(ca, order(second.state))
    assert isinstance(third, Issued)
    assert third.chain[0] == ca.authority.certificate
    assert ca.count("pkcs10enroll") == 1


async def test_nobody_approves(ca: FakeEjbca) -> None:
    ca.approvals = True
    first = await ask(ca)
    assert isinstance(first, Later)
    ca.decide(approve=False)
    outcome = await ask(ca, order(first.state))
    assert isinstance(outcome, NotIssued)
    assert "has been rejected" in outcome.reason


async def test_it_can_be_tried(ca: FakeEjbca) -> None:
    handler = Ejbca.opened(settings(ca), Services())
    assert await handler.test() == "EJBCA answers, and has the CA 'Mail CA'"
    await handler.close()
    handler = Ejbca.opened(settings(ca, certificate_authority="Nail CA"), Services())
    with pytest.raises(HandlerTrouble, match="shows us no CA 'Nail CA'"):
        await handler.test()
    ca.reply = (403, error(403, "not authorized").body or b"", "application/json")
    with pytest.raises(HandlerTrouble, match="HTTP 403 Forbidden: not authorized"):
        await handler.test()
    await handler.close()


# once


async def test_an_order_whose_answer_was_lost_is_not_made_twice(ca: FakeEjbca) -> None:
    ca.fault, memory = Fault.LOST, Memory()
    assert "without an answer" in await trouble(ca, order(), memory)
    ca.fault = None
    outcome = await ask(ca, order(memory.last), memory)
    assert isinstance(outcome, Issued)
    (entity,) = ca.entities.values()
    assert outcome.certificate == entity.certificate
    assert ca.count("pkcs10enroll") == 1


@pytest.mark.parametrize("double", [False, True])
async def test_an_order_without_what_was_remembered_is_found(
    ca: FakeEjbca, double: bool
) -> None:
    ca.double = double
    first, second = await ask(ca), await ask(ca)
    assert isinstance(first, Issued)
    assert isinstance(second, Issued)
    assert first.certificate == second.certificate


async def test_where_it_cannot_be_looked_it_is_not_ordered_again(ca: FakeEjbca) -> None:
    ca.fault, memory = Fault.LOST, Memory()
    await trouble(ca, order(), memory)
    ca.fault, ca.search_forbidden = None, True
    said = await trouble(ca, order(memory.last), memory)
    assert "cannot look whether the order was made already" in said
    assert ca.count("pkcs10enroll") == 1


async def test_an_approval_whose_answer_was_lost_waits_for_people(ca: FakeEjbca) -> None:
    ca.approvals, ca.fault, memory = True, Fault.LOST, Memory()
    await trouble(ca, order(), memory)
    ca.fault = None
    assert "EJBCA has the order already" in await trouble(ca, order(memory.last), memory)


async def test_a_certificate_whose_answer_was_lost_when_it_was_finalised(
    ca: FakeEjbca,
) -> None:
    ca.approvals = True
    first = await ask(ca)
    assert isinstance(first, Later)
    ca.decide(approve=True)
    ca.fault = Fault.LOST
    await trouble(ca, order(first.state))
    ca.fault = None
    assert isinstance(await ask(ca, order(first.state)), Issued)


async def test_where_nothing_was_done_nothing_needs_to_be_looked_for(ca: FakeEjbca) -> None:
    ca.reply, memory = (403, b"<html>", "text/html"), Memory()
    await trouble(ca, order(), memory)
    assert memory.last == {}
    ca.reply, ca.search_forbidden = None, True
    assert isinstance(await ask(ca, order(memory.last), memory), Issued)


# what goes wrong


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_refused_for_good(ca: FakeEjbca, status: int) -> None:
    def refuse(body: dict[str, Any]) -> Any:
        return error(status, "profile\nsays no")

    ca._enrol = refuse  # type: ignore[method-assign]
    assert await ask(ca) == NotIssued("EJBCA refuses: profile says no")


@pytest.mark.parametrize("status", [401, 403, 404, 405, 429, 500, 502, 503, 504, 302, 204, 299])
async def test_what_may_be_over_later(ca: FakeEjbca, status: int) -> None:
    body = b"" if status == 204 else error(status, "not now").body
    ca.reply = (status, body or b"", "application/json")  # type: ignore[assignment]
    assert f"HTTP {status}" in await trouble(ca)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b"[" * 100_000, b'{"certificate": 7}', b"<html>",
        b'{"certificate": "rubbish"}', b'{"certificate": "AAAA", "certificate_chain": ["x"]}',
        b'{"certificate": ""}', b'{"certificate": null}', b"\xff\xfe",
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 201, 202])
async def test_answers_that_are_not_understood(ca: FakeEjbca, status: int, body: bytes) -> None:
    ca.reply = (status, body, "application/json")
    assert "the CA's answer" in await trouble(ca)


async def test_a_ca_certificate_is_none_of_a_user(ca: FakeEjbca) -> None:
    ca.special = {"ca": True, "public": other_key()}
    assert "none of a user" in await trouble(ca)


async def test_a_ca_that_says_nothing(ca: FakeEjbca) -> None:
    ca.fault, memory = Fault.SILENT, Memory()
    assert "no answer within 1 s" in await trouble(ca, order(), memory, timeout=1)
    assert memory.last  # it may have done it


async def test_an_answer_that_is_too_large(ca: FakeEjbca) -> None:
    ca.fault = Fault.LARGE
    assert "larger than 1 MiB" in await trouble(ca)


async def test_without_a_client_certificate_that_it_knows() -> None:
    async with FakeEjbca(clients=stranger()) as other:
        assert "perhaps our certificate is not taken" in await trouble(other)
        assert not other.asked


async def test_a_password_that_is_said_back_is_not_told(ca: FakeEjbca) -> None:
    def refuse(body: dict[str, Any]) -> Any:
        return error(422, f"weak password {body['password']}")

    ca._enrol = refuse  # type: ignore[method-assign]
    assert await ask(ca) == NotIssued("EJBCA refuses: weak password (secret)")


# through the desk


async def test_requested_approved_and_stored(ca: FakeEjbca, database: Database) -> None:
    ca.approvals = True
    desk = Desk(database, Ejbca, settings(ca))
    waiting = await desk.request()
    assert waiting.state is RequestState.PENDING
    ca.decide(approve=True)
    done = await desk.again(waiting)
    assert done.state is RequestState.ISSUED
    (entity,) = ca.entities.values()
    assert entity.certificate in await desk.stored()
    assert ca.authority.certificate in await desk.stored()


async def test_what_was_remembered_survives_trouble(ca: FakeEjbca, database: Database) -> None:
    desk = Desk(database, Ejbca, settings(ca))
    ca.fault = Fault.LOST
    waiting = await desk.request()
    assert waiting.state is RequestState.PENDING
    assert "without an answer" in waiting.outcome
    ca.fault = None
    done = await desk.again(waiting)
    assert done.state is RequestState.ISSUED
    assert ca.count("pkcs10enroll") == 1
    assert ca.count("search") == 1


@pytest.mark.parametrize(
    ("special", "why"),
    [
        ({"public": other_key()}, "it is for another key"),
        ({"addresses": ("mallory@example.com",)}, "it names mallory@example.com, not"),
        ({"addresses": (ALICE, "boss@example.com")}, "it names others too"),
        ({"addresses": ()}, "it names no address"),
    ],
)
async def test_a_ca_that_gives_something_else(
    ca: FakeEjbca, database: Database, special: dict[str, Any], why: str
) -> None:
    ca.special = special
    desk = Desk(database, Ejbca, settings(ca))
    refused = await desk.request()
    assert refused.state is RequestState.REFUSED
    assert why in refused.outcome
    assert await desk.stored() == []
