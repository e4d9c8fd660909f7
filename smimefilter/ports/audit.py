"""The audit log: what was changed, when, by whom and where.

The store writes a record in the transaction of each change, so that no face can forget it; who
acts and on which node is the `Scribe`'s to say. A face that speaks for several people says who
with `acting_as`. What is no change of the database, such as a key that was exported, is added
with `Audit.add`.

All methods may raise `StoreTrouble`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from smimefilter.base.chain import Link

from .keys import Sealer

AUDIT_HEAD: Final = "audit-head"  # purpose of the head's seal; its name is empty
DONE: Final = "done"
FAILED: Final = "failed"
REFUSED: Final = "refused"
_actor: ContextVar[str | None] = ContextVar("actor", default=None)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Something that was done, and when. Nothing secret is in it."""

    at: datetime
    about: str  # a thumbprint, a request's id, a login, "scope preference", a file …
    event: str
    detail: str = ""
    outcome: str = DONE


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A record as it stands in the log."""

    link: Link
    at: datetime
    hash: str  # 64 hex digits

    @property
    def event(self) -> str:
        """What was done."""
        return self.link.event

    @property
    def detail(self) -> str:
        """What else is to be known of it."""
        return self.link.detail


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the chain, kept apart from it."""

    number: int  # of the last record
    hash: str  # of that
    seal: bytes  # of both under the master key; empty: it could not be sealed

    @property
    def sealed(self) -> bytes:
        """What the seal is of."""
        return f"{self.number} {self.hash}".encode()


@dataclass(frozen=True, slots=True)
class Scribe:
    """Who writes into the log: its process, and what seals the head."""

    actor: str = ""  # where `acting_as` says nothing else
    node: str = ""
    sealer: Sealer | None = None

    def who(self) -> str:
        """Who acts now."""
        return _actor.get() or self.actor


NOBODY: Final = Scribe()


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """What is done inside is done by this one."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


class Audit(Protocol):
    """The audit log."""

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """Add records of what is no change of the database."""

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
        """The last ones about exactly this, whose actor and event have these texts in them,
        from `since` on and before `until`; oldest first."""

    async def walk(self, see: Callable[[AuditEntry], None]) -> AuditHead | None:
        """Show all records by number, and the head of that moment; None: there is none."""
