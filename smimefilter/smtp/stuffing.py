"""A content made ready for DATA: dots stuffed, the end added.

Every byte survives, bare CR and LF too, with one exception: a dot that stands alone between
line ends of which one is bare is not sent at all. Some servers take it for the end of the
mail, and what follows for commands, which is how mail is smuggled past filters; no mail that
keeps to the standard contains it. RFC 5321 §2.3.8 and §4.5.2. Raises `Smuggling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .wire import few_dots

_LONE_DOTS: Final = (b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r")


class Smuggling(Exception):
    """The content has a lone dot between bare line ends."""


def stuffed(chunks: Sequence[bytes]) -> list[bytes]:
    """`chunks` with dots stuffed and CRLF.CRLF (or .CRLF, where CRLF is there) at the end."""
    if _has_leading_dot(chunks):
        content = b"".join(chunks).replace(b"\r\n.", b"\r\n..")
        if content.startswith(b"."):
            content = b"." + content
        if any(dot in content for dot in _LONE_DOTS) or content.endswith((b"\n.", b"\r.")):
            raise Smuggling
        chunks = (content,)
    ended = _tail(chunks) in {b"\r\n", b""}
    return [*chunks, b".\r\n" if ended else b"\r\n.\r\n"]


def _has_leading_dot(chunks: Sequence[bytes]) -> bool:
    """Whether a dot follows a CR or LF, or stands first."""
    before = b"\n"
    for chunk in chunks:
        if _dot_after_line_end(before + chunk if chunk[:1] == b"." else chunk):
            return True
        before = chunk[-1:] or before
    return False


def _dot_after_line_end(octets: bytes) -> bool:
    dot = octets.find(b".", 1)
    for _ in range(few_dots(len(octets))):
        if dot < 0:
            return False
        if octets[dot - 1] in b"\r\n":
            return True
        dot = octets.find(b".", dot + 1)
    return dot >= 0 and (octets.find(b"\n.", dot - 1) >= 0 or octets.find(b"\r.", dot - 1) >= 0)


def _tail(chunks: Sequence[bytes]) -> bytes:
    tail = b""
    for chunk in reversed(chunks):
        tail = chunk[-2:] + tail
        if len(tail) >= 2:
            break
    return tail[-2:]
