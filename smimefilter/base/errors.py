"""Errors that know their SMTP status, and errors that speak to an administrator.

`MailError` ends the way of one mail: it carries an enhanced status (RFC 3463) from which the
basic reply code follows, and a public sentence. An exception that is not a `MailError` is a
defect of ours: the mail is deferred with `451 4.3.0` and its text is shown to nobody.

`AdminError` ends a command or a start: one line that says what is wrong, where, and what to
do about it. `cli/` prints it and exits non-zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

_BASIC: Final = {
    (4, "3.2"): 421, (4, "4.5"): 452, (4, "3.1"): 452,
    (5, "1.3"): 553, (5, "1.7"): 553, (5, "3.4"): 552, (5, "5.1"): 500, (5, "5.2"): 501,
    (5, "5.4"): 504, (5, "7.1"): 554, (5, "7.5"): 554, (5, "7.8"): 535, (5, "7.0"): 554,
}  # fmt: skip
_BASIC_BY_CLASS: Final = {2: 250, 4: 451, 5: 550}


@dataclass(frozen=True, slots=True)
class Status:
    """An enhanced status code, RFC 3463: class 2, 4 or 5 and `subject.detail`."""

    category: int
    detail: str

    @property
    def basic(self) -> int:
        """The RFC 5321 reply code that goes with it."""
        return _BASIC.get((self.category, self.detail), _BASIC_BY_CLASS[self.category])

    def __str__(self) -> str:
        return f"{self.category}.{self.detail}"


class MailError(Exception):
    """Ends the way of a mail (or of one recipient) with a status and a public sentence."""

    status: ClassVar[Status] = Status(4, "3.0")
    public: ClassVar[str] = "try again later"

    @property
    def reply(self) -> str:
        """The whole SMTP reply line, without line end."""
        return f"{self.status.basic} {self.status} {self.public}"


class TemporaryTrouble(MailError):
    """Something of ours that may pass: the mail stays with the client."""


class KeyTrouble(MailError):
    """A private key that should be there cannot be used now."""

    status: ClassVar[Status] = Status(4, "7.5")
    public: ClassVar[str] = "private key not available, try again later"


class AdminError(Exception):
    """What is wrong, where, and what to do: one line each for a person at a terminal."""

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f" ({self.mend})" if self.mend else ""
        return f"{place}{self.what}{mend}"


class AdminErrors(AdminError):
    """Several at once, such as all that is wrong with a file: one line each."""

    def __init__(self, errors: Sequence[AdminError]) -> None:
        first = errors[0]
        super().__init__(first.what, where=first.where, mend=first.mend)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def joined(errors: Sequence[AdminError]) -> AdminError:
    """One as it is, several as `AdminErrors`; there must be one."""
    return errors[0] if len(errors) == 1 else AdminErrors(errors)
