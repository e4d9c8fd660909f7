"""The audit log: `ports.audit.Audit`, and `note`, by which every other store writes into it.

Numbers go on without gaps, and each hash follows the one before, so writers take turns: by the
row of the head, which is locked until the transaction ends (and in SQLite by there being one
writer). A head whose seal is not ours was changed by somebody else: records are added to it all
the same, but it is never sealed again, so that nobody's rewriting becomes true by our next
record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from smimefilter.base.chain import Link, storable
from smimefilter.base.errors import KeyTrouble
from smimefilter.ports.audit import (
    AUDIT_HEAD,
    AuditEntry,
    AuditHead,
    AuditRecord,
    Scribe,
)
from smimefilter.ports.keys import Sealer
from smimefilter.ports.stores import StoreTrouble

from .engine import Sessions, Transaction
from .tables import audit, audit_head, moment, seconds

SET_UP: Final = "database set up"  # what each log begins with, but for one of before
_c: Final = audit.c
_HEAD: Final = sa.select(audit_head.c.number, audit_head.c.hash, audit_head.c.seal)
_AT_ONCE: Final = 2000


class SqlAudit:
    """`ports.audit.Audit` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """Add records of what is no change of the database."""
        async with self._sessions.keeping_books() as transaction:
            await note(transaction, records)

    async def find(
        self,
        about: str | None = None,
        *,
        actor: str = "",
        event: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        most: int = 1000,
    ) -> list[AuditEntry]:
        """The last ones that fit, oldest first."""
        these = sa.select(audit).order_by(_c.number.desc()).limit(most)
        if about is not None:
            these = these.where(_c.about == about)
        if actor:
            these = these.where(_c.actor.icontains(actor, autoescape=True))
        if event:
            these = these.where(_c.event.icontains(event, autoescape=True))
        if since is not None:
            these = these.where(_c.at >= seconds(since))
        if until is not None:
            these = these.where(_c.at < seconds(until))
        async with self._sessions.reading() as connection:
            rows = list(await connection.execute(these))
        return [_entry(row) for row in reversed(rows)]

    async def walk(self, see: Callable[[AuditEntry], None]) -> AuditHead | None:
        """Show all records by number, and the head of that moment."""
        async with self._sessions.reading() as connection:
            head = (await connection.execute(_HEAD)).first()
            async with connection.stream(sa.select(audit).order_by(_c.number)) as rows:
                async for piece in rows.partitions(_AT_ONCE):
                    for row in piece:
                        see(_entry(row))
        return None if head is None else _head(head)


async def note(
    transaction: Transaction, records: Sequence[AuditRecord], sealer: Sealer | None = None
) -> None:
    """Add to the audit log, in the transaction of what is told of; `sealer` is a new one that
    the head is under from now on."""
    if not records:
        return
    scribe = transaction.scribe
    found: sa.Row[Any] | None = (await transaction.read(_HEAD.with_for_update())).first()
    if found is None:
        raise StoreTrouble("the head of the audit log is missing: restore a backup")
    before = _head(found)
    head, rows = extended(before, records, scribe)
    begins = before.number == 0 and records[0].event == SET_UP
    seal = sealed(before, head, scribe.sealer, sealer or scribe.sealer, begins=begins)
    await transaction.write(sa.insert(audit), rows)
    await transaction.write(
        sa.update(audit_head).values(number=head.number, hash=head.hash, seal=seal)
    )


async def tell(
    transaction: Transaction, event: str, about: str, detail: str = "", outcome: str = ""
) -> None:
    """`note` one thing that is done now."""
    record = AuditRecord(datetime.now(UTC), about, event, detail, *filter(None, [outcome]))
    await note(transaction, [record])


def extended(
    head: AuditHead, records: Sequence[AuditRecord], scribe: Scribe
) -> tuple[AuditHead, list[dict[str, Any]]]:
    """The head after these records, not sealed yet, and their rows."""
    number, last, rows = head.number, head.hash, []
    actor, node = storable(scribe.who()), storable(scribe.node)
    for one in records:
        number += 1
        link = Link(
            number, seconds(one.at), actor, node,
            one.event, storable(one.about), one.outcome, storable(one.detail),
        )  # fmt: skip
        last = link.hash(last)
        rows.append({name: getattr(link, name) for name in Link.__slots__} | {"hash": last})
    return AuditHead(number, last, b""), rows


def sealed(
    before: AuditHead,
    now: AuditHead,
    old: Sealer | None,
    new: Sealer | None,
    *,
    begins: bool = False,
) -> bytes:
    """The seal of a head, if the one before it was true, or if the log `begins` with what is
    told now; empty otherwise: a log that was emptied is not taken for a new one."""
    if new is None or not (begins or is_true(before, old)):
        return b""
    return new.seal(AUDIT_HEAD, "", now.sealed)


def is_true(head: AuditHead, sealer: Sealer | None) -> bool:
    """Whether the seal of a head is ours, and of this head."""
    try:
        return sealer is not None and sealer.open(AUDIT_HEAD, "", head.seal) == head.sealed
    except KeyTrouble:
        return False


def _head(row: Any) -> AuditHead:
    return AuditHead(row.number, row.hash, row.seal)


def _entry(row: sa.Row[Any]) -> AuditEntry:
    link = Link(*(getattr(row, name) for name in Link.__slots__))
    return AuditEntry(link, moment(row.at), row.hash)
