"""What the flows ask of the network: the content behind a URL, within limits.

One face for HTTP, HTTPS and LDAP; `fetch/` carries it out, with its rules about where it may
go. A failure is one line fit for a list or a log, without credentials, query strings or
internals. Raises `FetchFailed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class FetchFailed(Exception):
    """What was asked for could not be had; the text says why, for an administrator."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch. With a `body` it is posted (HTTP only)."""

    url: str
    most: int  # octets of content; more is a failure
    accept: str = "*/*"
    body: bytes | None = None
    content_type: str = ""
    etag: str = ""  # of what is at hand already: unchanged content is not sent again
    last_modified: str = ""
    urgent: bool = False  # a mail waits for it


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came."""

    content: bytes | None  # None: unchanged since what `etag` and `last_modified` stand for
    etag: str = ""
    last_modified: str = ""
    max_age: int | None = None  # seconds it may be kept, where the server says so


class Net(Protocol):
    """The way out to the network."""

    async def fetch(self, request: Request) -> Fetched:
        """The content behind a URL. Raises `FetchFailed`, and nothing else but cancellation."""
