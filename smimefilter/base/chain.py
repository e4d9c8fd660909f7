"""The chain of the audit log: each record has a hash over itself and the one before. Pure.

    hash = SHA-256(hash of the record before (32 bytes) | canonical form)

The canonical form is a JSON array without blanks, UTF-8: number, seconds since 1970, actor,
node, event, object, outcome, detail. The first record follows `NOTHING`. A chain alone shows
what was changed inside of it; that its end is the true one the sealed head says, which is
`flow/audit.py`'s to look at.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

NOTHING: Final = "0" * 64  # what the first record follows
_LONGEST: Final = 2000  # characters of a detail


@dataclass(frozen=True, slots=True)
class Link:
    """A record as it is hashed."""

    number: int  # from 1 on, without gaps
    at: int  # seconds since 1970
    actor: str
    node: str
    event: str
    about: str
    outcome: str
    detail: str

    def hash(self, before: str) -> str:
        """64 hex digits; `before` is the hash of the record before."""
        return hashlib.sha256(bytes.fromhex(before) + self._canonical()).hexdigest()

    def _canonical(self) -> bytes:
        parts = [
            self.number, self.at, self.actor, self.node,
            self.event, self.about, self.outcome, self.detail,
        ]  # fmt: skip
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()


def storable(text: str) -> str:
    """A text as every database takes it and gives it back: no zero byte, no half character,
    not overly long."""
    whole = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 1]}…"
