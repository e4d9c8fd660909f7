"""What became of the mails: sent, answered, planned, arrived, checked. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smimefilter.plan.explain import as_data
from smimefilter.plan.plan import Decision, Plan

from .mails import DemoMail


@dataclass(frozen=True, slots=True)
class Arrived:
    """One copy as the next hop got it."""

    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A mail that was handed to the filter."""

    mail: DemoMail
    replies: Sequence[str]  # one over SMTP; over LMTP one for each recipient, in order
    plan: Plan | None  # as the filter made it; None when it made none

    def reply(self, address: str) -> str:
        """The answer for a recipient; empty when there was none."""
        if len(self.replies) == 1:
            return self.replies[0]
        answers = dict(zip(self.mail.expected, self.replies, strict=False))
        return answers.get(address, "")

    def decision(self, address: str) -> Decision | None:
        """What was decided for a recipient."""
        decisions = self.plan.decisions if self.plan else ()
        return next((one for one in decisions if one.address == address), None)


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at, and whether it is as it should be."""

    who: str  # the recipient that it is about; empty for the mail as a whole
    what: str
    good: bool
    detail: str = ""  # what was found instead
    command: str = ""  # where the openssl program was asked


@dataclass(frozen=True, slots=True)
class Case:
    """A mail with all that became of it."""

    sent: Sent
    arrived: Sequence[str]  # files
    checks: Sequence[Check]

    @property
    def is_good(self) -> bool:
        """Whether everything is as it should be."""
        return bool(self.checks) and all(check.good for check in self.checks)

    def as_data(self) -> dict[str, Any]:
        """The case as JSON carries it."""
        mail, plan = self.sent.mail, self.sent.plan
        return {
            "name": mail.name,
            "title": mail.title,
            "sender": mail.sender,
            "recipients": list(mail.expected),
            "protocol": mail.protocol.value,
            "replies": list(self.sent.replies),
            "plan": as_data(plan) if plan else None,
            "arrived": list(self.arrived),
            "checks": [asdict(check) for check in self.checks],
            "good": self.is_good,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """The demo as a whole."""

    folder: Path
    cases: Sequence[Case]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether every case is."""
        return all(case.is_good for case in self.cases)

    @property
    def commands(self) -> list[str]:
        """What the openssl program was asked, in order."""
        commands = [check.command for case in self.cases for check in case.checks]
        return [command for command in commands if command]

    def as_data(self) -> dict[str, Any]:
        """The outcome as JSON carries it."""
        return {
            "good": self.is_good,
            "folder": str(self.folder),
            "seconds": round(self.seconds, 2),
            "mails": [case.as_data() for case in self.cases],
        }
