"""Challenge mails in the filter, and answers to them."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from smimefilter.base.envelope import (
    Client,
    Deferred,
    Delivered,
    Fate,
    Recipient,
    Refused,
    Transaction,
)
from smimefilter.base.errors import Status
from smimefilter.base.reasons import Because
from smimefilter.flow.carry import Carrier
from smimefilter.flow.challenges import ChallengeDesk
from smimefilter.flow.filter import Filter
from smimefilter.flow.origin import Origins
from smimefilter.flow.snapshots import State
from smimefilter.plan.challenge import AwaitedMail, ChallengeMail
from smimefilter.plan.plan import Action
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import StoreTrouble
from smimefilter.store.challenges import MOST
from smimefilter.store.database import Database
from tests.support.challenges import ALICE, CA, DKIM, TOKEN, challenge_mail
from tests.support.pki import NOW
from tests.support.plans import World
from tests.support.ring import Ring
from tests.support.smime import clear_signed, opaque_signed
from tests.unit.flow.test_filter import JournalStub, RelayStub

BOB = "bob@example.com"
AWAITED = AwaitedMail(CA, "mx.example.com")
TAKEN = Delivered(text="taken by the gateway itself")
HOUR = timedelta(hours=1)


def desk_of(mails: Any, relay: Any = None, journal: Any = None) -> ChallengeDesk:
    return ChallengeDesk(
        mails=mails, relay=relay, journal=journal, hostname="filter.test", clock=lambda: NOW
    )


class Journal(JournalStub):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, object]]] = []

    def note(self, event: str, **about: object) -> None:
        self.events.append((event, about))

    warn = note


@dataclass
class Bench:
    """A filter over a database in which requests wait."""

    database: Database
    world: World = field(default_factory=World)
    relay: RelayStub = field(default_factory=RelayStub)
    journal: Journal = field(default_factory=Journal)
    mails: Any = None

    async def request(
        self,
        awaited: AwaitedMail | None = AWAITED,
        *,
        id_: str = "0a" * 16,
        address: str = ALICE,
        state: RequestState = RequestState.PENDING,
    ) -> str:
        """One that waits, and is due in an hour."""
        stored = StoredRequest(
            id_, "acme", address, {}, None, NOW, NOW + HOUR, NOW + 9 * HOUR, state=state
        )
        await self.database.requests.add([stored], [])
        await self.database.challenges.expect(id_, awaited)
        return id_

    async def accept(self, content: bytes, *to: str) -> list[Fate]:
        state = State(self.world.moment().snapshot, Carrier(Ring(self.world)))
        desk = desk_of(self.mails or self.database.challenges, self.relay, self.journal)
        sut = Filter(
            snapshots=type("Snapshots", (), {"current": state})(),
            relay=self.relay,
            journal=self.journal,
            clock=lambda: NOW,
            hostname="gw.test",
            threads_from=1 << 20,
            origins=Origins([]),
            challenges=desk,
        )
        recipients = tuple(map(Recipient, to or (ALICE,)))
        client = Client("192.0.2.7")
        return await sut.accept(Transaction("id1", CA, recipients, content, client=client))

    async def came(self, id_: str = "0a" * 16) -> list[str]:
        return [one.token for one in await self.database.challenges.of(id_)]

    async def due(self, id_: str = "0a" * 16) -> bool:
        (stored,) = await self.database.requests.find(id_)
        return stored.due <= NOW


@pytest.fixture
def bench(database: Database) -> Bench:
    found = Bench(database)
    found.world.set("example.com", locality="internal")
    return found


async def is_passed_on(bench: Bench, content: bytes, *to: str) -> bool:
    """Whether a mail goes its way, byte for byte, and nothing is kept of it."""
    fates = await bench.accept(content, *to)
    (out,) = bench.relay.taken
    whole = b"".join(out.chunks)
    assert all(isinstance(fate, Delivered) for fate in fates)
    assert whole.endswith(content)
    assert whole[: -len(content)].startswith(b"Received: ")
    return not await bench.came() and not await bench.due()


# taken


async def test_a_challenge_that_is_waited_for_goes_no_further(bench: Bench) -> None:
    id_ = await bench.request()
    assert await bench.accept(challenge_mail(results=DKIM)) == [TAKEN]
    assert bench.relay.taken == []
    assert await bench.came() == [TOKEN]
    assert await bench.due()
    (found,) = await bench.database.challenges.of(id_)
    assert found == ChallengeMail(TOKEN, CA, CA, "<challenge@ca.test>")
    (record,) = bench.journal.records
    assert record.plan is not None
    (decision,) = record.plan.decisions
    assert decision.action is Action.TAKE
    assert [one.because for one in decision.reasons] == [Because.ACME_CHALLENGE]
    assert bench.journal.events == [
        ("challenge mail came", {"id": "id1", "request": id_, "sender": CA})
    ]


async def test_what_comes_twice_is_kept_once(bench: Bench) -> None:
    """As when the reply to the content was lost."""
    await bench.request()
    for _ in range(2):
        assert await bench.accept(challenge_mail(results=DKIM)) == [TAKEN]
    assert await bench.came() == [TOKEN]


async def test_an_address_in_another_case(bench: Bench) -> None:
    await bench.request()
    content = challenge_mail(to="Alice <alice@EXAMPLE.com>", results=DKIM)
    assert await bench.accept(content, "alice@Example.COM") == [TAKEN]


async def test_an_alias_that_was_expanded_before_the_filter(bench: Bench) -> None:
    await bench.request()
    assert await bench.accept(challenge_mail(results=DKIM), "a17@mailboxes.test") == [TAKEN]


# delivered and kept


async def test_by_the_settings_it_is_delivered_too(bench: Bench) -> None:
    await bench.request(AwaitedMail(CA, "mx.example.com", deliver=True))
    assert not await is_passed_on(bench, challenge_mail(results=DKIM))
    assert await bench.came() == [TOKEN]


async def test_before_the_ca_has_said_who_writes_it_is_delivered_too(bench: Bench) -> None:
    await bench.request(AwaitedMail("", "mx.example.com"))
    assert not await is_passed_on(bench, challenge_mail(results=DKIM))
    assert await bench.came() == [TOKEN]


async def test_a_mail_to_others_as_well_is_delivered_too(bench: Bench) -> None:
    await bench.request()
    assert not await is_passed_on(bench, challenge_mail(results=DKIM), ALICE, BOB)
    assert await bench.came() == [TOKEN]


# not ours


@pytest.mark.parametrize(
    "special",
    [
        {"results": ""}, {"results": DKIM.replace("pass", "fail")},
        {"results": DKIM.replace("mx.", "evil.")}, {"results": DKIM.replace("ca.", "evil.")},
        {"sender": "mallory@ca.test"}, {"sender": "acme-generator@evil.test"},
        {"to": BOB}, {"to": "undisclosed-recipients:;"}, {"auto": "auto-generated"},
        {"subject": "ACME: a new challenge for you"}, {"message_id": ""},
    ],
)  # fmt: skip
async def test_a_spoofed_challenge_goes_its_way(bench: Bench, special: dict[str, str]) -> None:
    await bench.request()
    assert await is_passed_on(bench, challenge_mail(**({"results": DKIM} | special)))


async def test_a_spoofed_challenge_is_told_of(bench: Bench) -> None:
    id_ = await bench.request()
    await bench.accept(challenge_mail())
    about = {"id": "id1", "request": id_, "sender": CA}
    assert bench.journal.events == [("challenge mail not authentic", about)]


async def test_nobody_waits(bench: Bench) -> None:
    await bench.request(None)
    assert await is_passed_on(bench, challenge_mail(results=DKIM))


@pytest.mark.parametrize(
    "state", [RequestState.ISSUED, RequestState.REFUSED, RequestState.GIVEN_UP]
)
async def test_a_request_that_has_ended(bench: Bench, state: RequestState) -> None:
    await bench.request(state=state)
    assert await is_passed_on(bench, challenge_mail(results=DKIM))


async def test_a_challenge_for_the_address_of_another(bench: Bench) -> None:
    await bench.request()
    assert await is_passed_on(bench, challenge_mail(to=BOB, results=DKIM), BOB)


async def test_without_trust_in_anybody_dkim_says_nothing(bench: Bench) -> None:
    await bench.request(AwaitedMail(CA, ""))
    assert await is_passed_on(bench, challenge_mail(results=DKIM))


async def test_too_many_are_mail_again(bench: Bench) -> None:
    await bench.request()
    for number in range(MOST):
        content = challenge_mail(token=f"{TOKEN}{number}", results=DKIM)
        assert await bench.accept(content) == [TAKEN]
    assert bench.relay.taken == []
    assert not await is_passed_on(bench, challenge_mail(results=DKIM))
    assert len(await bench.came()) == MOST


# signed


def wrapped(inner: bytes) -> bytes:
    """A mail whose content is the whole of another one (RFC 8551 §3.1)."""
    header, _, _ = inner.partition(b"\r\n\r\n")
    kept = b"".join(
        line + b"\r\n" for line in header.split(b"\r\n") if not line.startswith(b"Content-")
    )
    return kept + b"Content-Type: message/rfc822; forwarded=no\r\n\r\n" + inner


@pytest.mark.parametrize("sign", [clear_signed, opaque_signed])
async def test_a_signature_of_the_author_does_as_well(
    bench: Bench, sign: Callable[..., bytes]
) -> None:
    await bench.request(AwaitedMail(CA, ""))
    signed = sign(wrapped(challenge_mail()), bench.world.person(CA))
    assert await bench.accept(signed) == [TAKEN]
    assert await bench.came() == [TOKEN]


def of_another(bench: Bench) -> bytes:
    return clear_signed(wrapped(challenge_mail()), bench.world.person("mallory@ca.test"))


def with_another_token(bench: Bench) -> bytes:
    signed = clear_signed(wrapped(challenge_mail()), bench.world.person(CA))
    return signed.replace(TOKEN.encode(), b"A" * 43, 1)


def of_the_text_alone(bench: Bench) -> bytes:
    return clear_signed(challenge_mail(), bench.world.person(CA))


def broken(bench: Bench) -> bytes:
    signed = clear_signed(wrapped(challenge_mail()), bench.world.person(CA))
    return signed.replace(b"an automatically", b"no automatically")


def untrusted(bench: Bench) -> bytes:
    special = {"not_after": NOW - HOUR}
    return clear_signed(wrapped(challenge_mail()), bench.world.person(CA, **special))


def garbled(bench: Bench) -> bytes:
    signed = opaque_signed(wrapped(challenge_mail()), bench.world.person(CA))
    head, _, _ = signed.partition(b"\r\n\r\n")
    return head + b"\r\n\r\nAAAA\r\n"


@pytest.mark.parametrize(
    "make", [of_another, with_another_token, of_the_text_alone, broken, untrusted, garbled]
)
async def test_a_signature_that_says_nothing_of_the_token(
    bench: Bench, make: Callable[[Bench], bytes]
) -> None:
    await bench.request(AwaitedMail(CA, ""))
    content = make(bench)
    await bench.accept(content)
    assert len(bench.relay.taken) == 1
    assert await bench.came() == []


# trouble


class Broken:
    async def waiting(self, address: str) -> dict[str, AwaitedMail]:
        raise StoreTrouble("the database is away")


async def test_without_the_database_only_challenges_wait(bench: Bench) -> None:
    await bench.request()
    bench.mails = Broken()
    (fate,) = await bench.accept(challenge_mail(results=DKIM))
    assert isinstance(fate, Deferred)
    assert await is_passed_on(bench, challenge_mail(subject="a letter"))


# what is kept


async def test_who_works_on_a_request_does_not_lose_what_comes(bench: Bench) -> None:
    """A mail comes while another node has the request."""
    id_, requests = await bench.request(), bench.database.requests
    lease, (claimed,) = await requests.claim(NOW, NOW + HOUR, 1, [id_])
    await bench.accept(challenge_mail(results=DKIM))
    await requests.keep(lease, claimed)
    await requests.settle(lease, claimed)
    assert await bench.came() == [TOKEN]
    assert await bench.database.challenges.waiting(ALICE) == {id_: AWAITED}


async def test_what_is_not_waited_for_any_more_is_forgotten(bench: Bench) -> None:
    id_ = await bench.request()
    await bench.accept(challenge_mail(results=DKIM))
    await bench.database.challenges.expect(id_, None)
    assert await bench.came() == []
    assert await bench.database.challenges.waiting(ALICE) == {}


async def test_a_request_goes_with_its_mails(bench: Bench) -> None:
    id_ = await bench.request()
    await bench.accept(challenge_mail(results=DKIM))
    assert await bench.database.requests.remove([id_], NOW, []) == 1
    assert await bench.came() == []


# answers

MAIL = ChallengeMail(TOKEN, CA, "answers@ca.test", "<challenge@ca.test>")


async def test_an_answer(bench: Bench) -> None:
    desk = desk_of(None, bench.relay)
    await desk.answer(ALICE, MAIL, "the text\n")
    (out,) = bench.relay.taken
    assert (out.sender, out.recipients) == (ALICE, (Recipient("answers@ca.test"),))
    message = email.message_from_bytes(b"".join(out.chunks), policy=email.policy.default)
    assert {name: message[name] for name in ("From", "To", "Subject", "In-Reply-To")} == {
        "From": ALICE, "To": "answers@ca.test", "Subject": f"Re: ACME: {TOKEN}",
        "In-Reply-To": "<challenge@ca.test>",
    }  # fmt: skip
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Content-Type"] == 'text/plain; charset="us-ascii"'
    assert message.get_content() == "the text\r\n"


async def test_a_long_token_is_not_encoded(bench: Bench) -> None:
    mail = ChallengeMail("A" * 300, CA, CA, "<a@b>")
    await desk_of(None, bench.relay).answer(ALICE, mail, "the text\n")
    assert b"\r\nSubject: Re: ACME: " + b"A" * 300 + b"\r\n" in bench.relay.taken[0].chunks[0]


async def test_an_answer_from_an_address_with_letters_of_any_kind(bench: Bench) -> None:
    await desk_of(None, bench.relay).answer("j\u00fcrgen@example.com", MAIL, "the text\n")
    (out,) = bench.relay.taken
    assert out.params == ("SMTPUTF8",)
    assert "From: j\u00fcrgen@example.com\r\n".encode() in out.chunks[0]


@pytest.mark.parametrize(
    "fate", [Deferred(Status(4, "2.0"), "later"), Refused(Status(5, "7.1"), "no relaying")]
)
async def test_an_answer_that_is_not_taken(bench: Bench, fate: Any) -> None:
    bench.relay.answer = lambda _: fate
    with pytest.raises(HandlerTrouble, match=f"was not taken: {fate.text}"):
        await desk_of(None, bench.relay).answer(ALICE, MAIL, "the text\n")
