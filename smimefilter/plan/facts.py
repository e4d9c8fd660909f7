"""What a decision needs to know of a mail itself, read once, when asked.

Leaves header syntax and MIME to `message/`, the structure of CMS to `cms/recognise.py`. Pure;
what cannot be read is None or empty, and the decision says what that means. Raises
`HeaderTooLarge` for a mail whose header is not read at all, and nothing else.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

from smimefilter.base.address import BadAddress, address_key
from smimefilter.cms.recognise import Kind, kind_of
from smimefilter.message.headers import LONGEST_LIST, BadHeader, addresses, decoded
from smimefilter.message.mime import (
    Protected,
    is_calendar,
    is_pgp_encrypted,
    is_pgp_signed,
    is_said_protected,
    pkcs7_body,
    pkcs7_signature,
    protected_parts,
)
from smimefilter.message.report import cleaned
from smimefilter.message.wire import Message
from smimefilter.policy.patterns import MAX_MATCHED

LONGEST_ID: Final = 250  # bytes
_INTERNATIONAL: Final = 4  # how many times as long addresses beyond ASCII take
_UNPRINTABLE: Final = re.compile(rb"[^!-~]")


class Mail:
    """A mail as decisions see it."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self._forged: dict[tuple[object, ...], bool] = {}

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

    @property
    def message_id(self) -> str:
        """The Message-ID, as far as it is printable ASCII and not too long; for the log."""
        value = self.message.get("Message-ID") or b""
        return _UNPRINTABLE.sub(b"?", value[:LONGEST_ID]).decode("ascii")

    @cached_property
    def visible(self) -> frozenset[str]:
        """Keys of the addresses in To and Cc; a field that cannot be read names nobody, nor
        does what follows on as many addresses as are read."""
        keys: set[str] = set()
        left = LONGEST_LIST
        for field in (*self.message.all("To"), *self.message.all("Cc")):
            left -= len(field) * (1 if field.isascii() else _INTERNATIONAL)
            if left < 0:
                break
            try:
                keys.update(address_key(address) for address in addresses(field))
            except (BadHeader, BadAddress):
                continue
        return frozenset(keys)

    @cached_property
    def sensitivities(self) -> frozenset[str]:
        """The values of all Sensitivity fields (RFC 4021), lower case."""
        fields = self.message.all("Sensitivity")
        return frozenset(decoded(field).strip().lower() for field in fields)

    def header_matches(self, name: str, pattern: re.Pattern[str] | None) -> bool:
        """Whether a field of this name is there (and one of them matches)."""
        fields = self.message.all(name)
        if pattern is None:
            return bool(fields)
        return any(pattern.search(decoded(field), 0, MAX_MATCHED) for field in fields)

    @cached_property
    def is_said_protected(self) -> bool:
        """Whether a reader may take it for signed or encrypted."""
        return is_said_protected(self.message) or bool(self.protected_parts)

    @cached_property
    def protected_parts(self) -> Protected:
        """What S/MIME parts a multipart says to have."""
        return protected_parts(self.message)

    def is_forged(
        self, prefix: str, authserv_id: str, tags: tuple[re.Pattern[str], ...]
    ) -> bool:
        """Whether it brings along what looks like a report of ours. Recipients of one mail
        mostly ask the same."""
        asked = (prefix, authserv_id, tags)
        if asked not in self._forged:
            clean = cleaned(self.message, prefix, authserv_id, tags)
            self._forged[asked] = clean is not self.message
        return self._forged[asked]

    @property
    def is_signed(self) -> bool:
        """Signed already, in form: S/MIME, clear or opaque, or PGP/MIME."""
        return self._protection is Kind.SIGNED

    @property
    def is_encrypted(self) -> bool:
        """Encrypted already, all of it: S/MIME or PGP/MIME."""
        return self._protection is Kind.ENCRYPTED

    @cached_property
    def _protection(self) -> Kind | None:
        if not is_said_protected(self.message):
            return None
        body, signature = pkcs7_body(self.message), pkcs7_signature(self.message)
        if body is not None:
            return kind_of(body)
        if signature is not None:
            return Kind.SIGNED if kind_of(signature) is Kind.SIGNED else None
        if is_pgp_encrypted(self.message):
            return Kind.ENCRYPTED
        return Kind.SIGNED if is_pgp_signed(self.message) else None

    @cached_property
    def is_calendar(self) -> bool:
        """A calendar message (iTIP)."""
        return is_calendar(self.message)
