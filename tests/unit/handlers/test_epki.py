"""Orders from EPKI, end to end: desk, SQLite, handler, mutual TLS, and what answers there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from xml.sax.saxutils import escape

import pytest
from pydantic import ValidationError

from smimefilter.flow.requests import LEASE
from smimefilter.handlers import epki as module
from smimefilter.handlers.epki import SHOWN_BY, Epki, EpkiSettings
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.ports.requests import RequestState
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.support.cas.desks import ALICE, Desk, Died, closing, deadly
from tests.support.cas.epki import PASSWORD, PROFILE, USER, EpkiService, Says
from tests.support.cas.globalsign import Behave, closes, huge, says, silent, tls
from tests.support.pki import NOW, key_of, root


@pytest.fixture
def epki() -> Iterator[EpkiService]:
    with EpkiService() as service:
        yield service


def settings(epki: EpkiService, **special: Any) -> dict[str, Any]:
    return {
        "url": epki.url,
        "user_name": USER,
        "password": PASSWORD,
        "profile_id": PROFILE,
        "tls_certificate": tls().client.certificate,
        "tls_key": tls().client.key,
        "roots": tls().roots,
        "timeout": 5,
    } | special


@pytest.fixture
def desk(database: Database, epki: EpkiService) -> Desk:
    return Desk(database, Epki, settings(epki))


@pytest.fixture
def later(database: Database, epki: EpkiService) -> Desk:
    """In async mode."""
    return Desk(database, Epki, settings(epki, mode="async", pickup_password="pick me"))


async def tested(desk: Desk) -> str:
    async with closing(desk.opened()) as handler:
        return await handler.test()


async def test_issued_at_once(desk: Desk, epki: EpkiService) -> None:
    done = await desk.ask(replace(ALICE, common_name="Alice & <Söhne>"))
    assert (done.state, done.outcome) == (RequestState.ISSUED, "issued")
    assert await desk.database.certificates.key(done.thumbprint)
    ((_, order),) = epki.orders.items()
    assert order.fields["CommonName"] == "Alice & <Söhne>"
    assert order.fields["Email"] == "alice@in.test"
    assert (order.fields["ProductCode"], order.fields["Year"]) == ("EPKIPSPersonal", "1")
    assert len(order.fields["PickupPassword"]) >= 16
    assert "OrganizationUnit" not in order.fields


async def test_an_order_that_takes_longer(desk: Desk, epki: EpkiService) -> None:
    epki.gives_at_once = False
    done = await desk.ask()
    assert done.outcome == "ordered as CEOP00000001: not issued yet"
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert epki.asked == ["OrderAndIssueCertificate", "GetOrderByOrderId"]


async def test_async_mode(later: Desk, epki: EpkiService) -> None:
    done = await later.ask()
    assert done.outcome == "ordered as CEOP00000001: give the CSR at GlobalSign's site"
    assert done.due == NOW + timedelta(minutes=15)
    assert epki.orders["CEOP00000001"].fields["PickupPassword"] == "pick me"
    done = await later.again(done)
    assert done.state is RequestState.PENDING
    epki.pick_up("CEOP00000001", await later.desk().csr(done))
    assert (await later.again(done)).state is RequestState.ISSUED
    assert len(epki.orders) == 1


@pytest.mark.parametrize("status", ["3", "5", "7"])
async def test_an_order_that_has_ended(later: Desk, epki: EpkiService, status: str) -> None:
    done = await later.ask()
    epki.orders["CEOP00000001"].status = status
    done = await later.again(done)
    assert done.state is RequestState.REFUSED
    assert "order CEOP00000001 was" in done.outcome


def test_async_mode_needs_a_password_for_people() -> None:
    wanted = {"user_name": "u", "password": "p", "profile_id": "P"}
    assert EpkiSettings.model_validate(wanted).mode == "sync"
    with pytest.raises(ValidationError, match="async mode needs a pickup_password"):
        EpkiSettings.model_validate(wanted | {"mode": "async"})


async def test_what_it_says_of_itself(desk: Desk, epki: EpkiService) -> None:
    await desk.ask()
    assert await tested(desk) == f"{USER} is logged in; orders of these days: 1"


async def test_a_login_that_is_not_taken(database: Database, epki: EpkiService) -> None:
    desk = Desk(database, Epki, settings(epki, password="wrong"))
    with pytest.raises(HandlerTrouble, match="-4001 Login failure") as trouble:
        await tested(desk)
    assert "wrong" not in str(trouble.value)
    done = await desk.ask()
    assert done.state is RequestState.PENDING
    assert await desk.state(done) == {}


@pytest.mark.parametrize("code", ["-101", "-102", "-103", "-104", "-105"])
async def test_what_is_wrong_with_the_input_is_a_refusal(
    desk: Desk, epki: EpkiService, code: str
) -> None:
    epki.failing = Says(code, "too\nlong", "Email")
    done = await desk.ask()
    assert done.state is RequestState.REFUSED
    assert done.outcome == f"EPKI refuses it: {code} Email: too long"


@pytest.mark.parametrize("written", [PASSWORD, escape(PASSWORD)])
async def test_what_it_says_of_a_request_is_told_without_its_secrets(
    later: Desk, epki: EpkiService, written: str
) -> None:
    sent = f"<UserName>u</UserName><Password>{written}</Password> pick me"
    epki.failing = Says("-101", sent, "Password")
    done = await later.ask()
    assert done.state is RequestState.REFUSED
    hidden = "<UserName>u</UserName><Password>(secret)</Password> (secret)"
    assert done.outcome == f"EPKI refuses it: -101 Password: {hidden}"
    fault = f"<s:Fault><faultstring>no: {escape(sent)}</faultstring></s:Fault>"
    epki.after["OrderCertificate"], epki.failing = says(envelope(fault), 500), None
    assert (await later.ask()).outcome == f"EPKI could not do it: no: {hidden}"


async def test_what_leads_nowhere_is_not_stored(desk: Desk, epki: EpkiService) -> None:
    """What answers an order may bring all the CAs there are."""
    above = [root(f"CA {n}").certificate for n in range(12)]
    epki.beside = tuple(above)
    done = await desk.ask()
    assert done.state is RequestState.ISSUED
    stored = await desk.database.certificates.all(Shelf.CERTIFICATES)
    assert len(stored) == 1


async def test_other_errors_are_trouble(desk: Desk, epki: EpkiService) -> None:
    epki.failing = Says("-6002", "insufficient points")
    done = await desk.ask()
    assert done.outcome == "EPKI says: -6002 insufficient points"
    assert await desk.state(done) == {}
    epki.failing = None
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert "GetOrders" not in epki.asked  # it was certain that nothing was ordered


async def test_an_address_that_cannot_be_asked_for(desk: Desk, epki: EpkiService) -> None:
    done = await desk.ask(replace(ALICE, address="älice@in.test"))
    assert done.state is RequestState.REFUSED
    assert epki.asked == []


def envelope(inside: str) -> str:
    namespace = "http://schemas.xmlsoap.org/soap/envelope/"
    return f'<s:Envelope xmlns:s="{namespace}"><s:Body>{inside}</s:Body></s:Envelope>'


def bomb(levels: int = 12) -> str:
    entities = '<!ENTITY e0 "ha">' + "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, levels)
    )
    return f"<!DOCTYPE x [{entities}]>" + envelope(f"<x>&e{levels - 1};</x>")


FAULT = envelope(
    "<s:Fault><faultcode>s:Server</faultcode><faultstring>down</faultstring></s:Fault>"
)
MALFORMED: dict[str, tuple[Behave, str]] = {
    "nothing": (says(""), "cannot be read"),
    "no XML": (says("{}"), "cannot be read"),
    "no SOAP": (says("<html/>"), "not a SOAP answer"),
    "no answer": (says(envelope("")), "not a SOAP answer"),
    "another one": (says(envelope("<CancelResponse/>")), "something else"),
    "a bomb": (says(bomb()), "declares a document type"),
    "a bomb in UTF-16": (says(bomb().encode("utf-16")), "not UTF-8"),
    "a bomb in disguise": (
        says(b'<?xml version="1.0" encoding="utf-7"?>' + bomb().encode("utf-7")),
        "cannot be read",
    ),
    "an external entity": (
        says('<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + envelope("<x>&f;</x>")),
        "declares a document type",
    ),
    "an entity from nowhere": (says(envelope("<x>&f;</x>")), "undefined entity"),
    "too deep": (says(envelope("<a>" * 5000 + "</a>" * 5000)), "too deep"),
    "too many": (says(envelope("<x>" + "<a/>" * 30_000 + "</x>")), "too many"),
    "too large": (huge, "larger than 1 MiB"),
    "closed": (closes, "the connection broke"),
    "a fault": (says(FAULT, 500), "EPKI could not do it: down"),
    "502": (says("oops", 502), "EPKI answered 502"),
    "a redirect": (says("", 302), "EPKI answered 302"),
    "no code": (
        says(envelope("<OrderAndIssueCertificateResponse><Response/>"
                      "</OrderAndIssueCertificateResponse>")),
        "does not say whether",
    ),
    "no number": (
        says(envelope("<OrderAndIssueCertificateResponse><Response><OrderResponseHeader>"
                      "<SuccessCode>0</SuccessCode></OrderResponseHeader></Response>"
                      "</OrderAndIssueCertificateResponse>")),
        "did not say its number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_answers_are_trouble_and_order_nothing_twice(
    desk: Desk, epki: EpkiService, name: str
) -> None:
    epki.after["OrderAndIssueCertificate"], said = MALFORMED[name]
    done = await desk.ask()
    assert done.state is RequestState.PENDING
    assert said in done.outcome
    assert "ordering" in await desk.state(done)
    assert desk.journal.troubles == []
    done = await desk.again(done)
    assert done.state is RequestState.ISSUED
    assert len(epki.orders) == 1


async def test_a_certificate_that_is_none(desk: Desk, epki: EpkiService) -> None:
    answer = (
        "<OrderAndIssueCertificateResponse><Response><OrderResponseHeader><SuccessCode>0"
        "</SuccessCode></OrderResponseHeader><OrderID>CEOP00000001</OrderID><CERT>x</CERT>"
        "</Response></OrderAndIssueCertificateResponse>"
    )
    epki.after["OrderAndIssueCertificate"] = says(envelope(answer))
    done = await desk.ask()
    assert "something else than a certificate" in done.outcome
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert len(epki.orders) == 1


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "another key": ({"key": key_of("rsa2048", "other").public_key()}, "for another key"),
    "another address": ({"addresses": ("mallory@in.test",)}, "names mallory@in.test"),
    "a CA": ({"ca": True}, "that of a CA"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_certificates_are_refused(
    desk: Desk, epki: EpkiService, name: str
) -> None:
    epki.special, said = HOSTILE[name]
    done = await desk.ask()
    assert done.state is RequestState.REFUSED
    assert said in done.outcome
    assert await desk.database.certificates.keys() == []
    assert await desk.database.certificates.all(Shelf.CERTIFICATES) == []


async def test_an_order_of_somebody_else_is_not_taken_for_ours(
    desk: Desk, epki: EpkiService
) -> None:
    assert (await desk.ask()).state is RequestState.ISSUED  # another request of Alice
    epki.behave["OrderAndIssueCertificate"] = closes
    done = await desk.ask()
    epki.behave.clear()
    while "to be seen" in (done := await desk.again(done)).outcome:
        assert desk.now < NOW + SHOWN_BY
    assert done.state is RequestState.ISSUED
    assert desk.now >= NOW + SHOWN_BY
    assert len(epki.orders) == 2


async def test_the_order_with_our_key_goes_before_an_older_one_of_the_same_person(
    later: Desk, desk: Desk, epki: EpkiService
) -> None:
    await later.ask()  # in async mode: no certificate yet
    epki.after["OrderAndIssueCertificate"] = closes
    done = await desk.ask()
    epki.after.clear()
    assert len(epki.orders) == 2
    assert (await desk.again(done)).state is RequestState.ISSUED


@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_open_order_that_was_another_ones_is_left_for_ours(
    later: Desk, desk: Desk, epki: EpkiService, cancelled: bool
) -> None:
    others = await later.ask()  # in async mode: no certificate yet
    epki.behave["OrderAndIssueCertificate"] = closes  # and ours is not taken
    done = await desk.ask()
    epki.behave.clear()
    done = await desk.again(done)
    assert done.outcome.startswith("ordered as CEOP00000001")
    if cancelled:
        epki.orders["CEOP00000001"].status = "3"
    else:
        epki.pick_up("CEOP00000001", await later.desk().csr(others))
    done = await desk.again(done)
    assert "order CEOP00000001 was another one's" in done.outcome
    assert done.state is RequestState.PENDING
    desk.now += SHOWN_BY
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert len(epki.orders) == 2
    if not cancelled:
        assert (await later.again(others)).state is RequestState.ISSUED


async def test_nothing_is_ordered_while_not_all_orders_are_shown(
    desk: Desk, epki: EpkiService
) -> None:
    epki.after["OrderAndIssueCertificate"] = closes
    done = await desk.ask()
    header = "<QueryResponseHeader><SuccessCode>0</SuccessCode></QueryResponseHeader>"
    inside = f"<Response>{header}<TotalCount>501</TotalCount></Response>"
    epki.behave["GetOrders"] = says(
        envelope(f"<GetOrdersResponse>{inside}</GetOrdersResponse>")
    )
    desk.now += timedelta(hours=1)
    assert "shows not all of its orders" in (await desk.again(done)).outcome
    epki.behave.clear()
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert len(epki.orders) == 1


async def test_a_time_out_orders_nothing_twice(database: Database, epki: EpkiService) -> None:
    desk = Desk(database, Epki, settings(epki, timeout=0.3))
    epki.after["OrderAndIssueCertificate"] = silent
    done = await desk.ask()
    assert "no answer within 0.3 seconds" in done.outcome
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert len(epki.orders) == 1


async def test_a_service_that_is_down_got_no_order(
    database: Database, epki: EpkiService
) -> None:
    down = settings(epki, url="https://127.0.0.1:1/")
    done = await Desk(database, Epki, down).ask()
    assert "cannot be reached" in done.outcome
    assert await Desk(database, Epki, down).state(done) == {}


async def test_an_inner_error_leaves_open_what_was_done(desk: Desk, epki: EpkiService) -> None:
    epki.failing = Says("-1", "internal system error")
    done = await desk.ask()
    assert "ordering" in await desk.state(done)
    assert done.state is RequestState.PENDING


async def test_a_lost_answer_in_async_mode(later: Desk, epki: EpkiService) -> None:
    epki.after["OrderCertificate"] = closes
    done = await later.ask()
    epki.after.clear()
    done = await later.again(done)
    assert done.outcome.startswith("ordered as CEOP00000001")
    epki.pick_up("CEOP00000001", await later.desk().csr(done))
    assert (await later.again(done)).state is RequestState.ISSUED
    assert len(epki.orders) == 1


@pytest.mark.parametrize("at", range(1, 4))  # there are two
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_dies_orders_nothing_twice(
    desk: Desk, epki: EpkiService, monkeypatch: pytest.MonkeyPatch, at: int, when: str
) -> None:
    real: Callable[..., Any] = module.Remote.ask
    epki.gives_at_once = False

    (stored,) = await desk.desk().submit([ALICE], "remote")
    monkeypatch.setattr(module.Remote, "ask", deadly(real, at, when))
    for _ in range(2):
        with contextlib.suppress(Died, BaseExceptionGroup):
            await desk.desk().work([stored.id])
        desk.now += LEASE + timedelta(minutes=1)
    for _ in range(3):
        await desk.desk().work_due(9)
        desk.now += timedelta(hours=1)
    assert (await desk.desk().find(stored.id)).state is RequestState.ISSUED
    assert len(epki.orders) == 1
