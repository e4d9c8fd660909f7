"""The way of a mail: facts, plan, bytes, fates.

One snapshot from start to end; all refusals are known before the first copy is relayed; the
reply is made of fates only (`answer.py`). Trouble of ours is 4xx and the mail stays with the
client; an exception that nobody foresaw is logged with its traceback and shown to nobody.

A challenge mail of a CA that one of our requests waits for is taken before all that, and goes
no further (`challenges.py`).

Over SMTP there is one reply for all recipients: a refusal beside a delivery is told to the
sender by a notice of ours (`notices.py`). RFC 5321 §4.2.5 and §6.1, RFC 3464.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple, ParamSpec, TypeVar

from smimefilter.base.address import BadAddress
from smimefilter.base.envelope import (
    Deferred,
    Delivered,
    Fate,
    Refused,
    Transaction,
    Unfit,
)
from smimefilter.base.errors import MailError, Status
from smimefilter.base.reasons import Because, Reason
from smimefilter.message.received import received_line
from smimefilter.message.wire import Message
from smimefilter.plan.facts import Mail
from smimefilter.plan.opened import Opening, OpeningRules
from smimefilter.plan.outbound import outbound
from smimefilter.plan.plan import Action, Copy, Decision, Plan
from smimefilter.plan.snapshot import Moment
from smimefilter.ports.handover import Heard
from smimefilter.ports.journal import Journal, MailRecord
from smimefilter.ports.relay import HasWays, Outgoing, Relay

from .carry import Prepared
from .challenges import ChallengeDesk
from .handover import Tries, Try, is_about_one
from .lookups import Lookups
from .notices import tell_sender
from .opening import BRIEF_OCTETS, Decrypted, MailReader, TakesLong
from .origin import Origins
from .snapshots import Snapshots, State

P = ParamSpec("P")
T = TypeVar("T")

COPIES_AT_ONCE: Final = 4  # of one mail; each is in memory while it is relayed
OPENED_AT_ONCE: Final = 4  # mails: each may take the memory of several of its size
SIGNED_BY_TOKEN_AT_ONCE: Final = 2  # mails: one token, and threads are few
LOOKUP_ROUNDS: Final = 4  # an issuer may be missing that another one fetched leads to
MOST_SETBACKS: Final = 3  # copies that a next hop in trouble has a mail's others wait after
MAX_HOPS: Final = 50  # Received fields; RFC 5321 §6.3 asks for a large number
TROUBLE: Final = Deferred(Status(4, "3.0"), "try again later")
LOOP: Final = Refused(Status(5, "4.6"), "too many hops: this mail is going in circles")
TAKEN: Final = Delivered(text="taken by the gateway itself")
BAD_SENDER: Final = Refused(Status(5, "1.7"), "sender address cannot be read")


class Filter:
    """Takes transactions, answers with one fate for each recipient."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        relay: Relay,
        journal: Journal,
        clock: Callable[[], datetime],
        hostname: str,
        threads_from: int,
        origins: Origins,
        lookups: Lookups | None = None,
        lookup_wait: float = 0.0,
        authserv_id: str = "",
        challenges: ChallengeDesk | None = None,
        tries: Tries | None = None,
        first: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        """`lookups`: what verdicts miss may be fetched, and waited for so many seconds.
        `authserv_id`: the name that results are told under, that of the host if empty.
        `challenges`: looks for mails that requests for certificates wait for.
        `tries`: knows mails that come by SMTP once more."""
        self.authserv_id = authserv_id or hostname
        self.snapshots = snapshots
        self.relay = relay
        self.journal = journal
        self.clock = clock
        self.hostname = hostname
        self.threads_from = threads_from
        self.origins = origins
        self.lookups = lookups
        self.lookup_wait = lookup_wait
        self.challenges = challenges
        self.tries = tries
        self.first = first  # which of so many copies a try begins with
        self.opening = asyncio.Semaphore(OPENED_AT_ONCE)
        self.at_token = asyncio.Semaphore(SIGNED_BY_TOKEN_AT_ONCE)

    async def accept(self, transaction: Transaction) -> list[Fate]:
        """The fates of a mail's recipients, in order. Never raises but for cancellation."""
        started = time.perf_counter()
        way = _Way(self, transaction)
        try:
            await way.go()
        except BadAddress:
            way.settle_rest(BAD_SENDER)
        except MailError as error:
            way.settle_rest(_fate_of(error))
            what = "mail refused" if error.status.category == 5 else "mail deferred"
            self.journal.trouble(what, error, id=transaction.id)
        except Exception as error:  # noqa: BLE001 - a defect delays a mail, it never bounces it
            way.settle_rest(TROUBLE)
            self.journal.trouble("mail deferred: defect", error, id=transaction.id)
        finally:
            await way.end()
        took = (time.perf_counter() - started) * 1000
        fates = way.settled()
        record = MailRecord(
            transaction, way.plan, tuple(fates), took, way.revision, way.message_id, way.ours
        )
        self.journal.mail(record)
        return fates

    def told(self, identifier: str, heard: Heard) -> None:
        """What became of the reply to a mail."""
        if self.tries is not None:
            self.tries.told(identifier, heard)


class _Found(NamedTuple):
    """A plan, and what it was made of."""

    state: State
    moment: Moment
    plan: Plan
    reader: MailReader


class _Way:
    """One mail on its way: what is known of it so far, and the fates that are settled.

    A fate once settled stays: trouble later on never makes a delivery undone, and never makes
    a copy leave twice.
    """

    def __init__(self, by: Filter, transaction: Transaction) -> None:
        self._by = by
        self._transaction = transaction
        self._fates: list[Fate | None] = [None] * len(transaction.recipients)
        self._decrypted = Decrypted()
        self._try: Try | None = None
        self.plan: Plan | None = None
        self.revision = 0
        self.message_id = ""
        self.ours = False

    async def go(self) -> None:
        """From facts to fates."""
        by, transaction = self._by, self._transaction
        mail = Mail(_message(transaction.content))
        if len(mail.message.all("Received")) > MAX_HOPS:
            self.settle_rest(LOOP)
            return
        self.message_id = mail.message_id
        if by.challenges is not None:
            opened = partial(self._opening, mail)
            taken = await by.challenges.taken(transaction, mail, opened)
            if taken is not None:
                self.plan = taken
                self.settle_rest(TAKEN)
                return
        ours = self.ours = by.origins.is_ours(transaction.client)
        found = await self._found(mail, ours=ours)
        if by.lookups is not None and found.plan.needs:
            found = await self._found_again(by.lookups, mail, ours=ours)
        state, moment, plan, reader = found
        for position, decision in enumerate(plan.decisions):
            self._fates[position] = _planned(decision)
        if transaction.one_reply:
            plan = self.plan = await self._what_is_left(plan, mail.message)
        work = (plan.copies, mail.message, moment.now, secrets.token_hex(12), reader)
        if state.carrier.asks_the_token(plan.copies):
            async with by.at_token:
                prepared = await asyncio.to_thread(state.carrier.prepare, *work)
        else:
            prepared = await self._worked(state.carrier.prepare, *work)
        received = received_line(transaction.client, by.hostname, transaction.id, moment.now)
        if transaction.one_reply:
            await self._relay_in_turn(prepared, received)
            if any(isinstance(fate, Refused) for fate in self._fates):
                await self._keep()  # before a notice goes out
            fates = await tell_sender(
                transaction, self.settled(), by.relay, host=by.hostname, now=moment.now
            )
            self._fates = list(fates)
        else:
            turn = asyncio.Semaphore(COPIES_AT_ONCE)
            await asyncio.gather(
                *(self._relay(copy, prepared, received, turn) for copy in plan.copies)
            )

    async def _found(self, mail: Mail, *, ours: bool) -> _Found:
        """The plan by what is known now. A mail that has to be opened for it, and may have been
        made to cost as much as one can, keeps no other waiting."""
        if not mail.is_said_protected:
            return self._decide(mail, ours=ours)
        if len(self._transaction.content) <= BRIEF_OCTETS and not mail.is_encrypted:
            with suppress(TakesLong):
                return self._decide(mail, ours=ours, brief=True)
        async with self._by.opening:
            return await asyncio.to_thread(self._decide, mail, ours=ours)

    async def _opening(self, mail: Mail, rules: OpeningRules) -> Opening:
        """What is in a mail, by what is known now."""
        by = self._by
        state = by.snapshots.current
        moment = state.snapshot.at(by.clock())
        reader = state.carrier.reader(mail, moment, by.authserv_id, self._decrypted)
        async with by.opening:
            return await asyncio.to_thread(reader.opening, rules)

    def _decide(self, mail: Mail, *, ours: bool, brief: bool = False) -> _Found:
        by = self._by
        state = by.snapshots.current
        self.revision = state.snapshot.revision
        moment = state.snapshot.at(by.clock())
        known = self._decrypted
        reader = state.carrier.reader(mail, moment, by.authserv_id, known, brief=brief)
        self.plan = outbound(self._transaction, mail, moment, reader, ours=ours)
        reader.brief = False  # what is left to do may take its time
        return _Found(state, moment, self.plan, reader)

    async def _found_again(self, lookups: Lookups, mail: Mail, *, ours: bool) -> _Found:
        """The plan by what can be known within a while, round after round."""
        end = time.monotonic() + self._by.lookup_wait
        found = await self._found(mail, ours=ours)
        for _ in range(LOOKUP_ROUNDS):
            left, needs = end - time.monotonic(), found.plan.needs
            if not needs or left <= 0 or not await lookups.meet(needs, left):
                break
            found = await self._found(mail, ours=ours)
        return found

    def settle_rest(self, fate: Fate) -> None:
        """The fate of all recipients that have none yet."""
        self._fates = [known or fate for known in self._fates]

    def settled(self) -> list[Fate]:
        """The fates; what has none yet is deferred."""
        return [fate or TROUBLE for fate in self._fates]

    async def _what_is_left(self, plan: Plan, message: Message) -> Plan:
        """The plan without what an earlier try has done. Raises `StillUnderWay`,
        `StoreTrouble`."""
        by = self._by
        if by.tries is None:
            return plan
        found = await self._worked(by.tries.begin, self._transaction, message)
        if found is None:
            return plan
        found.open()
        self._try = found
        for position, fate in found.before.items():
            self._fates[position] = fate
        plan = without(plan, found.before)
        if found.before:
            about = {"settled": len(found.before), "recipients": len(plan.decisions)}
            by.journal.note("mail came again", id=self._transaction.id, **about)
        if plan.copies and len(plan.decisions) > 1:
            await found.prove()
        return plan

    async def _keep(self) -> None:
        if self._by.tries is not None and self._try is not None:
            await self._by.tries.keep(self._try, self._fates)

    async def end(self) -> None:
        """The fates are final. A client that comes again finds them in the journal, and may
        come from now on."""
        tries, found = self._by.tries, self._try
        if tries is None or found is None:
            return
        try:
            if found.end(self.settled()):
                await self._keep()
            tries.answered(found)
        finally:
            found.close()

    async def _relay_in_turn(self, prepared: Prepared, received: bytes) -> None:
        """One after the other. A deferral before anything was delivered ends it: the client's
        next try starts from nothing and makes no duplicates. Where the next try will be known,
        one recipient keeps no other waiting, and a few troubles of next hops end it."""
        assert self.plan is not None
        turn = asyncio.Semaphore(1)
        setbacks = 0
        for number, copy in enumerate(self._steps(self.plan.copies)):
            if number:
                await self._keep()
            await self._relay(copy, prepared, received, turn)
            nothing_out = not any(isinstance(fate, Delivered) for fate in self._fates)
            deferred = [fate for fate in self._fates if isinstance(fate, Deferred)]
            if self._try is not None:
                fates = [self._fates[position] for position in copy.recipients]
                setbacks += any(isinstance(f, Deferred) and not is_about_one(f) for f in fates)
                nothing_out = setbacks >= MOST_SETBACKS
            if deferred and nothing_out:
                self.settle_rest(deferred[-1])
                return

    def _steps(self, copies: Sequence[Copy]) -> Sequence[Copy]:
        """The copies, by next hop where a next try will be known: what one of them has taken is
        kept before another is asked."""
        if self._try is None:
            return copies
        relay, steps = self._by.relay, list(copies)
        if isinstance(relay, HasWays):
            steps = [
                copy._replace(recipients=tuple(copy.recipients[n] for n in way))
                for copy in copies
                for way in relay.ways(
                    [self._transaction.recipients[n] for n in copy.recipients]
                )
            ]
        # Each try begins elsewhere: a next hop in trouble must not keep the same ones waiting.
        first = self._by.first(len(steps)) if steps else 0
        return steps[first:] + steps[:first]

    async def _relay(
        self, copy: Copy, prepared: Prepared, received: bytes, turn: asyncio.Semaphore
    ) -> None:
        """Make one copy and hand it over; its trouble is that of its recipients alone."""
        async with turn:
            fates: Sequence[Fate]
            try:
                chunks = await self._worked(prepared.chunks, copy)
                out = self._outgoing(copy, [received, *chunks])
                fates = await self._by.relay.deliver(out)
                if _must_go_closed(fates, copy, prepared):
                    fates = await self._as_it_came(copy, prepared, received) or fates
            except MailError as error:
                fates = [_fate_of(error)] * len(copy.recipients)
                self._by.journal.trouble("copy deferred", error, id=self._transaction.id)
            except Exception as error:  # noqa: BLE001 - the other copies go on
                fates = [TROUBLE] * len(copy.recipients)
                self._by.journal.trouble(
                    "copy deferred: defect", error, id=self._transaction.id
                )
        for position, fate in zip(copy.recipients, fates, strict=True):
            self._fates[position] = fate

    async def _as_it_came(
        self, copy: Copy, prepared: Prepared, received: bytes
    ) -> Sequence[Fate] | None:
        """The fates of a copy that holds what was decrypted, and can be sent as it came only.
        A refusal would tell whoever sent it what is in it, see `opening.py`."""
        chunks = await self._worked(prepared.as_if_failed, copy)
        if chunks is None:
            return None
        fates = await self._by.relay.deliver(self._outgoing(copy, [received, *chunks]))
        self._tell_closed(copy)
        return fates

    def _tell_closed(self, copy: Copy) -> None:
        """The plan says what became of it: these have it as it came."""
        assert self.plan is not None
        decisions = list(self.plan.decisions)
        why = Reason(Because.NOT_TAKEN_OPEN)
        for position in copy.recipients:
            known = decisions[position]
            reasons = (*known.reasons, why)
            decisions[position] = known._replace(action=Action.UNDECRYPTABLE, reasons=reasons)
        self.plan = self.plan._replace(decisions=tuple(decisions))

    async def _worked(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of CPU work; of a large mail it is done in a thread."""
        if len(self._transaction.content) < self._by.threads_from:
            return work(*args, **kwargs)
        return await asyncio.to_thread(work, *args, **kwargs)

    def _outgoing(self, copy: Copy, chunks: list[bytes]) -> Outgoing:
        transaction = self._transaction
        params = transaction.params
        if copy.reading is not None and not all(map(bytes.isascii, chunks)):
            params = _eight_bit(params)
        return Outgoing(
            sender=transaction.sender,
            recipients=tuple(transaction.recipients[n] for n in copy.recipients),
            chunks=chunks,
            params=params,
            client=transaction.client,
        )


def without(plan: Plan, before: Container[int]) -> Plan:
    """The plan without copies for recipients whom an earlier try has settled."""
    if not any(position in before for position in range(len(plan.decisions))):
        return plan
    copies = []
    for copy in plan.copies:
        left = tuple(position for position in copy.recipients if position not in before)
        if left:
            copies.append(copy._replace(recipients=left))
    why = Reason(Because.SETTLED_BEFORE)
    decisions = tuple(
        known._replace(reasons=(*known.reasons, why)) if position in before else known
        for position, known in enumerate(plan.decisions)
    )
    return plan._replace(copies=tuple(copies), decisions=decisions)


def _message(content: bytes) -> Message:
    """What came, without the line of a mailbox file before it: behind our Received field it
    would be taken for one, or for the end of the header."""
    message = Message(content)
    if content.startswith(b"From ") and message.names[:1] == [b""]:
        return message.without_at([0])
    return message


def _must_go_closed(fates: Sequence[Fate], copy: Copy, prepared: Prepared) -> bool:
    """Whether a copy is to be tried as it came: the next hop cannot take it, or it refuses one
    that anybody may have made of another's mail, and what it refuses tells of the text."""
    if any(isinstance(fate, Unfit) for fate in fates):
        return True
    refused = all(isinstance(fate, Refused) for fate in fates)
    return refused and prepared.is_malleable(copy)


def _eight_bit(params: tuple[str, ...]) -> tuple[str, ...]:
    """The same for a content that came out of an encrypted one and is not ASCII."""
    kept = [param for param in params if param[:5].upper() != "BODY="]
    return (*kept, "BODY=8BITMIME")


def _planned(decision: Decision) -> Fate | None:
    """The fate of a recipient whose copy is not to be relayed at all."""
    refusal = decision.refusal
    if refusal is None:
        return None
    if decision.action is Action.DEFER:
        return Deferred(refusal.status, refusal.text)
    return Refused(refusal.status, refusal.text)


def _fate_of(error: MailError) -> Fate:
    if error.status.category == 5:
        return Refused(error.status, error.public)
    return Deferred(error.status, error.public)
