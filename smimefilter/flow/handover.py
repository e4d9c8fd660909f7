"""Mails that come by SMTP once more: what an earlier try has done is not done again.

SMTP has one reply for all recipients, so a client sends a mail again to those who have it
already: when the copy of another one was deferred, when we died half-way, or when it did not
hear our reply. A `Try` is one such coming. It knows who is done with, keeps that in the
journal before anything else is done that a later try must not do again, and is over when the
client has heard a final reply: then the journal forgets it. A mail that is relayed in one go
and answered costs one look into the journal, and writes nothing.

The same mail is the same bytes, from the same client and sender, with the same queue id of the
client (XFORWARD) and envelope id; nothing less will do, for what is wrongly taken for relayed
is lost. Where there is no queue id, something in its header has to tell it from another mail
of the same words: a Received field or a Message-ID. A mail with neither is never known again.

Leaves keeping to `ports/handover.py`, what is done for whom to `filter.py`. RFC 5321 §6.1,
RFC 1047. Raises `StillUnderWay`, `StoreTrouble`: 4xx, before anything was relayed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from hashlib import sha256
from typing import ClassVar, Final

from smimefilter.base.envelope import Deferred, Delivered, Fate, Notified, Transaction
from smimefilter.base.errors import TemporaryTrouble
from smimefilter.message.wire import Message
from smimefilter.ports.handover import HandOvers, Heard, Settled
from smimefilter.ports.journal import Journal

_FORM: Final = b"1"  # of the names; another one knows nothing of what these named


class StillUnderWay(TemporaryTrouble):
    """The same mail to the same recipients is being worked on at this moment."""

    public: ClassVar[str] = "an earlier try of this mail is still under way, try again later"


class Tries:
    """The mails under way that may come again."""

    def __init__(self, kept: HandOvers, journal: Journal) -> None:
        self._kept = kept
        self._journal = journal
        self._unheard: dict[str, Try] = {}  # by id: answered, and the client may not know
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, transaction: Transaction, message: Message) -> Try | None:
        """A try of this mail; None where it could not be told from another one. May be said in
        a thread. Raises `StoreTrouble`."""
        by_queue_id = bool(transaction.client.ident)
        if not by_queue_id and not _tells_itself_apart(message):
            return None
        mail = _mail_name(transaction)
        recipients = _recipient_names(transaction)
        return Try(self._kept, transaction.id, mail, recipients, by_queue_id=by_queue_id)

    def answered(self, found: Try) -> None:
        """Its reply is about to be sent; `told` says what became of that."""
        self._unheard[found.id] = found

    def told(self, identifier: str, heard: Heard) -> None:
        """What became of the reply to a mail."""
        found = self._unheard.pop(identifier, None)
        if found is not None and (work := found.heard(heard)) is not None:
            task = asyncio.create_task(self._done(identifier, work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def keep(self, found: Try, fates: Sequence[Fate | None]) -> None:
        """Have the journal keep what is settled by now. That it cannot is told, and stops
        nothing: what was relayed was relayed."""
        await self._done(found.id, found.keep(fates))

    async def _done(self, identifier: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - what was relayed was relayed
            self._journal.trouble("hand-over not written", error, id=identifier)


class Try:
    """One coming of a mail. `before`: what became of recipients earlier, by position."""

    def __init__(
        self,
        kept: HandOvers,
        identifier: str,
        mail: bytes,
        recipients: Sequence[bytes],
        *,
        by_queue_id: bool,
    ) -> None:
        self.id = identifier
        self.before: dict[int, Settled] = {}
        self._kept = kept
        self._mail = mail
        self._recipients = recipients
        self._by_queue_id = by_queue_id
        self._claim = sha256(b"".join((mail, *sorted(recipients)))).digest()
        self._in_journal: set[bytes] = set()
        self._settled: dict[bytes, Settled] = {}
        self._is_final = False

    def open(self) -> None:
        """Look up what was done before; until `close`, no other try of this mail to these
        recipients does anything. Raises `StillUnderWay`, `StoreTrouble`."""
        if not self._kept.claim(self._claim):
            raise StillUnderWay
        try:
            known = self._kept.known(self._mail)
        except BaseException:
            self.close()
            raise
        self._in_journal = set(known)
        for position, name in enumerate(self._recipients):
            if name in known:
                self.before[position] = known[name]

    def close(self) -> None:
        """Let others try."""
        self._kept.release(self._claim)

    async def prove(self) -> None:
        """Make sure that what is going to be done can be kept. Raises `StoreTrouble`."""
        await self._kept.prove()

    async def keep(self, fates: Sequence[Fate | None]) -> None:
        """Keep what is settled by now. Raises `StoreTrouble`."""
        self._learn(fates)
        await self._keep()

    def end(self, fates: Sequence[Fate]) -> bool:
        """The fates as they are answered. Whether the journal has to keep them before that:
        the client will come again."""
        self._learn(fates)
        self._is_final = not any(isinstance(fate, Deferred) for fate in fates)
        return not self._is_final and bool(self._new)

    def heard(self, heard: Heard) -> Coroutine[None, None, None] | None:
        """What is to be done now that this became of the reply, if anything is.

        A client that may have heard it is believed to have, unless a queue id makes certain
        that it is the same mail that comes again."""
        if not self._is_final:
            return None
        if heard is Heard.YES or (heard is Heard.PERHAPS and not self._by_queue_id):
            mine = self._in_journal & set(self._recipients)
            return self._kept.forget(self._mail, mine) if mine else None
        return self._keep() if self._new else None

    @property
    def _new(self) -> dict[bytes, Settled]:
        """What the journal does not have yet."""
        settled = self._settled.items()
        return {name: fate for name, fate in settled if name not in self._in_journal}

    def _learn(self, fates: Iterable[Fate | None]) -> None:
        for name, fate in zip(self._recipients, fates, strict=True):
            if isinstance(fate, Delivered | Notified):
                self._settled[name] = fate

    async def _keep(self) -> None:
        new = self._new
        if new:
            await self._kept.add(self._mail, new)
            self._in_journal |= set(new)


def is_about_one(fate: Deferred) -> bool:
    """Whether a deferral is of a recipient or a content, and not of the whole next hop: then
    the others may fare better. RFC 3463 §3: subjects 3, 4 and 5 are system, network and
    protocol; 7.5 is TLS."""
    subject = fate.status.detail.partition(".")[0]
    return subject not in {"3", "4", "5"} and fate.status.detail != "7.5"


def _tells_itself_apart(message: Message) -> bool:
    return any(name in message.names for name in (b"received", b"message-id"))


def _mail_name(transaction: Transaction) -> bytes:
    """The name of a mail as its client hands it over, envelope recipients apart."""
    client = transaction.client
    envelope_id = transaction.param("ENVID") or ""
    way = "our own" if client.originating else ""
    parts = (client.peer, client.login, client.ident, transaction.sender, envelope_id, way)
    name = sha256(_FORM)
    for part in map(_octets, parts):
        name.update(b"%d:%b" % (len(part), part))
    name.update(transaction.content)
    return name.digest()


def _recipient_names(transaction: Transaction) -> list[bytes]:
    """The name of each recipient; of one that is named twice, each has its own."""
    seen: Counter[str] = Counter()
    names = []
    for recipient in transaction.recipients:
        address = recipient.address
        names.append(sha256(_octets(f"{seen[address]}:{address}")).digest())
        seen[address] += 1
    return names


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
