"""Mails that come by SMTP once more: nobody gets one twice, and none is taken for another."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

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
from smimefilter.base.reasons import Because
from smimefilter.flow.carry import Carrier
from smimefilter.flow.filter import MOST_SETBACKS, Filter
from smimefilter.flow.handover import Tries
from smimefilter.flow.origin import Origins
from smimefilter.flow.snapshots import State
from smimefilter.ports.handover import Heard
from smimefilter.ports.journal import MailRecord
from smimefilter.ports.relay import Outgoing
from smimefilter.ports.stores import StoreTrouble
from smimefilter.store.handover import SqliteHandOvers
from tests.support.pki import NOW
from tests.support.plans import World, codes, mail_to
from tests.support.ring import Ring

ALICE, BOB, CAROL = "alice@in.test", "bob@out.test", "carol@out.test"
DAVE, ERIN = "dave@clear.test", "erin@out.test"
OK = Delivered("QID", "queued as QID")
LATER = Deferred(Status(4, "2.2"), "mailbox full")
GONE = Deferred(Status(4, "4.1"), "no connection")
NO = Refused(Status(5, "1.1"), "no such user", by_policy=False)
POSTFIX = Client("192.0.2.7", xforward={"IDENT": "4XYZ"})


class Hop:
    """A next hop that says of each recipient what it is told to, and counts who got what."""

    def __init__(self) -> None:
        self.says: dict[str, Fate] = {}
        self.got: list[str] = []
        self.tried: list[str] = []
        self.before: Callable[[Outgoing], None] = lambda _: None

    async def deliver(self, outgoing: Outgoing) -> list[Fate]:
        self.before(outgoing)
        addresses = [recipient.address for recipient in outgoing.recipients]
        fates = [self.says.get(address, OK) for address in addresses]
        self.tried += addresses
        self.got += [
            a for a, f in zip(addresses, fates, strict=True) if isinstance(f, Delivered)
        ]
        return fates


class Log:
    def __init__(self) -> None:
        self.records: list[MailRecord] = []
        self.said: list[tuple[str, dict[str, object]]] = []

    def mail(self, record: MailRecord) -> None:
        self.records.append(record)

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        self.said.append((what, about))

    def note(self, event: str, **about: object) -> None:
        self.said.append((event, about))

    warn = note


@dataclasses.dataclass
class Gateway:
    """A filter as it is after a start, over a journal that outlives it."""

    kept: SqliteHandOvers
    world: World
    hop: Hop = dataclasses.field(default_factory=Hop)
    log: Log = dataclasses.field(default_factory=Log)
    count: int = 0
    first: Callable[[int], int] = lambda _: 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.tries = Tries(self.kept, self.log)

    def filter(self) -> Filter:
        state = State(self.world.moment().snapshot, Carrier(Ring(self.world)))
        return Filter(
            snapshots=type("Snapshots", (), {"current": state})(),
            relay=self.hop,
            journal=self.log,
            clock=lambda: NOW,
            hostname="gw.test",
            threads_from=1 << 20,
            origins=Origins(["192.0.2.0/24"]),
            tries=self.tries,
            first=self.first,
        )

    async def take(
        self,
        *recipients: str,
        heard: Heard | None = Heard.YES,
        sender: str = ALICE,
        **special: Any,
    ) -> list[Fate]:
        self.count += 1
        special = {"client": POSTFIX, "content": mail(sender), **special}
        to = tuple(map(Recipient, recipients))
        transaction = Transaction(f"id{self.count}", sender, to, **special)
        sut = self.filter()
        fates = await sut.accept(transaction)
        if heard is not None:
            sut.told(transaction.id, heard)
            await self.tries.close()
        return fates


def mail(sender: str = ALICE, extra: str = "Message-ID: <1@in.test>") -> bytes:
    return mail_to(sender, [BOB, CAROL], extra=extra)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    world = World()
    world.person(ALICE, key=True)
    world.person(BOB)
    world.person(ERIN)
    world.set(ERIN, content_cipher="aes-256-gcm")
    world.set("clear.test", encrypt="never", sign="never")
    kept = SqliteHandOvers(tmp_path / "h.db", lambda: NOW)
    kept.open()
    yield Gateway(kept, world)
    await kept.close()


THREE = (BOB, DAVE, ERIN)  # three copies: two ciphers, and none


def rows(gateway: Gateway) -> int:
    reader = gateway.kept._reader
    assert reader is not None
    return int(reader.execute("SELECT count(*) FROM settled").fetchone()[0])


@pytest.mark.parametrize("waits", THREE)
async def test_the_next_try_relays_what_is_missing_and_then_all_is_forgotten(
    gateway: Gateway, waits: str
) -> None:
    gateway.hop.says[waits] = LATER
    assert LATER in await gateway.take(*THREE)
    assert sorted(gateway.hop.got) == sorted({*THREE} - {waits})
    gateway.restart()
    del gateway.hop.says[waits]
    assert await gateway.take(*THREE) == [OK, OK, OK]
    assert sorted(gateway.hop.got) == sorted(THREE)
    assert rows(gateway) == 0
    (record,) = gateway.log.records[1:]
    assert record.plan is not None
    again = [Because.SETTLED_BEFORE in codes(one) for one in record.plan.decisions]
    assert again == [address != waits for address in THREE]
    assert ("mail came again", {"id": "id2", "settled": 2, "recipients": 3}) in gateway.log.said


async def test_recipients_of_one_copy_may_fare_differently(gateway: Gateway) -> None:
    frank = "frank@clear.test"
    gateway.hop.says[frank] = LATER
    assert await gateway.take(DAVE, frank) == [OK, LATER]
    gateway.hop.says.clear()
    assert await gateway.take(DAVE, frank) == [OK, OK]
    assert gateway.hop.got == [DAVE, frank]


class TwoWays(Hop):
    """The first recipient goes another way than the rest."""

    def ways(self, recipients: Sequence[Recipient]) -> list[list[int]]:
        return [found for found in ([0], [*range(1, len(recipients))]) if found]


async def test_what_one_next_hop_has_taken_is_kept_before_another_is_asked(
    gateway: Gateway,
) -> None:
    gateway.hop = TwoWays()
    people = [DAVE, "frank@clear.test", "gina@clear.test"]  # one copy
    kept: list[int] = []
    gateway.hop.before = lambda _: kept.append(rows(gateway))
    assert await gateway.take(*people) == [OK] * 3
    assert kept == [0, 1]
    assert gateway.hop.got == people


async def test_one_recipient_keeps_no_other_waiting(gateway: Gateway) -> None:
    """The first copy's deferral does not end the turn, for the next try will be known."""
    gateway.hop.says[BOB] = LATER
    await gateway.take(*THREE)
    assert set(gateway.hop.got) == {DAVE, ERIN}


async def test_a_next_hop_in_trouble_is_tried_a_few_times(gateway: Gateway) -> None:
    people = [BOB, CAROL, DAVE, ERIN]
    gateway.world.person(CAROL)
    gateway.world.set(CAROL, content_cipher="aes-128-cbc")
    gateway.hop.says = dict.fromkeys(people, GONE)
    assert await gateway.take(*people) == [GONE] * 4
    assert len(gateway.hop.tried) == MOST_SETBACKS
    gateway.hop.says.clear()
    assert await gateway.take(*people) == [OK] * 4


async def test_those_behind_a_next_hop_in_trouble_have_their_turn(gateway: Gateway) -> None:
    people = [BOB, CAROL, DAVE, ERIN]
    gateway.world.person(CAROL)
    gateway.world.set(CAROL, content_cipher="aes-128-cbc")
    gateway.hop.says = dict.fromkeys([BOB, CAROL, DAVE], GONE)
    got = set()
    for first in range(4):
        gateway.first = lambda _, first=first: first  # type: ignore[misc]
        await gateway.take(*people)
        got |= set(gateway.hop.got)
    assert got == {ERIN}


async def test_what_was_decided_otherwise_meanwhile_does_not_undo_a_delivery(
    gateway: Gateway,
) -> None:
    gateway.hop.says[BOB] = LATER
    await gateway.take(BOB, CAROL)
    gateway.world.set("out.test", encrypt="mandatory")  # Carol has no certificate
    assert await gateway.take(BOB, CAROL) == [LATER, OK]
    gateway.hop.says.clear()
    assert await gateway.take(BOB, CAROL) == [OK, OK]
    assert gateway.hop.got == [CAROL, BOB]


async def test_a_sender_is_told_once(gateway: Gateway) -> None:
    gateway.world.set(CAROL, encrypt="mandatory")
    fates = await gateway.take(BOB, CAROL, heard=Heard.NO)
    assert isinstance(fates[1], Notified)
    gateway.restart()
    gateway.world.set(CAROL, encrypt="allow")  # it was refused, and the sender knows that
    assert await gateway.take(BOB, CAROL) == fates
    assert gateway.hop.got == [BOB, ALICE]


async def test_a_notice_that_has_to_wait_makes_no_duplicates(gateway: Gateway) -> None:
    gateway.world.set(CAROL, encrypt="mandatory")
    gateway.hop.says[ALICE] = LATER
    assert await gateway.take(BOB, CAROL) == [OK, LATER]
    gateway.hop.says.clear()
    fates = await gateway.take(BOB, CAROL)
    assert [type(fate) for fate in fates] == [Delivered, Notified]
    assert gateway.hop.got == [BOB, ALICE]


async def test_one_copy_is_relayed_again_only_where_nobody_heard_us(gateway: Gateway) -> None:
    for heard, again in [(Heard.YES, True), (Heard.PERHAPS, False), (Heard.NO, False)]:
        client = Client("192.0.2.7", xforward={"IDENT": str(heard)})
        gateway.hop.got.clear()
        await gateway.take(BOB, heard=heard, client=client)
        gateway.restart()
        assert await gateway.take(BOB, client=client) == [OK]
        assert gateway.hop.got == ([BOB, BOB] if again else [BOB])
    assert rows(gateway) == 0


async def test_the_usual_mail_writes_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    monkeypatch.setattr(gateway.kept, "_commit", written.append)
    for number in range(3):
        client = Client("192.0.2.7", xforward={"IDENT": f"Q{number}"})
        assert await gateway.take(BOB, client=client) == [OK]
        assert await gateway.take(DAVE, client=Client("192.0.2.7")) == [OK]
        gateway.hop.says[BOB] = LATER
        assert await gateway.take(BOB, client=client) == [LATER]
        gateway.hop.says.clear()
    assert written == []


# ── what is, and is not, the same mail ────────────────────────────────────────────────────

FIRST = mail()
DIFFERENT: dict[str, dict[str, Any]] = {
    "queue id": {"client": Client("192.0.2.7", xforward={"IDENT": "4XYA"})},
    "no queue id": {"client": Client("192.0.2.7")},
    "client": {"client": Client("192.0.2.8", xforward={"IDENT": "4XYZ"})},
    "login": {"client": Client("192.0.2.7", login="eve", xforward={"IDENT": "4XYZ"})},
    "sender": {"sender": "other@in.test", "content": FIRST},
    "envelope id": {"params": ("ENVID=2",)},
    "one byte": {"content": FIRST + b"x"},
    "Message-ID": {"content": mail(extra="Message-ID: <2@in.test>")},
    "Received": {"content": b"Received: from x by y id 5; now\r\n" + FIRST},
}


@pytest.mark.parametrize("difference", DIFFERENT)
async def test_another_mail_is_never_swallowed(gateway: Gateway, difference: str) -> None:
    gateway.hop.says[CAROL] = LATER
    await gateway.take(BOB, CAROL, content=FIRST)
    assert gateway.hop.got == [BOB]
    await gateway.take(BOB, CAROL, **{"content": FIRST, **DIFFERENT[difference]})
    assert gateway.hop.got == [BOB, BOB]


@pytest.mark.parametrize(
    "extra", ["Message-ID: <1@in.test>", "Received: by mx.test (Postfix) id 4X; 1 Jan"]
)
async def test_without_a_queue_id_the_header_has_to_tell_mails_apart(
    gateway: Gateway, extra: str
) -> None:
    content, client = mail(extra=extra), Client("192.0.2.7")
    gateway.hop.says[CAROL] = LATER
    await gateway.take(BOB, CAROL, content=content, client=client)
    gateway.hop.says.clear()
    await gateway.take(BOB, CAROL, content=content, client=client, heard=Heard.PERHAPS)
    assert gateway.hop.got == [BOB, CAROL]
    # a client that perhaps heard us may mean it when it sends the same again
    await gateway.take(BOB, CAROL, content=content, client=client)
    assert gateway.hop.got == [BOB, CAROL, BOB, CAROL]


async def test_what_nothing_tells_apart_is_another_mail_each_time(gateway: Gateway) -> None:
    content, client = mail(extra=""), Client("192.0.2.7")
    gateway.hop.says[CAROL] = LATER
    for _ in range(2):
        await gateway.take(BOB, CAROL, content=content, client=client, heard=Heard.NO)
    assert gateway.hop.got == [BOB, BOB]
    assert rows(gateway) == 0


async def test_the_same_address_twice_is_two_recipients(gateway: Gateway) -> None:
    answers = iter([OK, LATER, OK])

    async def one_after_the_other(outgoing: Outgoing) -> Sequence[Fate]:
        fates = [next(answers) for _ in outgoing.recipients]
        gateway.hop.got += [DAVE for fate in fates if fate is OK]
        return fates

    gateway.hop.deliver = one_after_the_other  # type: ignore[method-assign, assignment]
    assert await gateway.take(DAVE, DAVE) == [OK, LATER]
    assert await gateway.take(DAVE, DAVE) == [OK, OK]
    assert gateway.hop.got == [DAVE, DAVE]


async def test_parts_of_the_recipients_are_tries_of_the_same_mail(gateway: Gateway) -> None:
    """As Postfix sends them where there are too many for one go."""
    gateway.hop.says[CAROL] = LATER
    await gateway.take(BOB, CAROL)
    gateway.hop.says.clear()
    await gateway.take(CAROL, DAVE)
    await gateway.take(BOB)
    assert gateway.hop.got == [BOB, CAROL, DAVE]


async def test_two_tries_at_once(gateway: Gateway) -> None:
    """The client gave up waiting for the first, which still goes on."""
    other = Gateway(gateway.kept, gateway.world, gateway.hop, gateway.log)
    fates: list[Fate] = []

    async def slow(outgoing: Outgoing) -> list[Fate]:
        if not fates:
            fates.extend(await other.take(DAVE))
        gateway.hop.got.append(DAVE)
        return [OK]

    gateway.hop.deliver = slow  # type: ignore[method-assign]
    assert await gateway.take(DAVE, heard=Heard.NO) == [OK]
    assert [str(fate.status) for fate in fates if isinstance(fate, Deferred)] == ["4.3.0"]
    assert await other.take(DAVE) == [OK]
    assert gateway.hop.got == [DAVE]


# ── trouble with the journal ──────────────────────────────────────────────────────────────


async def cannot(*_: object) -> None:
    raise StoreTrouble("disk full")


async def test_a_journal_that_cannot_be_written_keeps_several_recipients_waiting(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.kept, "_write", cannot)
    fates = await gateway.take(*THREE)
    assert {str(fate.status) for fate in fates if isinstance(fate, Deferred)} == {"4.3.0"}
    assert len(fates) == 3
    assert gateway.hop.tried == []
    assert await gateway.take(BOB) == [OK]  # one recipient needs none


async def test_one_that_cannot_be_read_keeps_all_waiting(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: bytes) -> None:
        raise StoreTrouble("damaged")

    monkeypatch.setattr(gateway.kept, "known", unreadable)
    (fate,) = await gateway.take(BOB)
    assert isinstance(fate, Deferred)
    assert gateway.hop.tried == []
    monkeypatch.undo()
    assert await gateway.take(BOB) == [OK]  # nothing is claimed any more


async def test_one_that_fails_half_way_is_told_and_stops_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.kept, "add", cannot)
    assert await gateway.take(*THREE) == [OK, OK, OK]
    assert "hand-over not written" in [what for what, _ in gateway.log.said]


async def test_a_defect_half_way_forgets_no_delivery(
    gateway: Gateway,
) -> None:
    def break_for_erin(outgoing: Outgoing) -> None:
        if outgoing.recipients[0].address == ERIN:
            raise RuntimeError

    gateway.hop.before = break_for_erin
    assert isinstance((await gateway.take(*THREE))[2], Deferred)
    gateway.hop.before = lambda _: None
    assert await gateway.take(*THREE) == [OK, OK, OK]
    assert sorted(gateway.hop.got) == sorted(THREE)


async def test_lmtp_needs_no_journal(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.kept, "_write", cannot)
    gateway.hop.says[CAROL] = LATER
    assert await gateway.take(BOB, CAROL, one_reply=False, heard=None) == [OK, LATER]
    assert await gateway.take(BOB, one_reply=False, heard=None) == [OK]
    assert gateway.hop.got.count(BOB) == 2
