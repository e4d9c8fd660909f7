"""Challenge mails that requests wait for, and those that came: `ports.requests.ChallengeMails`.

They stand beside a request, not in what its handler wants remembered: a filter on any node
notes a mail while a worker on another one has the request.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from smimefilter.plan.challenge import AwaitedMail, ChallengeMail
from smimefilter.ports.requests import RequestState

from .engine import Sessions, Transaction
from .tables import challenge_mails, requests, seconds

MOST: Final = 16  # of one request
_r: Final = requests.c
_m: Final = challenge_mails.c
_WAITING: Final = (_r.state == RequestState.PENDING.value, _r.awaits.is_not(sa.null()))
_KEPT: Final = ("token", "sender", "reply_to", "message_id")


class SqlChallengeMails:
    """`ports.requests.ChallengeMails` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def expect(self, request: str, awaited: AwaitedMail | None) -> bool:
        """What a request waits for; None: nothing, and what came for it is forgotten. False,
        and nothing is done, where another pending request for its address waits already: by a
        mail alone one cannot be told from the other."""
        values = {"awaits": asdict(awaited) if awaited else None}
        foreign = [_m.sender != awaited.sender] if awaited else []
        async with self._sessions.keeping_books() as transaction:
            if awaited is not None and await _waits_another(transaction, request):
                return False
            await transaction.write(sa.update(requests).where(_r.id == request).values(values))
            if awaited is None or awaited.sender:
                these = sa.delete(challenge_mails).where(_m.request == request, *foreign)
                await transaction.write(these)
        return True

    async def waiting(self, address: str) -> dict[str, AwaitedMail]:
        """What pending requests for an address wait for, by their ids."""
        these = sa.select(_r.id, _r.awaits).where(*_WAITING, _r.address == address)
        async with self._sessions.reading() as connection:
            return {
                row.id: AwaitedMail(**row.awaits) for row in await connection.execute(these)
            }

    async def add(self, request: str, mail: ChallengeMail, now: datetime) -> bool:
        """Keep one that came for a request, and make that due; False where it is not kept,
        because there are too many already, or the request has ended."""
        pending = (_r.id == request, _r.state == RequestState.PENDING.value)
        async with self._sessions.keeping_books() as transaction:
            known = await _tokens(transaction, request)
            if mail.token in known:
                return True
            due = sa.update(requests).where(*pending).values(due=seconds(now))
            if len(known) >= MOST or not await transaction.write(due):
                return False
            row: dict[str, Any] = {name: getattr(mail, name) for name in _KEPT}
            await transaction.write(sa.insert(challenge_mails), [row | {"request": request}])
            return True

    async def of(self, request: str) -> list[ChallengeMail]:
        """Those that came for a request, oldest first."""
        these = sa.select(challenge_mails).where(_m.request == request).order_by(_m.number)
        async with self._sessions.reading() as connection:
            return [
                ChallengeMail(**{name: getattr(row, name) for name in _KEPT})
                for row in await connection.execute(these)
            ]


async def _waits_another(transaction: Transaction, request: str) -> bool:
    address = sa.select(_r.address).where(_r.id == request).scalar_subquery()
    others = sa.select(_r.id).where(*_WAITING, _r.address == address, _r.id != request)
    return (await transaction.read(others)).first() is not None


async def _tokens(transaction: Transaction, request: str) -> list[str]:
    found = await transaction.read(sa.select(_m.token).where(_m.request == request))
    return list(found.scalars())
