"""ACME: account, order, challenge mail, certificate; and a CA that does otherwise."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from smimefilter.flow.secrets import rotate_master_key
from smimefilter.handlers.acme import Acme, AcmeSettings
from smimefilter.handlers.acme_keys import AccountKey
from smimefilter.handlers.acme_order import ASK_EVERY
from smimefilter.handlers.registry import SealedVault
from smimefilter.keys.master import MasterKey
from smimefilter.message.wire import Message
from smimefilter.plan.challenge import AwaitedMail, ChallengeMail, challenge_in
from smimefilter.plan.facts import Mail
from smimefilter.ports.handlers import HandlerTrouble, Issued, Later, NotIssued, Order, Outcome
from smimefilter.ports.requests import RequestState
from smimefilter.store.database import Database
from tests.support.cas.acme import EAB_ID, EAB_KEY, FakeAcme, Refusal
from tests.support.cas.desk import ALICE, MASTER, Desk, Memory, Services, order, other_key
from tests.support.cas.desks import Died, deadly
from tests.support.cas.server import Fault
from tests.support.challenges import CA
from tests.support.pki import NOW
from tests.unit.flow.test_challenges import desk_of


@dataclass
class Challenges:
    """Mails in memory; answers go to the CA."""

    ca: FakeAcme
    awaited: list[AwaitedMail | None] = field(default_factory=list)
    came: list[ChallengeMail] = field(default_factory=list)
    answers: list[tuple[str, ChallengeMail, str]] = field(default_factory=list)
    fails: bool = False
    busy: bool = False  # another order waits

    async def expect(self, order: str, awaited: AwaitedMail | None) -> bool:
        if awaited is not None and self.busy:
            return False
        self.awaited.append(awaited)
        if awaited is None:
            self.came.clear()
        return True

    async def arrived(self, order: str) -> list[ChallengeMail]:
        return list(self.came)

    async def answer(self, address: str, mail: ChallengeMail, text: str) -> None:
        if self.fails:
            raise HandlerTrouble("the answer was not taken")
        self.answers.append((address, mail, text))
        content = desk_of(None)._answer(address, mail, text)
        self.ca.receive(content)

    def deliver(self) -> None:
        """What the CA has sent comes."""
        found = [challenge_in(Mail(Message(one))) for one in self.ca.mails]
        self.ca.mails.clear()
        self.came += [one for one in found if one]


class Vault:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        assert len(name) <= 64
        return self.kept.setdefault(name, make())


class World:
    """A CA, a gateway, and what its handler remembers."""

    def __init__(self, ca: FakeAcme) -> None:
        self.ca = ca
        self.memory = Memory()
        self.services: Any = Services()
        self.mail = self.services.challenges = Challenges(ca)
        self.services.vault = Vault()

    def opened(self, **special: Any) -> Acme:
        settings = AcmeSettings.model_validate(self.ca.settings(**special))
        return Acme.opened(settings, self.services)

    async def ask(self, wanted: Order | None = None, **special: Any) -> Outcome:
        """The next step, by a process that was just started."""
        handler = self.opened(**special)
        try:
            wanted = wanted or order(self.memory.last)
            outcome = await handler.request(wanted, self.memory)
        finally:
            await handler.close()
        if isinstance(outcome, Later) and outcome.state:
            self.memory.states.append(dict(outcome.state))
        return outcome

    async def trouble(self, **special: Any) -> str:
        with pytest.raises(HandlerTrouble) as caught:
            await self.ask(**special)
        text = str(caught.value)
        assert "\n" not in text
        return text

    async def issued(self) -> Outcome:
        """All of it, without hindrance."""
        for _ in range(4):
            outcome = await self.ask()
            if not isinstance(outcome, Later):
                break
            self.mail.deliver()
        return outcome


@pytest.fixture
async def ca() -> AsyncIterator[FakeAcme]:
    async with FakeAcme() as running:
        yield running


@pytest.fixture
def world(ca: FakeAcme) -> World:
    return World(ca)


# the good way


async def test_from_the_order_to_the_certificate(ca: FakeAcme, world: World) -> None:
    first = await world.ask()
    assert first == Later(
        f"waits for the challenge mail from {CA}", world.memory.last, timedelta(minutes=2)
    )
    assert world.mail.awaited[0] == AwaitedMail("", "mx.example.com")  # before it is ordered
    assert world.mail.awaited[-1] == AwaitedMail(CA, "mx.example.com")
    world.mail.deliver()
    second = await world.ask()
    assert isinstance(second, Later)
    assert second.note == "the CA checks the answer to its mail"
    third = await world.ask()
    assert isinstance(third, Issued)
    assert third.certificate.addresses == (ALICE,)
    assert third.chain == (ca.authority.certificate,)
    assert world.mail.awaited[-1] is None
    assert not ca.refused
    assert [len(ca.orders), ca.orders[0].posted, len(ca.orders[0].answers)] == [1, 1, 1]


async def test_while_the_mail_has_not_come_the_ca_is_left_alone(
    ca: FakeAcme, world: World
) -> None:
    await world.ask()
    asked = len(ca.asked)
    await world.ask()
    assert len(ca.asked) == asked
    later = order(world.memory.last)
    object.__setattr__(later, "now", NOW + timedelta(hours=7))
    await world.ask(later)
    assert len(ca.asked) > asked


async def test_one_account_for_all_orders(ca: FakeAcme, world: World) -> None:
    assert isinstance(await world.issued(), Issued)
    world.memory.states.clear()
    assert isinstance(await world.issued(), Issued)
    assert len(ca.accounts) == 1
    assert len(world.services.vault.kept) == 1


async def test_what_is_authorised_already_needs_no_mail(ca: FakeAcme, world: World) -> None:
    await world.ask()
    ca.orders[0].authorization, ca.orders[0].status = "valid", "ready"
    later = order(world.memory.last)
    object.__setattr__(later, "now", NOW + timedelta(hours=7))
    assert isinstance(await world.ask(later), Issued)


async def test_a_ca_that_takes_its_time(ca: FakeAcme, world: World) -> None:
    await world.ask()
    world.mail.deliver()
    ca.retry_after = "77"
    second = await world.ask()
    assert isinstance(second, Later)
    assert second.again == timedelta(seconds=77)
    ca.retry_after, ca.polls = "", 3
    waits = []
    for _ in range(2):
        outcome = await world.ask()
        if isinstance(outcome, Later):
            waits.append(outcome.again)
    assert waits == [timedelta(seconds=20)]
    assert isinstance(outcome, Issued)


async def test_several_mails_are_all_answered(ca: FakeAcme, world: World) -> None:
    """Somebody else orders for the same address."""
    await world.ask()
    (mail,) = ca.mails
    ca.mails.insert(0, mail.replace(ca.orders[0].part1.encode(), b"A" * 22))
    world.mail.deliver()
    await world.ask()
    assert len(world.mail.answers) == 2
    assert isinstance(await world.ask(), Issued)


async def test_a_mail_from_another_sender_is_not_answered(world: World) -> None:
    await world.ask()
    world.mail.came.append(ChallengeMail("A" * 22, "mallory@ca.test", CA, "<a@b>"))
    assert isinstance(await world.ask(), Later)
    assert world.mail.answers == []


async def test_an_answer_that_is_not_taken_is_sent_again(ca: FakeAcme, world: World) -> None:
    await world.ask()
    world.mail.deliver()
    world.mail.fails = True
    assert await world.trouble() == "the answer was not taken"
    assert ca.orders[0].posted == 0
    world.mail.fails = False
    assert isinstance(await world.issued(), Issued)
    assert len(world.mail.answers) == 1


async def test_one_at_a_time_for_an_address(ca: FakeAcme, world: World) -> None:
    world.mail.busy = True
    outcome = await world.ask()
    assert isinstance(outcome, Later)
    assert outcome.note == "another request for the address waits for its challenge mail first"
    assert outcome.again == timedelta(minutes=2)
    assert ca.orders == []
    world.mail.busy = False
    assert isinstance(await world.issued(), Issued)


async def test_of_two_orders_one_waits_for_its_mail(world: World) -> None:
    """As after one was given up, another one begun, and the first one begun again."""
    await world.ask()
    sent = order(world.memory.last)
    world.mail.busy = True
    for wanted, special in (
        (replace(sent, now=NOW + ASK_EVERY), {}),
        (sent, {"authserv_id": "other.example.com"}),
    ):
        outcome = await world.ask(wanted, **special)
        assert isinstance(outcome, Later)
        assert "another request for the address waits" in outcome.note
    world.mail.busy = False
    before = len(world.mail.awaited)
    outcome = await world.ask(replace(order(world.memory.last), now=NOW + 2 * ASK_EVERY))
    assert isinstance(outcome, Later)
    assert world.mail.awaited[before:] == [AwaitedMail(CA, "mx.example.com", deliver=False)]
    assert isinstance(await world.issued(), Issued)


async def test_what_is_waited_for_goes_by_the_settings_of_now(world: World) -> None:
    await world.ask()
    await world.ask(authserv_id="other.example.com", deliver_challenges=True)
    assert world.mail.awaited[-1] == AwaitedMail(CA, "other.example.com", deliver=True)
    before = len(world.mail.awaited)
    await world.ask(authserv_id="other.example.com", deliver_challenges=True)
    assert len(world.mail.awaited) == before


# the account


async def test_it_can_be_tried(ca: FakeAcme, world: World) -> None:
    handler = world.opened()
    said = await handler.test()
    assert said == (
        f"the CA answers; the account is made: {ca.url}/acct/1; challenge mails are believed "
        "by DKIM as mx.example.com has checked it, or S/MIME"
    )
    assert "the account is there already" in await handler.test()
    await handler.close()
    handler = world.opened(authserv_id="none")
    assert "S/MIME alone" in await handler.test()
    await handler.close()


async def test_terms_have_to_be_agreed_to(ca: FakeAcme, world: World) -> None:
    assert "https://ca.test/terms" in await world.trouble(agree_terms=False)
    assert not ca.accounts
    ca.terms = ""
    assert isinstance(await world.ask(agree_terms=False), Later)


async def test_an_external_account(ca: FakeAcme, world: World) -> None:
    ca.external = True
    assert "set eab_key_id and eab_hmac_key" in await world.trouble()
    wrong = {"eab_key_id": EAB_ID, "eab_hmac_key": EAB_KEY[::-1]}
    assert "the binding is not ours" in await world.trouble(**wrong)
    rubbish = {"eab_key_id": EAB_ID, "eab_hmac_key": "geh\u00e4im!"}
    said = await world.trouble(**rubbish)
    assert said == "eab_hmac_key is no key in base64url"
    right = {"eab_key_id": EAB_ID, "eab_hmac_key": EAB_KEY + "=="}
    assert isinstance(await world.ask(**right), Later)


async def test_an_account_that_is_gone_is_made_anew(ca: FakeAcme, world: World) -> None:
    await world.ask()
    ca.accounts.clear()
    world.mail.deliver()
    assert "no such account" in await world.trouble()
    assert world.memory.last == {}
    assert isinstance(await world.issued(), Issued)


async def test_an_account_that_was_closed(ca: FakeAcme, world: World) -> None:
    ca.change["account"] = {"status": "deactivated"}
    assert "the account at the CA is deactivated" in await world.trouble()


async def test_another_ca_in_the_settings_begins_anew(ca: FakeAcme, world: World) -> None:
    await world.ask()
    async with FakeAcme() as other:
        world.ca = world.mail.ca = other
        assert isinstance(await world.issued(), Issued)
        assert len(other.orders) == 1
    assert len(world.services.vault.kept) == 2


def test_keys_do_not_show() -> None:
    secret = AccountKey.made()
    key = AccountKey(secret)
    private = json.loads(secret)["d"]
    assert private not in repr(key)
    assert private not in repr(vars(key)["public"])
    settings = {"directory": "https://ca.test/dir", "authserv_id": "x", "eab_hmac_key": EAB_KEY}
    assert EAB_KEY not in repr(AcmeSettings.model_validate(settings))


@pytest.mark.parametrize(
    "changes",
    [
        {"directory": "http://ca.test/dir"}, {"directory": "https://a:b@ca.test/dir"},
        {"directory": "ca.test"}, {"authserv_id": ""}, {"timeout": 0}, {"contact": "me"},
    ],
)  # fmt: skip
def test_settings_that_are_none(changes: dict[str, Any]) -> None:
    good = {"directory": "https://ca.test/dir", "authserv_id": "mx.example.com"}
    AcmeSettings.model_validate(good)
    with pytest.raises(ValidationError):
        AcmeSettings.model_validate(good | changes)


# once


async def test_an_order_whose_answer_was_lost_is_found(ca: FakeAcme, world: World) -> None:
    handler = world.opened()
    real = ca._ordered

    def lost(account: str, payload: Any) -> Any:
        real(account, payload)
        raise Refusal(500, "serverInternal", "oops")

    ca._ordered = lost  # type: ignore[method-assign]
    with pytest.raises(HandlerTrouble):
        await handler.request(order(), world.memory)
    await handler.close()
    ca._ordered = real  # type: ignore[method-assign]
    world.memory.states.append({**world.memory.last, "ordering": True})  # as after kill -9
    assert isinstance(await world.issued(), Issued)
    assert len(ca.orders) == 1


async def test_an_order_that_was_found_and_is_another_requests(
    ca: FakeAcme, world: World
) -> None:
    await world.ask()
    world.memory.states.append({**world.memory.last, "adopted": True})
    world.mail.deliver()
    await world.ask()
    ca.special = {"public": other_key()}
    outcome = await world.ask()
    assert isinstance(outcome, Later)
    assert "another request's" in outcome.note
    ca.special = {}
    assert isinstance(await world.issued(), Issued)
    assert len(ca.orders) == 2


async def test_where_orders_are_not_listed_one_is_left_behind(
    ca: FakeAcme, world: World
) -> None:
    ca.lists_orders = False
    await world.ask()
    kept = {name: world.memory.last[name] for name in ("account", "directory")}
    world.memory.states.append(kept | {"ordering": True})
    assert isinstance(await world.issued(), Issued)
    assert [len(ca.orders), len(ca.made)] == [2, 1]


@pytest.mark.parametrize("gone", ["expired", "unknown", "over"])
async def test_an_order_that_has_ended_is_made_anew(
    ca: FakeAcme, world: World, gone: str
) -> None:
    await world.ask()
    world.mail.deliver()
    (placed,) = ca.orders
    if gone == "expired":
        placed.status, placed.expires = "invalid", "2020-01-01T00:00:00Z"
    elif gone == "unknown":
        ca.refuse["order"] = Refusal(404, "malformed", "no such order")
    else:
        placed.authorization = "expired"
    outcome = await world.ask()
    assert isinstance(outcome, Later)
    assert outcome.note.endswith(": it is ordered anew")
    ca.refuse.clear()
    assert isinstance(await world.issued(), Issued)
    assert len(ca.orders) == 2


# what goes wrong


async def test_a_nonce_that_is_not_taken(ca: FakeAcme, world: World) -> None:
    ca.bad_nonces = 3
    assert isinstance(await world.ask(), Later)
    ca.bad_nonces = 100
    world.memory.states.clear()
    assert "use another one" in await world.trouble()


@pytest.mark.parametrize(
    ("refusal", "again"),
    [
        (Refusal(429, "rateLimited", "too many", Retry_After="3600"), timedelta(hours=1)),
        (Refusal(403, "rateLimited", "too many", Retry_After="9999999"), timedelta(days=1)),
        (Refusal(503, "serverInternal", "", Retry_After="0"), timedelta(seconds=5)),
        (
            Refusal(429, "rateLimited", "", Retry_After="Mon, 01 Jan 2035 00:00:00 GMT"),
            timedelta(days=1),
        ),
    ],
)
async def test_the_ca_says_when_to_come_again(
    ca: FakeAcme, world: World, refusal: Refusal, again: timedelta
) -> None:
    ca.refuse["order"] = refusal
    outcome = await world.ask()
    assert isinstance(outcome, Later)
    assert outcome.again == again
    assert "HTTP" in outcome.note
    assert "ordering" not in world.memory.last
    ca.refuse.clear()
    assert isinstance(await world.issued(), Issued)


@pytest.mark.parametrize(
    "when",
    [
        "",
        "soon",
        "-5",
        "99999999999999999999",
        "1 Jan 99999999999999999999 00:00:00 GMT",
        "1 Jan 2035 00:00:00 +9999999999999999999999",
    ],
)
async def test_a_limit_without_a_time(ca: FakeAcme, world: World, when: str) -> None:
    ca.refuse["order"] = Refusal(429, "rateLimited", "too many", Retry_After=when)
    assert "too many" in await world.trouble()


@pytest.mark.parametrize(
    "kind", ["rejectedIdentifier", "unsupportedIdentifier", "badCSR", "badPublicKey"]
)
async def test_refused_for_good(ca: FakeAcme, world: World, kind: str) -> None:
    ca.refuse["order"] = Refusal(400, kind, "not\nhere")
    outcome = await world.ask()
    assert isinstance(outcome, NotIssued)
    assert outcome.reason.startswith("the CA refuses: ")
    assert outcome.reason.endswith("HTTP 400 Bad Request: not here")
    assert world.mail.awaited[-1] is None


@pytest.mark.parametrize(
    "kind", ["unauthorized", "serverInternal", "malformed", "userActionRequired", "caa", ""]
)
async def test_what_may_be_over_later(ca: FakeAcme, world: World, kind: str) -> None:
    ca.refuse["order"] = Refusal(403, kind, "not now")
    assert "HTTP 403 Forbidden: not now" in await world.trouble()
    assert "ordering" not in world.memory.last


async def test_an_answer_that_the_ca_does_not_take(ca: FakeAcme, world: World) -> None:
    await world.ask()
    world.mail.deliver()
    ca.orders[0].part2 = "changed-meanwhile"  # so that the digest is wrong
    ca.change["authz"] = {
        "challenges": [{**ca._challenge("0"), "token": "another", "status": "pending"}]
    }
    await world.ask()
    ca.change.clear()
    assert await world.ask() == NotIssued("the CA refuses: wrong")


async def test_an_order_that_the_ca_refuses_in_the_end(ca: FakeAcme, world: World) -> None:
    await world.ask()
    world.mail.deliver()
    ca.orders[0].status = "invalid"
    part = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it"}
    ca.orders[0].error = {"type": "urn:x", "detail": "no", "subproblems": [part]}
    assert await world.ask() == NotIssued("the CA refuses: no; CAA forbids it")


@pytest.mark.parametrize(
    "identifiers",
    [
        [], [{"type": "dns", "value": "example.com"}],
        [{"type": "email", "value": "mallory@example.com"}],
        [{"type": "email", "value": ALICE}, {"type": "email", "value": "boss@example.com"}],
        [{"type": "email", "value": "rubbish"}],
    ],
)  # fmt: skip
async def test_an_order_for_something_else(
    ca: FakeAcme, world: World, identifiers: list[dict[str, str]]
) -> None:
    ca.change["order"] = {"identifiers": identifiers}
    outcome = await world.ask()
    assert isinstance(outcome, NotIssued)
    assert outcome.reason.startswith("the CA's order is for ")


@pytest.mark.parametrize(
    ("what", "change", "said"),
    [
        ("order", {"authorizations": []}, "0 authorisations"),
        ("order", {"authorizations": ["https://a.test/1"] * 2}, "2 authorisations"),
        ("order", {"status": "odd"}, "the CA's order is odd"),
        ("order", {"status": None}, "status: missing"),
        ("order", {"authorizations": ["https://127.0.0.1:1/authz/0"]}, "a URL elsewhere"),
        ("order", {"authorizations": ["http://127.0.0.1/authz/0"]}, "a URL elsewhere"),
        ("order", {"authorizations": ["file:///etc/passwd"]}, "a URL elsewhere"),
        ("order", {"authorizations": ["//127.0.0.1/x"]}, "a URL elsewhere"),
        ("order", {"authorizations": ["https://[::1"]}, "a URL elsewhere"),
        ("order", {"authorizations": [""]}, "no URL"),
        ("order", {"authorizations": ["https://x.test/\u00e4"]}, "no URL"),
        ("order", {"authorizations": ["https://x.test/" + "a" * 3000]}, "no URL"),
        ("dir", {"newOrder": "https://elsewhere.test/order"}, "a URL elsewhere"),
        ("dir", {"newNonce": None}, "newNonce: missing"),
        ("authz", {"status": "odd"}, "the CA's authorisation is odd"),
        ("authz", {"identifier": {"type": "email", "value": "x@y.test"}}, "is for x@y.test"),
        ("authz", {"challenges": "none"}, "challenges: list_type"),
    ],
)
async def test_answers_that_are_not_understood(
    ca: FakeAcme, world: World, what: str, change: dict[str, Any], said: str
) -> None:
    ca.change[what] = change
    assert said in await world.trouble()


@pytest.mark.parametrize(
    "challenge", [{"from": "rubbish"}, {"from": None}, {"token": ""}, {"token": "t\u00f6ken"}]
)
async def test_a_challenge_that_says_too_little(
    ca: FakeAcme, world: World, challenge: dict[str, Any]
) -> None:
    found = {"type": "email-reply-00", "url": f"{ca.url}/chall/0", "from": CA, "token": "abc"}
    ca.change["authz"] = {"challenges": [found | challenge]}
    assert "has no token, or no address" in await world.trouble()


async def test_a_ca_that_offers_other_challenges(ca: FakeAcme, world: World) -> None:
    ca.offered = "dns-01"
    assert await world.ask() == NotIssued("the CA offers no email-reply-00, but dns-01")


async def test_a_url_at_the_same_host_with_another_name(ca: FakeAcme, world: World) -> None:
    """`localhost` is another host than 127.0.0.1, whatever it leads to."""
    ca.change["order"] = {"authorizations": [f"https://localhost:{ca.port}/authz/0"]}
    assert "a URL elsewhere" in await world.trouble()
    ca.change["order"] = {"authorizations": [f"https://x@127.0.0.1:{ca.port}/authz/0"]}
    assert "a URL elsewhere" in await world.trouble()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.CLOSE, "without an answer"), (Fault.LARGE, "larger than 1 MiB"),
        (Fault.ENDLESS, "larger than 1 MiB"), (Fault.COMPRESSED, "compressed"),
        (Fault.REDIRECT, "HTTP 302 Found"), (Fault.CUT, "cut off"),
    ],
)  # fmt: skip
async def test_a_server_that_misbehaves(
    ca: FakeAcme, world: World, fault: Fault, said: str
) -> None:
    ca.fault = fault
    assert said in await world.trouble()
    ca.fault = None
    await world.ask()
    world.mail.deliver()
    ca.fault = fault
    await world.trouble()
    ca.fault = None
    assert isinstance(await world.issued(), Issued)


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"[" * 100_000, b"\xff"])
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_rubbish(ca: FakeAcme, world: World, status: int, body: bytes) -> None:
    ca.reply = (status, body, "application/json")
    assert await world.trouble()


async def test_the_certificate_of_a_ca(ca: FakeAcme, world: World) -> None:
    await world.ask()
    world.mail.deliver()
    await world.ask()
    ca.special = {"ca": True, "public": other_key()}
    assert "none of a user" in await world.trouble()


# through the desk


def through_the_desk(ca: FakeAcme, database: Database, world: World) -> Desk:
    desk = Desk(database, Acme, AcmeSettings.model_validate(ca.settings()))
    services: Any = desk.services
    services.challenges, services.vault = world.mail, world.services.vault
    return desk


@pytest.mark.parametrize(
    ("special", "why"),
    [
        ({"public": other_key()}, "it is for another key"),
        ({"addresses": ("mallory@example.com",)}, "it names mallory@example.com, not"),
        ({"addresses": (ALICE, "boss@example.com")}, "it names others too"),
    ],
)
async def test_a_ca_that_gives_something_else(
    ca: FakeAcme, database: Database, world: World, special: dict[str, Any], why: str
) -> None:
    ca.special = special
    desk = through_the_desk(ca, database, world)
    request = await desk.request()
    world.mail.deliver()
    await desk.again(request)
    refused = await desk.again(request)
    assert refused.state is RequestState.REFUSED
    assert why in refused.outcome
    assert await desk.stored() == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 10))
async def test_whoever_dies_at_any_write_orders_once(
    ca: FakeAcme, database: Database, world: World, at: int, when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each store of the request's state is the last thing that a process does, once."""
    desk = through_the_desk(ca, database, world)
    with monkeypatch.context() as patched:
        patched.setattr(
            type(database.requests), "keep", deadly(type(database.requests).keep, at, when)
        )
        try:
            request = await desk.request()
            for _ in range(3):
                world.mail.deliver()
                request = await desk.again(request)
        except Died:
            pass
    (request,) = await database.requests.all()
    for _ in range(5):
        if request.state is RequestState.PENDING:
            world.mail.deliver()
            request = await desk.again(request)
    assert request.state is RequestState.ISSUED
    assert [len(ca.accounts), len(ca.orders), len(ca.made)] == [1, 1, 1]
    assert ca.made[0] in await desk.stored()


async def test_secrets_are_stored_wrapped(
    ca: FakeAcme, database: Database, world: World
) -> None:
    vault = SealedVault(database.handlers, MASTER)
    first = await vault.secret("acme/x", AccountKey.made)
    assert await vault.secret("acme/x", AccountKey.made) == first
    (sealed,) = (await database.handlers.all()).values()
    assert json.loads(first)["d"].encode() not in sealed
    assert await database.handlers.add("acme/x", b"of another node") == sealed
    new = MasterKey(bytes(range(32)))
    stores = (database.states, database.certificates, database.requests, database.handlers)
    await rotate_master_key(*stores, MASTER, new)
    again = SealedVault(database.handlers, new)
    assert await again.secret("acme/x", AccountKey.made) == first
