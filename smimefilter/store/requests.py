"""Requests for certificates: `ports.requests.Requests`.

A lease is a random word in the row: who comes back after his lease ended, and another one has
taken the request, writes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from smimefilter.pki.certificate import Certificate
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import Shelf, WrappedKey

from .audit import note
from .certs import add_certificates, add_keys
from .engine import Sessions, Transaction
from .tables import moment, requests, seconds
from .together import Together

_c: Final = requests.c
_FREE: Final[dict[str, Any]] = {"leased_until": 0, "lease": ""}
_AT_ONCE: Final = 500  # ids in one statement
_ALL: Final = sa.select(requests).order_by(_c.created, _c.batch, _c.position, _c.id)


class SqlRequests:
    """`ports.requests.Requests` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions
        self._books: Final = Together(sessions.keeping_books)
        self._stock: Final = Together(sessions.writing)

    async def add(
        self, requests_: Sequence[StoredRequest], records: Sequence[AuditRecord]
    ) -> list[StoredRequest]:
        """Store those whose ids are not there yet, all or nothing, with what is noted of
        them; which they are."""
        async with self._sessions.keeping_books() as transaction:
            there: set[str] = set()
            for start in range(0, len(requests_), _AT_ONCE):
                ids = [one.id for one in requests_[start : start + _AT_ONCE]]
                found = await transaction.read(sa.select(_c.id).where(_c.id.in_(ids)))
                there.update(found.scalars())
            new = [one for one in requests_ if one.id not in there]
            await transaction.write(sa.insert(requests), [_row(one) | _FREE for one in new])
            await note(transaction, [one for one in records if one.about not in there])
        return new

    async def claim(
        self,
        now: datetime,
        until: datetime,
        most: int,
        ids: Collection[str] | None = None,
        *,
        states: Collection[RequestState] = (RequestState.PENDING,),
    ) -> tuple[str, list[StoredRequest]]:
        """Up to `most` pending ones that are due, or of these whether due or not, that nobody
        has; and the lease by which they are ours. `states`: also such as have ended."""
        wanted = _c.due <= seconds(now) if ids is None else _c.id.in_(list(ids)[:_AT_ONCE])
        these_states = _c.state.in_([state.value for state in states])
        free = _c.leased_until <= seconds(now)
        lease = secrets.token_hex(16)
        these = (
            sa.select(requests).where(wanted, these_states, free).order_by(_c.due).limit(most)
        )
        async with self._sessions.keeping_books() as transaction:
            found = [_request(row) for row in await transaction.read(these)]
            ours = _c.id.in_([one.id for one in found])
            leased = sa.update(requests).where(ours)
            await transaction.write(leased.values(leased_until=seconds(until), lease=lease))
        return lease, found

    async def keep(
        self,
        lease: str,
        request: StoredRequest,
        records: Sequence[AuditRecord] = (),
        *,
        until: datetime | None = None,
    ) -> bool:
        """Store how far it is, and keep it, `until` then if a time is given; False where the
        lease is another one's by now."""
        row = _row(request) | ({"leased_until": seconds(until)} if until else {})
        ours = sa.update(requests).where(_c.id == request.id, _c.lease == lease)

        async def change(transaction: Transaction) -> bool:
            if not await transaction.write(ours.values(row)):
                return False
            await note(transaction, records)
            return True

        return await self._books.make(change)

    async def settle(
        self,
        lease: str,
        request: StoredRequest,
        records: Sequence[AuditRecord] = (),
        *,
        certificates: Sequence[Certificate] = (),
        keys: Sequence[WrappedKey] = (),
    ) -> bool:
        """Store how it went and let go of it, with what was issued, at once. One that has ended
        waits for no challenge mail any longer, so that another one for its address can."""
        over = {} if request.state is RequestState.PENDING else {"awaits": None}
        ours = sa.update(requests).where(_c.id == request.id, _c.lease == lease)

        async def change(transaction: Transaction) -> bool:
            if not await transaction.write(ours.values(_row(request) | _FREE | over)):
                return False
            origin = f"request {request.id[:8]}"
            await add_certificates(transaction, certificates, Shelf.CERTIFICATES, origin)
            await add_keys(transaction, keys)
            await note(transaction, records)
            return True

        return await (self._stock if certificates else self._books).make(change)

    async def reschedule(
        self,
        ids: Collection[str],
        now: datetime,
        give_up: datetime,
        records: Sequence[AuditRecord],
    ) -> int:
        """Make pending ones due now, and those that were given up pending until another day;
        how many."""
        pending, given_up = RequestState.PENDING.value, RequestState.GIVEN_UP.value
        due: dict[str, Any] = {"due": seconds(now)}
        again = due | {"state": pending, "give_up": seconds(give_up), "tries": 0} | _FREE
        moved: set[str] = set()
        async with self._sessions.keeping_books() as transaction:
            for id_ in ids:
                for state, values in ((pending, due), (given_up, again)):
                    this = sa.update(requests).where(_c.id == id_, _c.state == state)
                    if await transaction.write(this.values(values)):
                        moved.add(id_)
                        break
            await note(transaction, [one for one in records if one.about in moved])
        return len(moved)

    async def remove(
        self, ids: Collection[str], now: datetime, records: Sequence[AuditRecord]
    ) -> int:
        """Forget those that nobody works on; how many."""
        free = _c.leased_until <= seconds(now)  # let go of, or left by one that died
        async with self._sessions.keeping_books() as transaction:
            gone = [
                id_
                for id_ in ids
                if await transaction.write(sa.delete(requests).where(_c.id == id_, free))
            ]
            await note(transaction, [one for one in records if one.about in gone])
        return len(gone)

    async def find(self, id_: str) -> list[StoredRequest]:
        """Those whose id begins so."""
        these = _ALL.where(_c.id.startswith(id_, autoescape=True))
        async with self._sessions.reading() as connection:
            return [_request(row) for row in await connection.execute(these)]

    async def all(
        self,
        states: Collection[RequestState] = (),
        *,
        batch: str | None = None,
        address: str | None = None,
        since: datetime | None = None,
    ) -> list[StoredRequest]:
        """In these states, of a batch, for an address, made since then, oldest first; all
        without."""
        these = _ALL
        if states:
            these = these.where(_c.state.in_([state.value for state in states]))
        if batch is not None:
            these = these.where(_c.batch == batch)
        if address is not None:
            these = these.where(_c.address == address)
        if since is not None:
            these = these.where(_c.created >= seconds(since))
        async with self._sessions.reading() as connection:
            return [_request(row) for row in await connection.execute(these)]


def _row(request: StoredRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "batch": request.batch,
        "position": request.position,
        "handler": request.handler,
        "state": request.state.value,
        "address": request.address,
        "fields": dict(request.fields),
        "secrets": request.secrets,
        "created": seconds(request.created),
        "due": seconds(request.due),
        "give_up": seconds(request.give_up),
        "tries": request.tries,
        "outcome": request.outcome,
        "thumbprint": request.thumbprint,
    }


def _request(row: sa.Row[Any]) -> StoredRequest:
    return StoredRequest(
        id=row.id,
        handler=row.handler,
        address=row.address,
        fields=row.fields,
        secrets=row.secrets,
        created=moment(row.created),
        due=moment(row.due),
        give_up=moment(row.give_up),
        state=RequestState(row.state),
        tries=row.tries,
        outcome=row.outcome,
        thumbprint=row.thumbprint,
        batch=row.batch,
        position=row.position,
        leased=bool(row.lease),
    )
