"""What a decision needs to know of a mail itself, read from its headers once, when asked.

Leaves header syntax to `message/`. Pure; never raises: what cannot be read is None or empty,
and the decision says what that means.
"""

from __future__ import annotations

import re
from functools import cached_property

from smimefilter.base.address import BadAddress, address_key
from smimefilter.message.headers import BadHeader, addresses, decoded
from smimefilter.message.mime import is_calendar, is_encrypted, is_signed
from smimefilter.message.wire import Message
from smimefilter.policy.patterns import MAX_MATCHED


class Mail:
    """A mail as decisions see it."""

    def __init__(self, message: Message) -> None:
        self.message = message

    @property
    def size(self) -> int:
        """Bytes of the whole mail."""
        return len(self.message.raw)

    @cached_property
    def author(self) -> str | None:
        """The key of the one address in the one From field; None when it is not one."""
        fields = self.message.all("From")
        if len(fields) != 1:
            return None
        try:
            found = addresses(fields[0])
            return address_key(found[0]) if len(found) == 1 else None
        except (BadHeader, BadAddress):
            return None

    @cached_property
    def visible(self) -> frozenset[str]:
        """Keys of the addresses in To and Cc; a field that cannot be read names nobody."""
        keys: set[str] = set()
        for field in (*self.message.all("To"), *self.message.all("Cc")):
            try:
                keys.update(address_key(address) for address in addresses(field))
            except (BadHeader, BadAddress):
                continue
        return frozenset(keys)

    @cached_property
    def subject(self) -> str:
        """The decoded subject; empty when there is none."""
        field = self.message.get("Subject")
        return decoded(field) if field else ""

    @cached_property
    def sensitivity(self) -> str:
        """The value of the Sensitivity field (RFC 4021), lower case; empty without one."""
        field = self.message.get("Sensitivity")
        return decoded(field).strip().lower() if field else ""

    def header_matches(self, name: str, pattern: re.Pattern[str] | None) -> bool:
        """Whether a field of this name is there (and one of them matches)."""
        fields = self.message.all(name)
        if pattern is None:
            return bool(fields)
        return any(pattern.search(decoded(field), 0, MAX_MATCHED) for field in fields)

    @cached_property
    def is_signed(self) -> bool:
        """Already S/MIME signed."""
        return is_signed(self.message)

    @cached_property
    def is_encrypted(self) -> bool:
        """Already encrypted, S/MIME or PGP."""
        return is_encrypted(self.message)

    @cached_property
    def is_calendar(self) -> bool:
        """A calendar message (iTIP)."""
        return is_calendar(self.message)
