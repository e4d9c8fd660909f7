"""The way of a mail with a relay that answers as told: replies, notices, and trouble."""

from __future__ import annotations

import asyncio
import dataclasses
import email
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.envelope import (
    Client,
    Deferred,
    Delivered,
    Fate,
    Notified,
    Recipient,
    Refused,
    Transaction,
)
from smimefilter.base.errors import Status
from smimefilter.flow import carry
from smimefilter.flow.carry import Carrier
from smimefilter.flow.filter import MAX_HOPS, Filter
from smimefilter.flow.origin import Origins
from smimefilter.flow.snapshots import State
from smimefilter.ports.journal import MailRecord
from smimefilter.ports.relay import Outgoing
from tests.support.pki import NOW
from tests.support.plans import World, mail_to
from tests.support.ring import Ring

ALICE, BOB, CAROL = "alice@in.test", "bob@out.test", "carol@out.test"
OK = Delivered("QID", "queued as QID")
LATER = Deferred(Status(4, "2.0"), "later")
NO = Refused(Status(5, "1.1"), "no such user", by_policy=False)


class RelayStub:
    """Takes everything, or what `answer` says of a recipient."""

    def __init__(self, answer: Callable[[str], Fate] = lambda _: OK) -> None:
        self.answer = answer
        self.taken: list[Outgoing] = []

    async def deliver(self, outgoing: Outgoing) -> list[Fate]:
        self.taken.append(outgoing)
        return [self.answer(recipient.address) for recipient in outgoing.recipients]

    def content_for(self, address: str) -> bytes:
        (found,) = (
            b"".join(out.chunks)
            for out in self.taken
            if address in {recipient.address for recipient in out.recipients}
        )
        return found


class JournalStub:
    def __init__(self) -> None:
        self.records: list[MailRecord] = []
        self.troubles: list[tuple[str, BaseException]] = []

    def mail(self, record: MailRecord) -> None:
        self.records.append(record)

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        self.troubles.append((what, error))

    def note(self, event: str, **about: object) -> None:
        pass

    warn = note


@dataclasses.dataclass
class Bench:
    world: World
    relay: RelayStub
    journal: JournalStub
    broken_keys: bool = False
    ring: Ring | None = None
    threads_from: int = 1 << 20

    async def accept(
        self, sender: str, *recipients: str | Recipient, **special: Any
    ) -> list[Fate]:
        to = tuple(one if isinstance(one, Recipient) else Recipient(one) for one in recipients)
        everybody = [one.address for one in to]
        content = special.pop("content", None) or mail_to(sender or "x@y.test", everybody)
        ring = self.ring or Ring(self.world, broken=self.broken_keys)
        state = State(self.world.moment().snapshot, Carrier(ring))
        sut = Filter(
            snapshots=type("Snapshots", (), {"current": state})(),
            relay=self.relay,
            journal=self.journal,
            clock=lambda: NOW,
            hostname="gw.test",
            threads_from=self.threads_from,
            origins=Origins(["192.0.2.0/24"]),
        )
        special.setdefault("client", Client("192.0.2.7"))
        transaction = Transaction("id1", sender, to, content, **special)
        return await sut.accept(transaction)


@pytest.fixture
def bench() -> Bench:
    world = World()
    world.person(ALICE, key=True)
    world.person(BOB)
    return Bench(world, RelayStub(), JournalStub())


async def test_untouched_mail_gets_one_received_line_and_nothing_else(bench: Bench) -> None:
    bench.world.set(ALICE, encrypt="never", sign="never")
    content = b"Subject: caf\xe9\nX:  y\r\n\r\n.\xff\x00 bare\rlines\n"
    client = Client("192.0.2.1", "client.test", "ESMTPS")
    params = ("SIZE=9", "BODY=8BITMIME")
    assert await bench.accept(ALICE, BOB, content=content, client=client, params=params) == [OK]
    (out,) = bench.relay.taken
    received, _, rest = b"".join(out.chunks).partition(b"+0000\r\n")
    assert received.startswith(b"Received: from client.test ([192.0.2.1])\r\n\tby gw.test")
    assert b"with ESMTPS id id1" in received
    assert rest == content
    assert out.params == params


async def test_lmtp_tells_each_recipient_its_own(bench: Bench) -> None:
    bench.world.set(ALICE, encrypt="mandatory")
    fates = await bench.accept(ALICE, BOB, CAROL, one_reply=False)
    assert fates[0] == OK
    assert isinstance(fates[1], Refused)
    assert str(fates[1].status) == "5.7.5"
    assert len(bench.relay.taken) == 1


async def test_smtp_tells_a_refusal_beside_a_delivery_by_a_notice(bench: Bench) -> None:
    bench.world.set(ALICE, encrypt="mandatory")
    silent = Recipient("quiet@out.test", ("NOTIFY=NEVER",))
    told = Recipient(CAROL, ("NOTIFY=FAILURE", "ORCPT=rfc822;c+2Bx@out.test"))
    fates = await bench.accept(ALICE, BOB, told, silent, params=("ENVID=abc",))
    assert fates[0] == OK
    assert all(isinstance(fate, Notified) for fate in fates[1:])
    notice = bench.relay.taken[-1]
    assert (notice.sender, notice.recipients[0].address) == ("", ALICE)
    report = email.message_from_bytes(b"".join(notice.chunks))
    assert report.get_content_type() == "multipart/report"
    text = report.as_string()
    assert CAROL in text
    assert "<quiet@out.test>\n    " not in text
    assert "5.7.5" in text
    assert "no usable certificate" in text


async def test_all_refused_is_told_by_the_reply_alone(bench: Bench) -> None:
    bench.world.set(ALICE, encrypt="mandatory")
    fates = await bench.accept(ALICE, CAROL)
    assert isinstance(fates[0], Refused)
    assert bench.relay.taken == []


async def test_a_null_sender_never_gets_a_notice(bench: Bench) -> None:
    bench.world.set("global", encrypt="mandatory")
    fates = await bench.accept("", BOB, CAROL)
    assert fates[0] == OK
    assert isinstance(fates[1], Refused)
    assert [out.sender for out in bench.relay.taken] == [""]
    assert bench.relay.taken[0].recipients[0].address == BOB


async def test_a_notice_that_cannot_go_out_now_defers_the_mail(bench: Bench) -> None:
    bench.world.set(ALICE, encrypt="mandatory")
    bench.relay.answer = lambda address: LATER if address == ALICE else OK
    fates = await bench.accept(ALICE, BOB, CAROL)
    assert fates == [OK, LATER]


async def test_a_refusal_of_the_next_hop_beside_a_delivery_is_told_as_well(
    bench: Bench,
) -> None:
    bench.relay.answer = lambda address: NO if address == CAROL else OK
    fates = await bench.accept(ALICE, BOB, CAROL)
    assert fates == [OK, Notified(NO)]


async def test_a_deferral_before_anything_went_out_ends_the_turn(bench: Bench) -> None:
    bench.relay.answer = lambda _: LATER
    assert await bench.accept(ALICE, BOB, CAROL) == [LATER, LATER]
    assert len(bench.relay.taken) == 1


async def test_key_trouble_defers_and_nothing_leaves(bench: Bench) -> None:
    bench.broken_keys = True
    bench.world.set(ALICE, sign="always")
    (fate,) = await bench.accept(ALICE, BOB)
    assert isinstance(fate, Deferred)
    assert bench.relay.taken == []
    assert bench.journal.troubles


class TokenRing(Ring):
    """Keys that are said to be in a token; notes which thread asks for them."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.threads: list[int] = []
        self.free = threading.Event()

    def in_token(self, thumbprint: str) -> bool:
        return True

    def private_key(self, thumbprint: str) -> PrivateKeyTypes:
        self.threads.append(threading.get_ident())
        assert self.free.wait(30)
        return super().private_key(thumbprint)


async def test_a_token_keeps_no_other_mail_waiting(bench: Bench) -> None:
    bench.world.set(ALICE, sign="always")
    bench.world.set(CAROL, locality="internal", sign="never")
    ring = bench.ring = TokenRing(bench.world)
    signed = [asyncio.create_task(bench.accept(ALICE, BOB)) for _ in range(20)]
    assert await bench.accept(CAROL, BOB) == [OK]  # while the token takes its time
    ring.free.set()
    for one in signed:
        assert await one == [OK]
    assert ring.threads
    assert threading.get_ident() not in ring.threads


async def test_a_defect_defers_and_shows_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr("smimefilter.flow.filter.outbound", defect)
    fates = await bench.accept(ALICE, BOB, CAROL)
    assert [type(fate) for fate in fates] == [Deferred, Deferred]
    assert "42" not in repr(fates)
    assert bench.relay.taken == []
    assert isinstance(bench.journal.troubles[0][1], RuntimeError)
    assert len(bench.journal.records) == 1


async def test_a_loop_is_ended(bench: Bench) -> None:
    content = b"Received: x\r\n" * (MAX_HOPS + 1) + b"\r\nx\r\n"
    (fate,) = await bench.accept(ALICE, BOB, content=content)
    assert isinstance(fate, Refused)
    assert str(fate.status) == "5.4.6"


async def test_an_unreadable_sender_is_refused(bench: Bench) -> None:
    (fate,) = await bench.accept("nobody", BOB)
    assert isinstance(fate, Refused)


async def test_large_mail_is_worked_on_in_a_thread(bench: Bench) -> None:
    bench.threads_from = 10
    assert await bench.accept(ALICE, BOB) == [OK]
    assert b"enveloped-data" in bench.relay.content_for(BOB)


async def test_clear_where_allowed_and_encrypted_where_possible(bench: Bench) -> None:
    fates = await bench.accept(ALICE, BOB, CAROL)
    assert fates == [OK, OK]
    assert b"enveloped-data" in bench.relay.content_for(BOB)
    assert b"text, long enough" not in bench.relay.content_for(BOB)
    assert b"text, long enough" in bench.relay.content_for(CAROL)


async def test_copies_that_differ_in_encryption_alone_share_a_signature(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second, hidden recipient costs no second operation with the private key."""
    bench.world.person(CAROL)
    signatures: list[object] = []
    plain = carry.detached

    def detached(*args: Any) -> bytes:
        signatures.append(args)
        return plain(*args)

    monkeypatch.setattr(carry, "detached", detached)
    content = mail_to(ALICE, [BOB])
    assert await bench.accept(ALICE, BOB, CAROL, content=content) == [OK, OK]
    assert len(bench.relay.taken) == 2
    assert len(signatures) == 1


async def test_an_outsider_who_claims_our_sender_gets_no_signature(bench: Bench) -> None:
    """As after an alias: from the internet, with our own sender, to somebody outside."""
    bench.world.set("in.test", locality="internal")
    client = Client("127.0.0.1", xforward={"ADDR": "203.0.113.66", "SOURCE": "REMOTE"})
    assert await bench.accept(ALICE, BOB, client=client) == [OK]
    content = bench.relay.content_for(BOB)
    assert b"enveloped-data" in content
    (copy,) = bench.journal.records[0].plan.copies  # type: ignore[union-attr]
    assert copy.signing is None
    bench.world.set("in.test", sign="always")
    (fate,) = await bench.accept(ALICE, BOB, client=client)
    assert isinstance(fate, Refused)
    assert str(fate.status) == "5.7.1"


async def test_trouble_with_one_copy_leaves_the_others_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(address: str) -> Fate:
        if address == CAROL:
            raise RuntimeError("the relay broke")
        return OK

    bench.relay.answer = taken
    fates = await bench.accept(ALICE, BOB, CAROL, one_reply=False)
    assert fates[0] == OK
    assert isinstance(fates[1], Deferred)


async def test_a_defect_in_the_notice_does_not_undo_a_delivery(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise RuntimeError

    bench.world.set(ALICE, encrypt="mandatory")
    monkeypatch.setattr("smimefilter.flow.notices.notice", defect)
    fates = await bench.accept(ALICE, BOB, CAROL)
    assert fates[0] == OK
    assert isinstance(fates[1], Refused)


async def test_a_refused_notice_leaves_the_refusal_to_the_reply(bench: Bench) -> None:
    bench.world.set(ALICE, encrypt="mandatory")
    bench.relay.answer = lambda address: NO if address == ALICE else OK
    fates = await bench.accept(ALICE, BOB, CAROL)
    assert fates[0] == OK
    assert isinstance(fates[1], Refused)


async def test_a_notice_never_carries_what_had_to_be_encrypted(bench: Bench) -> None:
    bench.world.set(ALICE, encrypt="mandatory")
    await bench.accept(ALICE, BOB, CAROL, params=("RET=FULL",))
    notice = b"".join(bench.relay.taken[-1].chunks)
    assert bench.relay.taken[-1].sender == ""
    assert b"text, long enough" not in notice
