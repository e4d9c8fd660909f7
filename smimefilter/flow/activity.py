"""Who uses mail: whose certificates were considered lately, to encrypt or to sign.

A witness of every mail. People are kept in memory and written to the store now and then, and
those whom others have written are read, so that after a restart, in other workers, on other
nodes and for `doctor` they are known as well. What is not written when the process dies comes
with the next mail.

Leaves looking at their certificates to `revalidation.py`. Raises nothing while mail flows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import MailError
from smimefilter.ports.journal import Journal, MailRecord
from smimefilter.ports.stores import ActiveUser, ActiveUsers
from smimefilter.trust.verdict import Purpose

ACTIVE_FOR: Final = timedelta(days=30)  # since the last mail
MOST: Final = 50_000  # people; of more, those seen last
WRITE_EVERY: Final = 60.0  # seconds
LATELY: Final = timedelta(minutes=5)  # since when what others wrote is read again
FRESH: Final = timedelta(hours=1)  # what is written need not be written again so soon

_Key = tuple[str, Purpose]


class Activity:
    """Notes whom mails concern; a `ports.journal.Witness`."""

    def __init__(
        self, journal: Journal, store: ActiveUsers, clock: Callable[[], datetime]
    ) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._seen: dict[_Key, datetime] = {}  # longest ago first
        self._written: dict[_Key, datetime] = {}

    def mail(self, record: MailRecord) -> None:
        """One mail is done with."""
        if record.plan is None:
            return
        now = self._clock()
        for key in _concerned(record):
            self._seen.pop(key, None)
            self._seen[key] = now
        while len(self._seen) > MOST:
            self._seen.pop(next(iter(self._seen)))

    def users(self) -> list[ActiveUser]:
        """Everybody active now, those seen last first."""
        since = self._clock() - ACTIVE_FOR
        found = [ActiveUser(*key, seen) for key, seen in self._seen.items() if seen >= since]
        return sorted(found, key=lambda user: user.seen, reverse=True)

    async def load(self) -> None:
        """Read who was active before."""
        try:
            stored = await self._store.since(self._clock() - ACTIVE_FOR)
        except MailError as error:  # mail goes on without
            self._journal.trouble("active users not read", error)
            return
        self._take(stored)

    async def read(self) -> None:
        """Take whom others have written lately."""
        self._take(await self._store.since(self._clock() - LATELY))

    def _take(self, stored: Sequence[ActiveUser]) -> None:
        known = {(user.address, user.purpose): user.seen for user in stored[-MOST:]}
        self._written |= known
        self._seen = {
            **known,
            **{key: max(seen, known.get(key, seen)) for key, seen in self._seen.items()},
        }  # longest ago first, or nearly

    async def keep(self) -> None:
        """Write who is active, until cancelled."""
        failing = False
        while True:
            try:
                await asyncio.sleep(WRITE_EVERY)
                await self.write()
                await self.read()
                failing = False
            except asyncio.CancelledError:
                await self._write_last()
                raise
            except Exception as error:  # noqa: BLE001 - mail goes on without
                if not failing:
                    self._journal.trouble("active users not written", error)
                failing = True

    async def write(self) -> None:
        """Write those whose stored time is old, and forget those of long ago."""
        due = [
            ActiveUser(*key, seen)
            for key, seen in self._seen.items()
            if key not in self._written or seen - self._written[key] >= FRESH
        ]
        if due:
            await self._store.put(due, forget_before=self._clock() - ACTIVE_FOR)
            self._written.update({(user.address, user.purpose): user.seen for user in due})
            self._written = {key: at for key, at in self._written.items() if key in self._seen}

    async def _write_last(self) -> None:
        try:
            await self.write()
        except Exception as error:  # noqa: BLE001 - they come with the next mail
            self._journal.trouble("active users not written", error)


def _concerned(record: MailRecord) -> Iterator[_Key]:
    """Whose certificates a mail's plan considered."""
    assert record.plan is not None
    try:
        if record.plan.signer is not None:
            yield address_key(record.transaction.sender), Purpose.SIGN
        for decision in record.plan.decisions:
            if decision.certificates is not None:
                yield address_key(decision.address), Purpose.ENCRYPT
    except BadAddress:
        return  # nobody's, then
