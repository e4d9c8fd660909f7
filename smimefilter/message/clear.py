"""The 7-bit form that clear signing needs: what no mail server on the way will change.

An entity that is 7bit data already comes back as it is. Otherwise each leaf that is not gets
a new Content-Transfer-Encoding (quoted-printable for text that it leaves legible, base64 for
the rest) and all other bytes stay. Where that is not possible - 8-bit header fields, a part
that is signed or encrypted already, an unknown encoding, broken structure, more parts or
levels than mail has - `NotClearable` is raised, and the mail can be signed opaquely, which
needs none of this.

Parts are places in the bytes of the mail: only what changes is copied.

RFC 8551 §3.1.2 and §3.1.3, RFC 2045 §6, RFC 2046 §5.1 and §5.2, RFC 6532 §3.7
(message/global). Raises `NotClearable`.
"""

from __future__ import annotations

import binascii
from typing import Final

from .entity import Entity, closed, entity_header
from .lines import base64_lines, crlf, from_base64, is_canonical, is_clear
from .parameters import TEXT, ContentType, content_type, transfer_encoding
from .parts import BadParts, Part, Span
from .wire import HeaderTooLarge, Message

MOST_PARTS: Final = 2000
DEEPEST: Final = 20

_SHORT: Final = 1000  # bytes of encoded text that is left legible, however much it grew
_IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})
_SEALED: Final = frozenset({"multipart/signed", "multipart/encrypted"})


class NotClearable(ValueError):
    """An entity that cannot be brought into 7-bit form part by part; says why."""


def cleared(message: Message) -> Entity:
    """The entity of `message` as canonical 7bit data. Raises `NotClearable`."""
    header = entity_header(message)
    if is_clear(header) and is_clear(message.data, message.body_at):
        return Entity(header, (message.body,))
    whole = Part(Message(header), message.data, Span(message.body_at, len(message.data)))
    try:
        header, *rest = _Clearing().cleared(whole, TEXT, DEEPEST)
    except (BadParts, HeaderTooLarge) as error:
        raise NotClearable(f"a part too large to read: {error}") from None
    body = b"".join(rest[1:])
    if not is_clear(header) or not is_clear(body):
        raise NotClearable("a header, or the structure, is not 7bit")
    return Entity(header, (body,))


class _Clearing:
    """One mail's way into 7-bit form. Each step gives pieces: header, blank line, the rest."""

    def __init__(self) -> None:
        self._left = MOST_PARTS

    def part(self, data: bytes, span: Span, default: str, depth: int) -> list[bytes]:
        """A part, whole; `default` is its type when it does not say."""
        piece = data[span.start : span.end]
        if is_clear(piece):
            return [piece]
        del piece  # a copy at each level would add up
        self._left -= 1
        if depth == 0 or self._left < 0:
            raise NotClearable("too many parts, or parts nested too deeply")
        return self.cleared(Part.at(data, span), default, depth)

    def cleared(self, part: Part, default: str, depth: int) -> list[bytes]:
        kind = content_type(part.head.get("Content-Type") or default.encode())
        encoding = transfer_encoding(part.head.get("Content-Transfer-Encoding"))
        body, encoding = self._body(part, kind, encoding, depth)
        return [_header(part.head, encoding), b"\r\n", *body]

    def _body(
        self, part: Part, kind: ContentType, encoding: str, depth: int
    ) -> tuple[list[bytes], str]:
        """A body with its transfer encoding, 7bit as far as its type allows."""
        data, body = part.data, part.body
        if kind.type in _SEALED:
            return [crlf(data[body.start : body.end])], encoding
        if kind.is_multipart or kind.type == "message/rfc822":
            if encoding not in _IDENTITY:
                raise NotClearable(f"{kind.type} in {encoding}")
            if kind.is_multipart:
                return self._multipart(part, kind, depth), "7bit"
            return self.part(data, body, TEXT, depth - 1), "7bit"
        octets = data[body.start : body.end]
        if encoding != "binary":
            octets = crlf(octets)
            if is_clear(octets):
                return [octets], encoding
        if kind.type.startswith("message/") and not kind.type.startswith("message/global"):
            raise NotClearable(f"{kind.type} cannot be encoded")
        octets, encoding = _leaf(octets, kind, encoding)
        return [octets], encoding

    def _multipart(self, part: Part, kind: ContentType, depth: int) -> list[bytes]:
        default = "message/rfc822" if kind.type == "multipart/digest" else TEXT
        data, at = part.data, part.body.start
        pieces = []
        for span in part.spans(kind.parameters.get("boundary", "")):
            pieces.append(crlf(data[at : span.start]))
            pieces += self.part(data, span, default, depth - 1)
            at = span.end
        pieces.append(crlf(data[at : part.body.end]))
        return pieces


def _leaf(octets: bytes, kind: ContentType, encoding: str) -> tuple[bytes, str]:
    if encoding in {"7bit", "8bit"} and kind.type.startswith("text/"):
        quoted = quoted_printable(octets)
        if len(quoted) <= max(_SHORT, len(octets) * 3 // 2):  # base64 adds a third
            return quoted, "quoted-printable"
    if encoding == "quoted-printable":
        return b"".join(base64_lines((binascii.a2b_qp(octets),))), "base64"
    if encoding == "base64":
        return b"".join(base64_lines((_from_base64(octets),))), "base64"
    if encoding in _IDENTITY:
        return b"".join(base64_lines((octets,))), "base64"
    raise NotClearable(f"an unknown transfer encoding: {encoding}")


def _from_base64(body: bytes) -> memoryview:
    try:
        return memoryview(from_base64(body))
    except ValueError as error:
        raise NotClearable(f"broken base64: {error}") from None


def quoted_printable(text: bytes) -> bytes:
    """Canonical text, encoded; a bare CR is data, not a line end."""
    encoded = binascii.b2a_qp(text, istext=True)
    if is_canonical(encoded):
        return encoded
    # Where text has no line end at all, binascii breaks its lines with a bare LF.
    encoded = encoded.replace(b"\r\n", b"\n").replace(b"\r", b"=0D")
    return encoded.replace(b"\n", b"\r\n")


def _header(part: Message, encoding: str) -> bytes:
    """The header of a part, canonical, with another transfer encoding where it changed."""
    if transfer_encoding(part.get("Content-Transfer-Encoding")) == encoding:
        return closed(part.lines)
    others = part.without("Content-Transfer-Encoding").lines
    return closed(others) + b"Content-Transfer-Encoding: %b\r\n" % encoding.encode()
