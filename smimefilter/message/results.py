"""What Authentication-Results say of DKIM: by whom, and for which domains.

A field counts by the name that it is under. Of several under one name the topmost that speaks
of DKIM is read, and no other: fields are put in above those that a mail came with.

Whether anybody may write under that name is not known here: whoever it belongs to has to take
away what mails bring along (RFC 8601 §5). RFC 8601 §2.2 (syntax) and §2.7.1 (DKIM). Raises
nothing; what cannot be read says nothing.
"""

from __future__ import annotations

import re
from typing import Final

from smimefilter.base.address import BadAddress, domain_key

from .report import without_comments
from .wire import Message

_AUTHSERV: Final = re.compile(r"\s*([^\s;/]+)")  # OpenDKIM may add /JOB
_DKIM: Final = re.compile(r"\s*dkim(?:\s*/\s*\d+)?\s*=\s*([a-z]+)(?=\s|\Z)", re.IGNORECASE)
_SIGNER: Final = re.compile(r"\bheader\.(d|i)\s*=\s*([^\s;]+)", re.IGNORECASE)


def dkim_domains(message: Message, authserv_id: str) -> frozenset[str]:
    """The domains whose DKIM signatures `authserv_id` found to be good, as keys."""
    wanted = authserv_id.rstrip(".").lower()
    for value in message.all("Authentication-Results"):
        plain = without_comments(value)
        if plain is None or not wanted:
            continue
        name, *results = plain.decode("utf-8", "replace").split(";")
        named = _AUTHSERV.match(name)
        if named is None or named[1].rstrip(".").lower() != wanted:
            continue
        found = [(match[1], one) for one in results if (match := _DKIM.match(one))]
        if found:
            passed = [_domain(one) for result, one in found if result.lower() == "pass"]
            return frozenset(filter(None, passed))
    return frozenset()


def _domain(result: str) -> str:
    """The signing domain of one result: `d`, or where that is not told, that of `i`."""
    found = {match[1].lower(): match[2] for match in _SIGNER.finditer(result)}
    try:
        return domain_key(found.get("d") or found.get("i", "").rpartition("@")[2])
    except BadAddress:
        return ""
