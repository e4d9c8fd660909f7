"""Replies of the next hop, without any I/O: bytes in, replies out, and the fate that one means.

Leaves connections to `client.py`. RFC 5321 §4.2, RFC 2034, RFC 3463. Raises `Garbage`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from smimefilter.base.envelope import Deferred, Delivered, Fate, Refused
from smimefilter.base.errors import Status

LONGEST: Final = 65_536  # octets of one reply, about
SERVICE_CLOSING: Final = 421
CONTENT_WANTED: Final = 354
_CODES: Final = frozenset(str(code) for code in range(200, 600))
_SEPARATORS: Final = ("-", " ", "\r", "")
_ENHANCED: Final = re.compile(r"[245]\.([0-9]{1,3}\.[0-9]{1,3})(?: +|$)")
_QUEUED: Final = re.compile(r"(?:queued as|\bid=) ?([A-Za-z0-9][A-Za-z0-9._\-]*)")
NOT_SMTP: Final = Deferred(Status(4, "5.0"), "next hop does not answer as a mail server does")


class Garbage(Exception):
    """What came is no SMTP reply."""


class Reply(NamedTuple):
    """One reply: its basic code and the texts of its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        """Whether the command was carried out."""
        return self.code < 300

    @property
    def text(self) -> str:
        """All lines as one, without enhanced codes."""
        return " ".join(_ENHANCED.sub("", line, count=1) for line in self.lines).strip()

    def failure(self) -> Fate:
        """What a reply means that did not carry the command out."""
        if self.code < 400:
            return NOT_SMTP
        enhanced = _ENHANCED.match(self.lines[0])
        detail = enhanced[1] if enhanced else "0.0"
        if self.code < 500:
            return Deferred(Status(4, detail), self.text)
        return Refused(Status(5, detail), self.text, by_policy=False)

    def outcome(self) -> Fate:
        """What a reply to the end of the content means."""
        if not self.positive:
            return self.failure()
        text = self.text
        queued = _QUEUED.search(text)
        return Delivered(queued[1].rstrip(".") if queued else "", text)


class ReplyReader:
    """Cuts a stream into replies. Lines may end with CRLF or LF."""

    __slots__ = ("_lines", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []
        self._size = 0

    @property
    def empty(self) -> bool:
        """Whether nothing was fed that has not come out as a reply."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are whole now. Raises `Garbage`."""
        whole, line_end, self._rest = (self._rest + data).rpartition(b"\n")
        replies: list[Reply] = []
        if line_end:
            for line in whole.decode("utf-8", "replace").split("\n"):
                self._size += len(line) + 1
                if self._size > LONGEST:
                    raise Garbage
                code, separator = line[:3], line[3:4]
                if code not in _CODES or separator not in _SEPARATORS:
                    raise Garbage
                self._lines.append(line[4:].rstrip("\r"))
                if separator != "-":
                    replies.append(Reply(int(code), tuple(self._lines)))
                    self._lines, self._size = [], 0
        if self._size + len(self._rest) > LONGEST:
            raise Garbage
        return replies
