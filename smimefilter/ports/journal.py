"""What the flows tell of their work: one record a mail. `obs/` writes it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from smimefilter.base.envelope import Fate, Transaction
from smimefilter.plan.plan import Plan


class MailRecord(NamedTuple):
    """One mail, from hand-over to reply."""

    transaction: Transaction
    plan: Plan | None  # None: trouble before there was a plan
    fates: tuple[Fate, ...]
    milliseconds: float
    revision: int = 0
    message_id: str = ""  # as the mail has it, cleaned
    ours: bool = False  # one of our own clients brought it


class Witness(Protocol):
    """Whoever wants to know of every mail."""

    def mail(self, record: MailRecord) -> None:
        """One mail is done with."""


class Journal(Witness, Protocol):
    """Where records go."""

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        """Something of ours failed; the traceback goes to the log and nowhere else."""

    def warn(self, event: str, **about: object) -> None:
        """Something an administrator should see to."""

    def note(self, event: str, **about: object) -> None:
        """Something an administrator wants to know of."""
