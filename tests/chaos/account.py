"""What became of every mail: delivered once, delivered more than once, bounced with a reason,
still in the queue, or lost; and what left in clear although policy forbids it.

A mail is known by its Message-ID, which stays outside of what is encrypted.
"""

from __future__ import annotations

import email
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.sink import Mail

DOMAIN: Final = "strict.test"  # where encryption is mandatory
MARK: Final = b"Grapefruit juice"  # in every body
_ID: Final = re.compile(rb"<chaos-(\d+)@in\.test>")
_SEALED: Final = re.compile(rb"(?i)smime-type=\"?(?:authEnveloped|enveloped)-data")

Number = int
Key = tuple[Number, str]  # a mail and one of its recipients


@dataclass
class Account:
    """One entry for each recipient of each mail."""

    once: int = 0
    repeated: int = 0
    duplicates: int = 0  # copies beyond the first
    bounced: int = 0
    both: int = 0  # delivered, and bounced as well
    queued: int = 0
    lost: list[Key] = field(default_factory=list)
    in_clear: list[Key] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        """Nothing lost, nothing in clear that must not be."""
        return not self.lost and not self.in_clear


def settle(
    sent: dict[Number, Sequence[str]],
    arrived: Iterable[Mail],
    notices: Iterable[Mail],
    waiting: set[Key],
) -> Account:
    """The account. `notices`: all mail that may be about failures; `waiting`: what is in the
    queue of the mail server still."""
    account = Account()
    copies: Counter[Key] = Counter()
    for mail in arrived:
        if not mail.sender or (found := _ID.search(_header(mail.content))) is None:
            continue
        number = int(found[1])
        for address in mail.addresses:
            copies[number, address] += 1
            if address.endswith(f"@{DOMAIN}") and not _is_sealed(mail.content):
                account.in_clear.append((number, address))
    failed: dict[Key, str] = {}
    for mail in notices:
        if not mail.sender:
            failed |= _failures(mail.content)
    account.reasons.update(failed.values())
    for number, recipients in sent.items():
        for address in recipients:
            _enter(account, (number, address), copies, failed, waiting)
    return account


def _enter(
    account: Account,
    key: Key,
    copies: Counter[Key],
    failed: dict[Key, str],
    waiting: set[Key],
) -> None:
    count = copies[key]
    account.once += count == 1
    account.repeated += count > 1
    account.duplicates += max(count - 1, 0)
    account.bounced += key in failed and not count
    account.both += key in failed and bool(count)
    if not count and key not in failed:
        if key in waiting:
            account.queued += 1
        else:
            account.lost.append(key)


def _header(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[0]


def _is_sealed(content: bytes) -> bool:
    header = _header(content).replace(b"\r\n", b"")
    return bool(_SEALED.search(header)) and MARK not in content


def _failures(content: bytes) -> dict[Key, str]:
    """Whom a notice tells of, and why."""
    found = _ID.search(content.partition(b"\r\n\r\n")[2])
    if found is None:
        return {}
    failures = {}
    for part in email.message_from_bytes(content).walk():
        if part.get_content_type() != "message/delivery-status":
            continue
        for block in part.get_payload():
            address = str(block.get("Final-Recipient", "")).rpartition(";")[2].strip()
            if address and str(block.get("Action", "")).lower() == "failed":
                failures[int(found[1]), address] = str(block.get("Status", ""))
    return failures
