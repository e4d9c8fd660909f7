"""Challenge mails of ACME: which mail is one, and whether it is one that is waited for. Pure.

By such a mail a CA finds out whether the mail of an address is read by who wants a certificate
for it. A mail counts only if all of it fits: one Subject with a token, one From, one address
in To, `Auto-Submitted: auto-generated; type=acme`, a Message-ID to reply to; and the
order that waits for it says from whom it has to come. What does not fit entirely is a mail
like any other.

Whether it is authentic is looked at by `flow/challenges.py`, but for what DKIM's verifier said.
RFC 8823 §3.1 (the mail), RFC 3834 §5 (Auto-Submitted), RFC 8601. Raises `HeaderTooLarge`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from smimefilter.base.address import BadAddress, address_key, domain_of
from smimefilter.message.headers import BadHeader, addresses, decoded
from smimefilter.message.results import dkim_domains
from smimefilter.message.wire import Message, hides

from .facts import Mail

LONGEST_TOKEN: Final = 512  # characters; 22 are 128 bits, the least that there may be
LONGEST_ID: Final = 998
LONGEST_ADDRESS: Final = 320  # RFC 3696 §3
_SUBJECT: Final = re.compile(r"ACME:\s([A-Za-z0-9_\-\s]+(?:=\s*){0,2})", re.ASCII)
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{22,{LONGEST_TOKEN}}}={{0,2}}", re.ASCII)
_AUTO: Final = re.compile(r"\s*auto-generated\s*(?:;(.*))?", re.IGNORECASE | re.DOTALL)
_TYPE: Final = re.compile(r'\s*type\s*=\s*(?:acme|"acme")\s*', re.IGNORECASE)
_ID: Final = re.compile(r"<[!-;=?-~]+>", re.ASCII)
_COMMENT: Final = re.compile(r"\([^()\\]*\)")


@dataclass(frozen=True, slots=True)
class ChallengeMail:
    """A challenge, as a mail brought it. Addresses are keys."""

    token: str  # token-part1, without white space
    sender: str  # From
    reply_to: str  # where the answer goes
    message_id: str  # with its angle brackets
    to: str = ""  # whom the CA has written to; the envelope may be for an alias of his


@dataclass(frozen=True, slots=True)
class AwaitedMail:
    """What an order for a certificate waits for."""

    sender: str  # key of the address it comes from; empty: the CA has not said it yet
    authserv_id: str = ""  # whose word on DKIM counts; empty: nobody's
    deliver: bool = False  # it goes to its recipient as well

    def fits(self, challenge: ChallengeMail) -> bool:
        """Whether it is from whom it has to be."""
        return self.sender in {"", challenge.sender}

    def is_vouched(self, challenge: ChallengeMail, message: Message) -> bool:
        """Whether DKIM's verifier says that the domain in From signed it."""
        domains = dkim_domains(message, self.authserv_id)
        return domain_of(challenge.sender) in domains


def challenge_in(mail: Mail) -> ChallengeMail | None:
    """The challenge that a mail brings; None for any other mail."""
    message = mail.message
    if not _is_generated(message) or hides(message, b"from") or hides(message, b"subject"):
        return None
    token, message_id, sender = _token(message), _message_id(message), mail.author
    to = _only(message.all("To"))
    reply_to = _only(message.all("Reply-To") or message.all("From"))
    if not (token and message_id and sender and to and reply_to):
        return None
    if max(map(len, (sender, to, reply_to))) > LONGEST_ADDRESS:
        return None
    return ChallengeMail(token, sender, reply_to, message_id, to)


def _is_generated(message: Message) -> bool:
    """Whether one Auto-Submitted field says that it comes from ACME."""
    fields = message.all("Auto-Submitted")
    if len(fields) != 1:
        return False
    plain = _COMMENT.sub(" ", fields[0].decode("ascii", "replace"))
    said = _AUTO.fullmatch(plain)
    parameters = (said[1] or "").split(";") if said else []
    return any(map(_TYPE.fullmatch, parameters))


def _token(message: Message) -> str:
    fields = message.all("Subject")
    subject = _SUBJECT.fullmatch(decoded(fields[0]).strip()) if len(fields) == 1 else None
    token = "".join(subject[1].split()) if subject else ""
    return token if _TOKEN.fullmatch(token) else ""


def _message_id(message: Message) -> str:
    fields = message.all("Message-ID")
    text = fields[0].decode("ascii", "replace").strip() if len(fields) == 1 else ""
    return text if len(text) <= LONGEST_ID and _ID.fullmatch(text) else ""


def _only(fields: Sequence[bytes]) -> str:
    """The one address in one field; empty where it is not one."""
    try:
        found = addresses(fields[0]) if len(fields) == 1 else ()
        return address_key(found[0]) if len(found) == 1 else ""
    except (BadHeader, BadAddress):
        return ""
