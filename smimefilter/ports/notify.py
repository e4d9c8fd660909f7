"""How the flows tell people something: letters by mail, passwords by SMS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from pydantic import BaseModel

from smimefilter.base.errors import TemporaryTrouble

SMS_GROUP: Final = "smimefilter.sms"  # entry points of transports


class NotifyTrouble(TemporaryTrouble):
    """A message could not be sent; says why, without what is in it."""

    public: ClassVar[str] = "message not sent"


@dataclass(frozen=True, slots=True)
class Letter:
    """Subject and text of a mail to a person."""

    subject: str
    text: str


class Letters(Protocol):
    """Texts for people, in their language."""

    def letter(self, name: str, facts: Mapping[str, Any]) -> Letter:
        """One by its name, with these facts in it. Raises `AdminError` for a template that is
        broken."""


class Sms(Protocol):
    """A way to send short messages."""

    async def send(self, number: str, text: str) -> None:
        """Hand a message over. Raises `NotifyTrouble`."""


class SmsTransport(Protocol):
    """The class of one; a plug-in."""

    settings: ClassVar[type[BaseModel]]

    @classmethod
    def opened(cls, settings: Any) -> Sms:
        """A transport with these settings."""


class NoSms:
    """There is none."""

    async def send(self, number: str, text: str) -> None:  # noqa: ARG002 - to nobody
        """Never."""
        raise NotifyTrouble("no SMS transport is in the settings (`notify: sms`)")
