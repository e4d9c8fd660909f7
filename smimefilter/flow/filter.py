"""The way of a mail: facts, plan, bytes, fates.

One snapshot from start to end; all refusals are known before the first copy is relayed; the
reply is made of fates only (`answer.py`). Trouble of ours is 4xx and the mail stays with the
client; an exception that nobody foresaw is logged with its traceback and shown to nobody.

Over SMTP there is one reply for all recipients: a refusal beside a delivery is told to the
sender by a notice of ours (`notices.py`). RFC 5321 §4.2.5 and §6.1, RFC 3464.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from smimefilter.base.address import BadAddress
from smimefilter.base.envelope import (
    Deferred,
    Delivered,
    Fate,
    Refused,
    Transaction,
)
from smimefilter.base.errors import MailError, Status
from smimefilter.message.received import received_line
from smimefilter.message.wire import Message
from smimefilter.plan.facts import Mail
from smimefilter.plan.outbound import outbound
from smimefilter.plan.plan import Action, Copy, Decision, Plan
from smimefilter.ports.journal import Journal, MailRecord
from smimefilter.ports.relay import Outgoing, Relay

from .carry import Carrier
from .notices import tell_sender
from .snapshots import Snapshots

MAX_HOPS: Final = 50  # Received fields; RFC 5321 §6.3 asks for a large number
TROUBLE: Final = Deferred(Status(4, "3.0"), "try again later")
LOOP: Final = Refused(Status(5, "4.6"), "too many hops: this mail is going in circles")
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
    ) -> None:
        self._snapshots = snapshots
        self._relay = relay
        self._journal = journal
        self._clock = clock
        self._hostname = hostname
        self._threads_from = threads_from

    async def accept(self, transaction: Transaction) -> list[Fate]:
        """The fates of a mail's recipients, in order. Never raises but for cancellation."""
        started = time.perf_counter()
        plan: Plan | None = None
        revision = 0
        try:
            state = self._snapshots.current
            revision = state.snapshot.revision
            moment = state.snapshot.at(self._clock())
            mail = Mail(Message(transaction.content))
            refusal = _unfit(mail)
            if refusal is None:
                plan = outbound(transaction, mail, moment)
                outgoing = await self._made(transaction, mail, plan, state.carrier, moment.now)
                fates = await self._relayed(transaction, plan, outgoing, moment.now)
            else:
                fates = [refusal] * len(transaction.recipients)
        except BadAddress:
            fates = [BAD_SENDER] * len(transaction.recipients)
        except MailError as error:
            fates = [_fate_of(error)] * len(transaction.recipients)
            self._journal.trouble("mail deferred", error, id=transaction.id)
        except Exception as error:  # noqa: BLE001 - a defect delays a mail, it never bounces it
            fates = [TROUBLE] * len(transaction.recipients)
            self._journal.trouble("mail deferred: defect", error, id=transaction.id)
        took = (time.perf_counter() - started) * 1000
        self._journal.mail(MailRecord(transaction, plan, tuple(fates), took, revision))
        return fates

    async def _made(
        self,
        transaction: Transaction,
        mail: Mail,
        plan: Plan,
        carrier: Carrier,
        now: datetime,
    ) -> list[tuple[Copy, Outgoing]]:
        """All copies, before the first one leaves. Large mail is worked on in a thread."""
        received = received_line(transaction.client, self._hostname, transaction.id, now)
        work = (plan.copies, mail.message, now, secrets.token_hex(12))
        if mail.size < self._threads_from or all(copy.is_untouched for copy in plan.copies):
            contents = carrier.carry(*work)
        else:
            contents = await asyncio.to_thread(carrier.carry, *work)
        return [
            (copy, _outgoing(transaction, copy, [received, *chunks]))
            for copy, chunks in zip(plan.copies, contents, strict=True)
        ]

    async def _relayed(
        self,
        transaction: Transaction,
        plan: Plan,
        outgoing: Sequence[tuple[Copy, Outgoing]],
        now: datetime,
    ) -> list[Fate]:
        fates = [_planned(decision) for decision in plan.decisions]
        if not transaction.one_reply:
            await asyncio.gather(*(self._relay_one(copy, out, fates) for copy, out in outgoing))
            return fates
        await self._relay_in_turn(outgoing, fates)
        return await tell_sender(transaction, fates, self._relay, host=self._hostname, now=now)

    async def _relay_in_turn(
        self, outgoing: Sequence[tuple[Copy, Outgoing]], fates: list[Fate]
    ) -> None:
        """One after the other; a deferral before anything was delivered ends it, so that the
        client's next try starts from nothing and makes no duplicates."""
        for number, (copy, out) in enumerate(outgoing):
            await self._relay_one(copy, out, fates)
            nothing_out = not any(isinstance(fate, Delivered) for fate in fates)
            deferred = next((fate for fate in fates if isinstance(fate, Deferred)), None)
            if deferred and nothing_out:
                for later, _ in outgoing[number + 1 :]:
                    for position in later.recipients:
                        fates[position] = deferred
                return

    async def _relay_one(self, copy: Copy, out: Outgoing, fates: list[Fate]) -> None:
        delivered = await self._relay.deliver(out)
        for position, fate in zip(copy.recipients, delivered, strict=True):
            fates[position] = fate


def _unfit(mail: Mail) -> Fate | None:
    return LOOP if len(mail.message.all("Received")) > MAX_HOPS else None


def _outgoing(transaction: Transaction, copy: Copy, chunks: list[bytes]) -> Outgoing:
    return Outgoing(
        sender=transaction.sender,
        recipients=tuple(transaction.recipients[position] for position in copy.recipients),
        chunks=chunks,
        params=transaction.params,
        client=transaction.client,
    )


def _planned(decision: Decision) -> Fate:
    """The fate of a recipient before anything is relayed."""
    refusal = decision.refusal
    if refusal is None:
        return TROUBLE
    if decision.action is Action.DEFER:
        return Deferred(refusal.status, refusal.text)
    return Refused(refusal.status, refusal.text)


def _fate_of(error: MailError) -> Fate:
    if error.status.category == 5:
        return Refused(error.status, error.public)
    return Deferred(error.status, error.public)
