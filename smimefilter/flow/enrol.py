"""What is asked for in requests: fields from preferences, many at once from a file, and those
whom nobody has to ask for.

A field that is not given is that of the preferences of the address. Whoever has a valid
certificate to sign with already is passed over in a bulk.

Leaves requests to `requests.py`, CSV to `plan/bulk.py`. Raises `AdminError`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

from smimefilter.base.address import BadAddress
from smimefilter.base.errors import AdminError
from smimefilter.plan.bulk import BadCsv, Row, read_rows
from smimefilter.plan.selection import for_signing
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    CA_ADD_CRL_URL,
    CA_COMMON_NAME,
    CA_CRL_URL,
    CA_DIGEST,
    CA_ISSUER_URL,
    CA_KEY,
    CA_ORGANISATION,
    CA_REQUEST_HANDLER,
    CA_VALIDITY,
)
from smimefilter.ports.requests import RequestState, StoredRequest

from .requests import RequestDesk, id_by
from .wanted import Wanted

T = TypeVar("T")

AT_ONCE: Final = 200  # requests stored together
PART: Final = 50  # requests worked on together
PARTS: Final = 2  # at once: while one is asked for, the keys of the next are made
_FAILED: Final = frozenset({RequestState.REFUSED, RequestState.GIVEN_UP})
_NOTHING: Final = "nothing was requested: mend the file"
BATCH: Final = 32  # hex digits of a batch: of what is in the file, so that it can be resumed


@dataclass(frozen=True, slots=True)
class Looked:
    """A row of a file: what would be asked for, or why it is passed over."""

    row: Row
    wanted: Wanted
    skipped: str = ""


def with_defaults(moment: Moment, address: str, **given: Any) -> Wanted:
    """A request with what is given, the rest by the preferences of the address. Raises
    `AdminError` for an address that is none, and where there is no common name."""
    try:
        view = moment.view(address)
    except BadAddress as error:
        raise AdminError(str(error), where=address) from None
    url = view.get(CA_CRL_URL).value
    defaults = {
        "common_name": view.get(CA_COMMON_NAME).value,
        "organisation": view.get(CA_ORGANISATION).value,
        "days": view.get(CA_VALIDITY).value,
        "key": str(view.get(CA_KEY).value),
        "digest": str(view.get(CA_DIGEST).value),
        "crl_url": url if view.get(CA_ADD_CRL_URL).value else None,
        "issuer_url": view.get(CA_ISSUER_URL).value,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    found = {name: value for name, value in (defaults | kept).items() if value is not None}
    if not found.get("common_name"):
        raise AdminError(
            "a certificate needs a common name", where=address,
            mend="give one, or set ca-common-name",
        )  # fmt: skip
    return Wanted(address=address, **found).checked()


def handler_for(moment: Moment, address: str) -> str:
    """The handler that requests for an address go to where none is named."""
    return moment.view(address).get(CA_REQUEST_HANDLER).value


def has_certificate(moment: Moment, address: str) -> bool:
    """Whether there is a valid certificate to sign with."""
    return bool(for_signing(moment, address).certificates)


def preview(moment: Moment, content: bytes, **given: Any) -> list[Looked]:
    """What a CSV file asks for, row by row. Raises `AdminError` with every mistake in it."""
    try:
        rows = read_rows(content)
    except BadCsv as error:
        raise AdminError(str(error), mend=_NOTHING) from None
    looked, mistakes = [], []
    for row in rows:
        try:
            looked.append(_looked(moment, row, given))
        except AdminError as error:
            mistakes.append(f"row {row.number}: {error.what}")
    if mistakes:
        raise AdminError(str(BadCsv(mistakes)), mend=_NOTHING)
    return looked


def _looked(moment: Moment, row: Row, given: dict[str, Any]) -> Looked:
    named = {
        "common_name": row.common_name,
        "organisation": row.organisation or None,
        "given_name": row.given_name or None,
        "surname": row.surname or None,
    }
    own = {name: value for name, value in named.items() if value is not None}
    wanted = with_defaults(moment, row.address, **(given | own))
    there = has_certificate(moment, row.address)
    return Looked(row, wanted, "has a valid certificate to sign with" if there else "")


class Bulk:
    """Requests of a file, all stored before the first one is worked on. The same file begun
    again goes on where it ended, and asks again for what was refused or given up."""

    def __init__(self, desk: RequestDesk, all_of: Callable[[str], Any]) -> None:
        """`all_of`: the stored requests of a batch."""
        self._desk = desk
        self._all_of = all_of

    async def submit(
        self,
        content: bytes,
        looked: Sequence[Looked],
        handler: Callable[[str], str],
        *,
        passwords: Callable[[], str] | None = None,
        done: Callable[[StoredRequest], None] = lambda _: None,
    ) -> list[StoredRequest]:
        """Ask for all that is not passed over, each of the handler of its address; `done` is
        told of each as it ends, or waits. Whoever submits the same file at the same time asks
        for nothing twice. Raises `AdminError`."""
        batch = _batch(content)
        known: list[StoredRequest] = await self._all_of(batch)
        failed = Counter(one.address for one in known if one.state in _FAILED)
        ids = {one.id for one in known}
        there = {one.address for one in known if one.state not in _FAILED}
        new = [one for one in looked if not one.skipped and one.wanted.address not in there]
        by_handler: dict[str, list[Looked]] = {}
        for one in new:
            by_handler.setdefault(handler(one.wanted.address), []).append(one)
        for name, rows in by_handler.items():
            for part in _parts(rows, AT_ONCE):
                await self._desk.submit(
                    [one.wanted for one in part], name, batch=batch,
                    passwords=[passwords() for _ in part] if passwords else (),
                    positions=[one.row.number for one in part],
                    once=[
                        _once(batch, one.wanted.address, failed[one.wanted.address], ids)
                        for one in part
                    ],
                )  # fmt: skip
        return await self._work(list((await self.before(content)).values()), done)

    async def before(self, content: bytes) -> dict[str, StoredRequest]:
        """How it stands with the requests of a file that was submitted, by address; of several
        for one the last, a failure only where nothing came after it."""
        last: dict[str, StoredRequest] = {}
        for request in await self._all_of(_batch(content)):
            known_as = last.get(request.address)
            if known_as is None or known_as.state in _FAILED:
                last[request.address] = request
        return last

    async def elsewhere(
        self, content: bytes, handler: Callable[[str], str], *, named: bool
    ) -> list[StoredRequest]:
        """Those of a file that went to another handler than they would go to now, and that are
        not asked for again. Raises `AdminError` where some of them wait and the handler is not
        as preferences have it, but `named`."""
        known = (await self.before(content)).values()
        others = [
            one
            for one in known
            if one.state not in _FAILED and one.handler != handler(one.address)
        ]
        waiting = [one for one in others if one.state is RequestState.PENDING]
        if waiting and named:
            first, more = waiting[0], len(waiting) - 1
            raise AdminError(
                f"row {first.position}, {first.address}: waits at the handler {first.handler}, "
                f"as this file was submitted before" + (f"; and {more} more" if more else ""),
                mend="submit it as before, or first: smimefilter pending delete "
                f"{first.id[:8]}{' …' if more else ''}",
            )
        return others

    async def _work(
        self, stored: Sequence[StoredRequest], done: Callable[[StoredRequest], None]
    ) -> list[StoredRequest]:
        ended = [one for one in stored if one.state is not RequestState.PENDING]
        for one in ended:
            done(one)
        left = [one for one in stored if one.state is RequestState.PENDING]
        room = asyncio.Semaphore(PARTS)

        async def work(part: Sequence[StoredRequest]) -> list[StoredRequest]:
            async with room:
                worked = await self._desk.work([one.id for one in part])
            for one in worked:
                done(one)
            return worked

        parts = [asyncio.create_task(work(part)) for part in _parts(left, PART)]
        try:
            return ended + [one for part in parts for one in await part]
        finally:
            for task in parts:
                task.cancel()


def _batch(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:BATCH]


def _once(batch: str, address: str, failed: int, known: Collection[str]) -> str:
    """By what text it is asked for next: the number of failures, or the next one that is free
    where some of them were deleted."""
    texts = (f"{batch} {address} {number}" for number in count(failed))
    return next(text for text in texts if id_by(text) not in known)


def _parts(found: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (found[start : start + size] for start in range(0, len(found), size))
