"""The audit log as a whole: whether its chain holds, and up to where.

What each check finds: a record that was changed or taken out, by the hashes of those after it;
a tail that was cut off or rewritten, by the head, which is sealed under the master key; a
database of which both were put back to an older state, by a head that somebody noted elsewhere.
Raises `AdminError` for a noted head that is none, `StoreTrouble`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smimefilter.base.chain import NOTHING
from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.ports.audit import AUDIT_HEAD, Audit, AuditEntry, AuditHead
from smimefilter.ports.keys import Sealer

_NOTED: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found."""

    holds_to: int  # number of the last record that stands as it was written
    records: int
    head: str  # "NUMBER:HASH" of the last record, to be noted elsewhere; empty: no records
    broken: int = 0  # number of the first record that does not; 0: all do
    why: str = ""  # empty: the log is whole


async def verify(
    audit: Audit,
    sealer: Sealer,
    noted: str = "",
    seen: Callable[[], None] = lambda: None,
) -> Verified:
    """Look at every record; `noted` is a head of before, `seen` is told of each record."""
    wanted = _head_of(noted) if noted else None
    walk = _Walk(wanted)

    def see(entry: AuditEntry) -> None:
        walk.see(entry)
        seen()

    head = await audit.walk(see)
    return walk.end(head, sealer)


class _Walk:
    """From the first record to the last."""

    def __init__(self, noted: tuple[int, str] | None) -> None:
        self._noted = noted
        self._last, self._number, self._records = NOTHING, 0, 0
        self._broken, self._why = 0, ""

    def see(self, entry: AuditEntry) -> None:
        """The next one."""
        self._records += 1
        if self._why:
            return
        number = entry.link.number
        if number != self._number + 1:
            self._fail(self._number + 1, f"record {self._number + 1} is missing")
        elif entry.link.hash(self._last) != entry.hash:
            self._fail(number, f"record {number} was changed, or the one before it")
        else:
            self._number, self._last = number, entry.hash
            if self._noted and self._noted[0] == number and self._noted[1] != entry.hash:
                self._fail(number, f"record {number} is not the one that was noted")

    def end(self, head: AuditHead | None, sealer: Sealer) -> Verified:
        """What there is to say, with the head."""
        after = self._number + 1
        if not self._why:
            self._look_at_end(head, sealer, after)
        noted = f"{self._number}:{self._last}" if self._number else ""
        holds = min(self._number, self._broken - 1) if self._broken else self._number
        return Verified(holds, self._records, noted, self._broken, self._why)

    def _look_at_end(self, head: AuditHead | None, sealer: Sealer, after: int) -> None:
        if head is None:
            self._fail(after, "the head is missing")
        elif head.number > self._number:
            missing = f"{after} to {head.number}" if head.number > after else f"{after}"
            self._fail(after, f"records are missing at the end: {missing}")
        elif head.number < self._number:
            self._fail(head.number + 1, "records at the end are not known to the head")
        elif head.hash != self._last:
            self._fail(max(self._number, 1), "the last record is not the one the head knows")
        elif not self._number:
            self._fail(1, "there are no records, not even of the setting up")
        elif not _is_sealed(head, sealer):
            self._fail(
                self._number, "the head is not sealed under the master key: it was rewritten"
            )
        elif self._noted and self._noted[0] > self._number:
            self._fail(after, f"record {self._noted[0]}, which was noted, is missing")

    def _fail(self, broken: int, why: str) -> None:
        self._broken, self._why = broken, why


def _is_sealed(head: AuditHead, sealer: Sealer) -> bool:
    try:
        return sealer.open(AUDIT_HEAD, "", head.seal) == head.sealed
    except KeyTrouble:
        return False


def _head_of(noted: str) -> tuple[int, str]:
    found = _NOTED.fullmatch(noted.strip().lower())
    if found is None:
        raise AdminError(
            f"'{noted}' is no head of an audit log",
            mend="write NUMBER:HASH, as `audit verify` prints it",
        )
    return int(found[1]), found[2]
