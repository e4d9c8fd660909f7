"""The notice that tells a sender which recipients were refused, and why: RFC 3464.

Three parts: a text for people, the delivery status for programs, and what came back - the
header of the mail, or all of it where the sender asked for that and it is small. Where an
address is not ASCII the parts are their internationalised counterparts, RFC 6533.

Leaves to `flow/` whether to send one (never in answer to a null sender, not where NOTIFY says
NEVER) and its own envelope. Time, ids and the boundary token are arguments. Nothing of an
envelope can break out of its line. RFC 3461 §6, RFC 3464, RFC 3834 §5, RFC 6522, RFC 6533.
Raises `ValueError` for a token that is no safe one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from smimefilter.base.errors import Status

from .clear import quoted_printable
from .lines import crlf, is_clear
from .wire import Message
from .wrap import boundary_of

LARGEST_RETURNED: Final = 1 << 16  # bytes of a mail that is returned whole

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_LONGEST: Final = 700  # bytes of one value


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One recipient that was refused."""

    address: str
    status: Status
    text: str  # why, one readable line
    original: str = ""  # the ORCPT parameter as it came: `rfc822;xtext`


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """The mail that a notice is about, and the circumstances."""

    host: str  # who reports
    identifier: str  # unique; goes into the Message-ID
    token: str  # random letters and digits, for the boundary
    now: datetime
    sender: str  # whom the notice is for
    envelope_id: str = ""  # the ENVID parameter as it came: xtext
    whole: bool = False  # the sender asked for all of the mail (RET=FULL)


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice, and the MAIL parameters to send it with; its sender is the null sender."""

    content: bytes
    params: tuple[str, ...]


def notice(occasion: Occasion, original: Message, refused: Sequence[Undelivered]) -> Notice:
    """The notice about the recipients in `refused` of the mail `original`."""
    addresses = (occasion.sender, *(one.address for one in refused))
    whole = occasion.whole and len(original) <= LARGEST_RETURNED
    header = crlf(b"".join(original.lines))
    wide = not all(address.isascii() for address in addresses)
    wide = wide or (whole and not header.isascii())
    parts = (
        _text(_readable(occasion, refused, whole=whole)),
        _delivery_status(occasion, refused, wide=wide),
        _whole(original, wide=wide) if whole else _header_only(header, wide=wide),
    )
    boundary = boundary_of(occasion.token)
    delimiter = f"\r\n--{boundary}".encode()
    body = b"".join(delimiter + b"\r\n" + part for part in parts)
    content = _header(occasion, boundary, wide=wide, whole=whole) + body + delimiter + b"--\r\n"
    params = () if content.isascii() else ("BODY=8BITMIME",)
    return Notice(content, (*params, "SMTPUTF8") if wide else params)


def _header(occasion: Occasion, boundary: str, *, wide: bool, whole: bool) -> bytes:
    report = "global-delivery-status" if wide else "delivery-status"
    encoding = "8bit" if wide or whole else "7bit"
    return (
        f"From: Mail Delivery System <MAILER-DAEMON@{_line(occasion.host)}>\r\n"
        f"To: <{_line(occasion.sender)}>\r\n"
        "Subject: Message not delivered\r\n"
        f"Date: {format_datetime(occasion.now)}\r\n"
        f"Message-ID: <{_line(occasion.identifier)}@{_line(occasion.host)}>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type={report};\r\n"
        f' boundary="{boundary}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
    ).encode()


def _readable(occasion: Occasion, refused: Sequence[Undelivered], *, whole: bool) -> str:
    whom = "this recipient" if len(refused) == 1 else "these recipients"
    lines = [
        f"This is the mail gateway {_line(occasion.host)}.",
        "",
        f"Your message was not delivered to {whom}. Nothing of it was sent there.",
        "",
    ]
    for one in refused:
        lines += [f"<{_line(one.address)}>", f"    {_line(one.text)} ({one.status})", ""]
    lines += [f"{'Your message' if whole else 'The header of your message'} follows.", ""]
    return "\r\n".join(lines)


def _text(text: str) -> bytes:
    body = text.encode()
    if is_clear(body):
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + body
    return (
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ) + quoted_printable(body)


def _delivery_status(
    occasion: Occasion, refused: Sequence[Undelivered], *, wide: bool
) -> bytes:
    lines = [f"Reporting-MTA: dns; {_line(occasion.host)}"]
    if occasion.envelope_id:
        lines.append(f"Original-Envelope-Id: {_line(_from_xtext(occasion.envelope_id))}")
    for one in refused:
        kind = "rfc822" if one.address.isascii() else "utf-8"
        lines.append("")
        if ";" in one.original:
            lines.append(f"Original-Recipient: {_original_recipient(one.original)}")
        lines += [
            f"Final-Recipient: {kind}; {_line(one.address)}",
            "Action: failed",
            f"Status: {one.status}",
            f"Diagnostic-Code: smtp; {one.status.basic} {one.status} {_line(one.text)}",
            f"Last-Attempt-Date: {format_datetime(occasion.now)}",
        ]
    text = "".join(f"{line}\r\n" for line in lines)
    if wide:
        head = b"message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        return b"Content-Type: " + head + text.encode()
    head = b"message/delivery-status\r\n\r\n"
    return b"Content-Type: " + head + text.encode("ascii", "replace")


def _original_recipient(parameter: str) -> str:
    kind, _, address = parameter.partition(";")
    if kind.lower() == "rfc822":
        address = _from_xtext(address)
    return f"{_line(kind)}; {_line(address)}"


def _whole(original: Message, *, wide: bool) -> bytes:
    kind = b"message/global" if wide else b"message/rfc822"
    head = b"Content-Type: %b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" % kind
    return head + crlf(original.raw)


def _header_only(header: bytes, *, wide: bool) -> bytes:
    kind = b"message/global-headers" if wide else b"text/rfc822-headers"
    head = b"Content-Type: %b\r\n" % kind
    if is_clear(header):
        return head + b"\r\n" + header
    head += b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + quoted_printable(header)


def _from_xtext(text: str) -> str:
    """RFC 3461 §4."""
    return _XTEXT.sub(lambda match: chr(int(match[1], 16)), text)


def _line(text: str) -> str:
    """A value that stays on its line, and within what a line may hold."""
    octets = _CONTROLS.sub(" ", text).encode("utf-8", "replace")
    return octets[:_LONGEST].decode("utf-8", "ignore").strip()
