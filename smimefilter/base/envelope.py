"""The envelope of a mail as a client handed it over, and the fates of its recipients.

Values only. `smtp/` makes a `Transaction` and turns fates into replies; `flow/` decides.
Parameters of MAIL and RCPT are kept as the client wrote them, so that DSN, SIZE, BODY and
SMTPUTF8 survive. RFC 5321 §3.3, RFC 3461, RFC 6531; XFORWARD as Postfix defines it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from .errors import Status

NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


class Recipient(NamedTuple):
    """One RCPT TO: the address without angle brackets and its parameters, unmodified."""

    address: str
    params: tuple[str, ...] = ()

    def param(self, name: str) -> str | None:
        """The value of a parameter such as `NOTIFY` (case-insensitive name), or None."""
        return _param(self.params, name)


@dataclass(frozen=True, slots=True)
class Client:
    """Who handed the mail over, as far as the session knows."""

    peer: str = ""  # "127.0.0.1"
    helo: str = ""
    protocol: str = "ESMTP"  # ESMTP, ESMTPS, ESMTPSA, LMTP …: the `with` of a Received line
    login: str = ""  # authenticated login, if any
    originating: bool = False  # it came by a way that only our own people have
    # NAME ADDR PORT PROTO HELO IDENT SOURCE as the client sent them, decoded
    xforward: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)

    @property
    def ident(self) -> str:
        """The queue id of the mail at the client, when it sent XFORWARD IDENT."""
        return self.xforward.get("IDENT", "")


class Transaction(NamedTuple):
    """One mail: envelope and content. `content` has CRLF.CRLF removed and dots unstuffed."""

    id: str  # ours, short, unique: names the mail in every log line
    sender: str  # without angle brackets; "" is the null sender
    recipients: tuple[Recipient, ...]
    content: bytes
    params: tuple[str, ...] = ()  # of MAIL FROM, unmodified
    client: Client = Client()
    one_reply: bool = True  # SMTP answers once for all recipients, LMTP for each

    def param(self, name: str) -> str | None:
        """The value of a MAIL parameter such as `RET` (case-insensitive name), or None."""
        return _param(self.params, name)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The next hop took responsibility for this recipient's copy."""

    queue_id: str = ""  # of the next hop, from its reply; empty when it named none
    text: str = ""  # the next hop's reply text, after its codes


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: the client keeps the mail for this recipient."""

    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Never: the client has to bounce. `text` is one readable line, shown to the sender."""

    status: Status
    text: str
    by_policy: bool = True  # False when the next hop refused


@dataclass(frozen=True, slots=True)
class Unfit(Refused):
    """Never, and nothing was sent: the next hop cannot take such a content."""


@dataclass(frozen=True, slots=True)
class Notified:
    """Refused, and the sender has been told by a notice of our own: settled."""

    refusal: Refused


Fate = Delivered | Deferred | Refused | Notified


def _param(params: tuple[str, ...], name: str) -> str | None:
    wanted = name.upper()
    for param in params:
        key, _, value = param.partition("=")
        if key.upper() == wanted:
            return value
    return None
