"""Learning from verified signatures: certificates of correspondents, and what they read.

A witness of every mail. What a delivered mail taught is kept in memory for a moment and
written in one go, so that a day's first mails do not each make a new state; what is known
already is not written again. What is lost when the process dies comes with the next mail.

A correspondent who signs with another key than all that are known of him is told of in the
log, once for each, also where nothing is to be learnt: that is either a new certificate, or
somebody else.

Leaves deciding what may be learnt to `plan/`. Raises nothing while mail flows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from smimefilter.base.envelope import Delivered
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.opened import Lesson
from smimefilter.ports.journal import Journal, MailRecord
from smimefilter.ports.stores import Certificates, Correspondent, Correspondents, Shelf
from smimefilter.trust.branches import is_crowded
from smimefilter.trust.knowledge import Knowledge

from .signers import known_by
from .snapshots import Snapshots

LEARNT: Final = "signature of"  # an address: the origin of what came with one
WRITE_EVERY: Final = 1.0  # seconds
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)  # said then: anything else is newer
SKEW: Final = timedelta(hours=1)  # clocks of signers differ
MOST: Final = 1000  # lessons that wait to be written
_MOST_NAMED: Final = 5  # certificates that a warning names
_MOST_TOLD: Final = 10_000  # new keys that are remembered as told of


class Harvest:
    """Notes what mails teach; a `ports.journal.Witness`."""

    def __init__(
        self,
        snapshots: Snapshots,
        certificates: Certificates,
        correspondents: Correspondents,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._snapshots = snapshots
        self._certificates = certificates
        self._correspondents = correspondents
        self._journal = journal
        self._clock = clock
        self._waiting: dict[_Subject, Lesson] = {}  # the last one of each counts
        self._told: set[_Subject] = set()
        self._full = False

    def mail(self, record: MailRecord) -> None:
        """One mail is done with."""
        if record.plan is None:
            return
        for decision, fate in zip(record.plan.decisions, record.fates, strict=True):
            lesson = decision.lesson
            if lesson is None or not isinstance(fate, Delivered):
                continue
            if lesson.new_key:
                self._tell_of_new_key(lesson, record.transaction.id)
            if lesson.keep and self._is_new(lesson):
                self._remember(lesson)

    def _remember(self, lesson: Lesson) -> None:
        if len(self._waiting) < MOST or _subject(lesson) in self._waiting:
            self._waiting[_subject(lesson)] = lesson
        elif not self._full:  # said once, until what waits could be written
            self._full = True
            self._journal.warn("certificates of signatures not kept", most=MOST)

    def _tell_of_new_key(self, lesson: Lesson, mail: str) -> None:
        subject = _subject(lesson)
        if subject in self._told:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told.add(subject)
        moment = self._snapshots.current.snapshot.at(self._clock())
        stored = moment.snapshot.certificates.by_address(lesson.address)
        known = known_by(moment, moment.view(lesson.address), stored)
        self._journal.warn(
            "a correspondent signs with a new key",
            id=mail,
            address=lesson.address,
            certificate=lesson.certificates[0].thumbprint,
            known=[one.thumbprint[:16] for one in islice(known, _MOST_NAMED)],
        )

    def _is_new(self, lesson: Lesson) -> bool:
        snapshot = self._snapshots.current.snapshot
        known = snapshot.certificates.by_thumbprint
        return any(known(one.thumbprint) is None for one in lesson.certificates) or (
            lesson.capabilities is not None
            and snapshot.capabilities.get(lesson.address) != lesson.capabilities
        )

    async def keep(self) -> None:
        """Write what was learnt, until cancelled."""
        failing = False
        while True:
            await asyncio.sleep(WRITE_EVERY)
            try:
                await self.write()
                failing = False
            except Exception as error:  # noqa: BLE001 - mail goes on without
                if not failing:
                    self._journal.trouble("certificates of signatures not stored", error)
                failing = True

    async def write(self) -> None:
        """Write what was learnt so far; what fails waits for the next time."""
        lessons = list(self._waiting.values())
        if not lessons:
            return
        await self._note_what_is_read(lessons)
        knowledge = self._snapshots.current.snapshot.trust.knowledge
        stored = []
        for lesson in lessons:
            learnt, knowledge = await asyncio.to_thread(_learnt, lesson, knowledge)
            origin = f"{LEARNT} {lesson.address}"
            added = await self._certificates.add(learnt, Shelf.CERTIFICATES, origin)
            new = [
                one.thumbprint[:16] for one, is_new in zip(learnt, added, strict=True) if is_new
            ]
            stored += [{"address": lesson.address, "certificates": new}] if new else []
        self._full = False
        for lesson in lessons:
            if self._waiting.get(_subject(lesson)) is lesson:
                del self._waiting[_subject(lesson)]
        if stored:
            self._journal.note("certificates of signatures stored", of=stored)

    async def _note_what_is_read(self, lessons: Iterable[Lesson]) -> None:
        """What programs read goes first, so that who can be encrypted to is so as his does."""
        known, said = self._snapshots.current.snapshot.capabilities, []
        for lesson in lessons:
            reads = lesson.capabilities
            if reads is not None and reads != known.get(lesson.address):
                when = lesson.said or NEVER
                if when <= self._clock() + SKEW:  # or nothing he says later would count
                    said.append(Correspondent(lesson.address, reads, when))
        if said:
            await self._correspondents.put(said)


def _learnt(lesson: Lesson, knowledge: Knowledge) -> tuple[list[Certificate], Knowledge]:
    """What is stored of a lesson, and the knowledge with that."""
    learnt, wider = [], knowledge.with_certificates(lesson.certificates)
    for one in lesson.certificates:
        if not is_crowded(one, knowledge, wider):
            learnt.append(one)
            knowledge = knowledge.with_certificates([one])
    return learnt, knowledge


_Subject = tuple[str, str]  # address, and thumbprint of the signer's certificate


def _subject(lesson: Lesson) -> _Subject:
    return lesson.address, lesson.certificates[0].thumbprint
