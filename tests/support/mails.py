"""The mails that go through all programs: headers and MIME entities by name.

An entity is what S/MIME protects: MIME fields, blank line and body, in canonical form, CRLF.
Whether the same one came out is asked in two ways. `same_entity`: byte for byte but for line
ends, which is all that RFC 8551 §3.1.1 lets a program change. `same_content`: types and decoded
contents of all leaves, for what a program wrote into MIME of its own making.
"""

from __future__ import annotations

import base64
import email
import email.policy
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

_VERSION: Final = b"MIME-Version: 1.0\r\n"
_TEXT: Final = _VERSION + b"Content-Type: text/plain; charset=utf-8\r\n"
_EIGHT_BIT: Final = b"Content-Transfer-Encoding: 8bit\r\n"
_UMLAUTS: Final = "Grüße aus München,\r\ndas kostet 5 €.\r\n".encode()
_LARGE: Final = 25_000_000


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail of the matrix."""

    name: str
    make: Callable[[], bytes]
    subject: bytes = b"Hello"
    large: bool = False  # so that it is run once for each program and direction

    @property
    def entity(self) -> bytes:
        return self.make()

    def headers(self, sender: str, recipient: str) -> bytes:
        """The header without MIME fields, CRLF."""
        return (
            f"From: {sender}\r\nTo: {recipient}\r\nSubject: {self.subject.decode()}\r\n"
            "Date: Mon, 01 Jun 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"
        ).encode()


def _multipart(kind: str, boundary: str, *parts: bytes) -> bytes:
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
    line = f"--{boundary}".encode()
    inner = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts)
    return _VERSION + head + inner + line + b"--\r\n"


def _plain(body: bytes) -> bytes:
    return _TEXT + b"\r\n" + body


def _attached(content: bytes) -> bytes:
    text = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nSee the attachment.\r\n"
    attachment = (
        b"Content-Type: application/octet-stream; name=a.bin\r\n"
        b"Content-Disposition: attachment; filename=a.bin\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
    )
    return _multipart("mixed", "b1", text, attachment)


@cache
def _large() -> bytes:
    line = b"0" * 57  # 78 with its line end in base64
    noise = random.Random(1).randbytes(_LARGE // 78 * len(line))  # noqa: S311 - the same each time
    return _attached(noise)


def _mail_within() -> bytes:
    inner = (
        b"From: Carol <carol@example.net>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        + _multipart("mixed", "inner", b"\r\ninner text\r\n", b"\r\nanother\r\n")
    )
    text = b"Content-Type: text/plain\r\n\r\nForwarded.\r\n"
    return _multipart("mixed", "b1", text, b"Content-Type: message/rfc822\r\n\r\n" + inner)


def _alternative() -> bytes:
    html = b"Content-Type: text/html; charset=utf-8\r\n" + _EIGHT_BIT
    return _multipart(
        "alternative",
        "b 2",
        b"Content-Type: text/plain; charset=utf-8\r\n" + _EIGHT_BIT + b"\r\n" + _UMLAUTS,
        html + b"\r\n<p>" + _UMLAUTS + b"</p>",
    )


def _invitation() -> bytes:
    lines = (
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example//x//EN", "METHOD:REQUEST",
        "BEGIN:VEVENT", "UID:1@example.org", "DTSTAMP:20260601T120000Z",
        "DTSTART:20260602T120000Z", "SUMMARY:Büro", "END:VEVENT", "END:VCALENDAR", "",
    )  # fmt: skip
    head = b"Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n" + _EIGHT_BIT
    return _VERSION + head + b"\r\n" + "\r\n".join(lines).encode()


_ALL: Final = (
    Letter("attachment", lambda: _attached(bytes(range(256)) * 3)),
    Letter(
        "non-ASCII",
        lambda: _TEXT + _EIGHT_BIT + b"\r\n" + _UMLAUTS,
        subject=b"=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_M=C3=BCnchen?=",
    ),
    Letter("empty body", lambda: _plain(b"")),
    Letter("long lines", lambda: _plain(b"long line " * 500 + b"\r\nshort\r\n")),
    Letter("dots", lambda: _plain(b".\r\n..\r\n.hidden\r\nend\r\n.\r\n")),
    Letter("no trailing newline", lambda: _plain(b"Hello.\r\nThat is all.")),
    Letter("mail within", _mail_within),
    Letter("alternative", _alternative),
    Letter("invitation", _invitation),
    Letter("25 MB", _large, large=True),
)
LETTERS: Final = {letter.name: letter for letter in _ALL}
SMALL: Final = [letter.name for letter in _ALL if not letter.large]
LARGE: Final = "25 MB"


def same_entity(sent: bytes, came_out: bytes) -> bool:
    """Whether these are the same bytes, line ends apart."""
    return sent == came_out or _lines(sent) == _lines(came_out)


def same_content(sent: bytes, came_out: bytes) -> bool:
    """Whether these have the same leaves, whatever is around them; text may end in one line
    end more, and its lines in either kind."""
    return leaves(sent) == leaves(came_out)


def leaves(entity: bytes) -> list[tuple[str, bytes]]:
    """Type and decoded content of each leaf."""
    parsed = email.message_from_bytes(entity, policy=email.policy.compat32)
    return [_leaf(part) for part in parsed.walk() if not part.is_multipart()]


def _leaf(part: email.message.Message) -> tuple[str, bytes]:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    if part.get_content_maintype() == "text":
        content = _lines(content).removesuffix(b"\n")
    return part.get_content_type(), content


def _lines(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n")
