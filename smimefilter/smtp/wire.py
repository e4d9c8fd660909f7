"""The receiving half of the SMTP stream, without any I/O: bytes in, lines and contents out.

Only CRLF ends a line, and only CRLF.CRLF ends a content; a bare CR or LF is data like any
other byte, so that two servers cannot disagree about where a mail ends. Contents are searched
in blocks as they come and kept in one buffer; there is no loop over lines. How the bytes are
cut into pieces makes no difference to what comes out.

Leaves the meaning of lines to `session.py`. RFC 5321 §2.3.8, §4.1.1.4 and §4.5.2 (dots).
Raises `LineTooLong`, `ContentTooLarge`, `ContentSwallowed`.
"""

from __future__ import annotations

from typing import Final

CRLF: Final = b"\r\n"
_END: Final = b"\r\n.\r\n"
_SPARSE: Final = 512  # octets to a dot, from where looking at each is far faster than a search
_SOME: Final = 8


class LineTooLong(Exception):
    """A line beyond the limit was swallowed, up to and with its line end."""


class ContentTooLarge(Exception):
    """A content beyond the limit was swallowed, up to and with its end."""


class ContentSwallowed(Exception):
    """A content was swallowed up to and with its end, as `swallow` asked."""


class Incoming:
    """Bytes received and not used yet. Takes lines, or after `expect_content` one content.

    `line_limit` is in octets with CRLF, `content_limit` in octets as they go over the wire.
    Holds at most one content of that size, or one line of that length, and what one `feed`
    brought beyond.
    """

    __slots__ = (
        "_at", "_bytes", "_content", "_content_limit", "_dotted", "_end", "_line_limit",
        "_swallowing", "_unwanted",
    )  # fmt: skip

    def __init__(self, line_limit: int, content_limit: int) -> None:
        self._line_limit = line_limit
        self._content_limit = content_limit
        self._bytes = b""
        self._at = 0  # what comes before was taken
        self._content: bytearray | None = None  # led by the CRLF that precedes a content
        self._end = -1  # of the content, at its last CRLF
        self._dotted = False  # a line of the content may begin with a dot
        self._swallowing = False  # the line or content has grown beyond its limit
        self._unwanted = False  # the content is not to be kept

    @property
    def waiting(self) -> int:
        """Octets that were fed and are neither taken nor part of a content."""
        return len(self._bytes) - self._at

    @property
    def held(self) -> int:
        """Octets of the content that is being received."""
        return len(self._content) if self._content is not None else 0

    def feed(self, data: bytes) -> bool:
        """Add what was received. True when a line or content can be taken (or is too long)."""
        if self._content is not None and self._end < 0:
            return self._feed_content(data)
        at = self._at
        self._bytes = data if at == len(self._bytes) else self._bytes[at:] + data
        self._at = 0
        return CRLF in self._bytes or len(self._bytes) >= self._line_limit

    def line(self) -> bytes | None:
        """The next line without its CRLF; None when it has not arrived whole.

        Raises `LineTooLong` once the end of such a line has been seen.
        """
        end = self._bytes.find(CRLF, self._at)
        if end < 0:
            if self.waiting >= self._line_limit or (self._swallowing and self.waiting):
                self._swallowing = True
                self._bytes = self._bytes[-1:] if self._bytes.endswith(b"\r") else b""
                self._at = 0
            return None
        line = self._bytes[self._at : end]
        self._at = end + 2
        if self._swallowing or len(line) + 2 > self._line_limit:
            self._swallowing = False
            raise LineTooLong
        return line

    def expect_content(self) -> bool:
        """From here a content comes. True when all of it is there already."""
        rest = self.drop()
        self._content = bytearray(CRLF)
        self._end = -1
        self._dotted = False
        return bool(rest) and self._feed_content(rest)

    def content(self) -> bytes | None:
        """The content, dots unstuffed; None when its end has not arrived.

        Raises `ContentTooLarge` or `ContentSwallowed` once its end has been seen.
        """
        if self._content is None or self._end < 0:
            return None
        whole, end = self._content, self._end
        too_large, unwanted = self._swallowing or end > self._content_limit, self._unwanted
        self._content, self._swallowing, self._unwanted = None, False, False
        if too_large:
            raise ContentTooLarge
        if unwanted:
            raise ContentSwallowed
        content = bytes(memoryview(whole)[2 : end + 2])
        if not self._dotted:
            return content
        return content[content.startswith(b".") :].replace(b"\r\n.", CRLF)

    def swallow(self) -> None:
        """Do not keep the content that is being received."""
        self._unwanted = True

    def drop(self) -> bytes:
        """Forget all that was not taken yet, and give it back."""
        rest = self._bytes[self._at :] if self._at else self._bytes
        self._bytes, self._at = b"", 0
        return rest

    def _feed_content(self, data: bytes) -> bool:
        assert self._content is not None
        before = len(self._content)
        self._content += data
        end = self._find_end(max(before - 4, 0))
        if end >= 0:
            self._end = end
            excess = len(self._content) - end - len(_END)
            self._bytes, self._at = (data[-excess:] if excess else b""), 0
            return True
        if len(self._content) > self._content_limit + len(_END):
            self._swallowing = True
        if self._swallowing or self._unwanted:
            del self._content[:-4]
        return False

    def _find_end(self, start: int) -> int:
        """Where CRLF.CRLF begins at `start` or later, or -1; notes whether dots are stuffed."""
        content = self._content
        assert content is not None
        dot = content.find(b".", max(start, 2))
        for _ in range(few_dots(len(content) - start)):
            if dot < 0:
                return -1
            if content[dot - 1] == 10 and content[dot - 2] == 13:
                if content.startswith(CRLF, dot + 1):
                    return dot - 2
                self._dotted = True
            dot = content.find(b".", dot + 1)
        if dot < 0:
            return -1
        line = content.find(b"\r\n.", dot - 2)
        if line >= 0 and not content.startswith(CRLF, line + 3):
            self._dotted = True
            return content.find(_END, line)
        return line


def few_dots(octets: int) -> int:
    """So many dots among so many octets are looked at one by one: while they are few, nothing
    is faster, and counting them would take longer than that."""
    return _SOME + octets // _SPARSE
