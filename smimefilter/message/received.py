"""The one line that every relayed mail gets: Received, RFC 5321 §4.4, RFC 8601 left alone.

Pure: host, id and time are arguments. What a client said of itself is made harmless before it
gets into the header.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from smimefilter.base.envelope import Client

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._:\[\]-]")


def received_line(client: Client, host: str, identifier: str, now: datetime) -> bytes:
    """A whole header field with its line end."""
    helo = _safe(client.helo) or "unknown"
    peer = _safe(client.peer) or "unknown"
    return (
        f"Received: from {helo} ([{peer}])\r\n"
        f"\tby {host} (smimefilter) with {client.protocol} id {identifier};\r\n"
        f"\t{_date(now.replace(microsecond=0))}\r\n"
    ).encode("ascii", "replace")


def _safe(text: str) -> str:
    return _UNSAFE.sub("?", text)[:255]


@lru_cache(maxsize=8)
def _date(second: datetime) -> str:
    return format_datetime(second)
