"""The 7-bit form that clear signing needs: what no mail server on the way will change.

An entity that is 7bit data already comes back as it is. Otherwise each leaf that is not gets
a new Content-Transfer-Encoding (quoted-printable for text, base64 for the rest) and all other
bytes stay. Where that is not possible - 8-bit header fields, a part that is signed or
encrypted already, an unknown encoding, broken structure - `NotClearable` is raised, and the
mail can be signed opaquely, which needs none of this.

RFC 8551 §3.1.2 and §3.1.3, RFC 2045 §6, RFC 2046 §5.1 and §5.2, RFC 6532 §3.7
(message/global). Raises `NotClearable`.
"""

from __future__ import annotations

import binascii
from typing import Final

import pybase64

from .entity import Entity, closed, entity_header
from .lines import base64_lines, crlf, is_canonical, is_clear
from .parameters import TEXT, ContentType, content_type, transfer_encoding
from .parts import part_spans
from .wire import Message

_IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})
_SEALED: Final = frozenset({"multipart/signed", "multipart/encrypted"})
_DEEPEST: Final = 50


class NotClearable(ValueError):
    """An entity that cannot be brought into 7-bit form part by part; says why."""


def cleared(message: Message) -> Entity:
    """The entity of `message` as canonical 7bit data. Raises `NotClearable`."""
    header = entity_header(message)
    if is_clear(header) and is_clear(message.data, message.body_at):
        return Entity(header, (message.body,))
    whole = b"".join((header, b"\r\n", message.body))
    entity = Message(_cleared(whole, TEXT, _DEEPEST))
    return Entity(b"".join(entity.lines), (entity.body,))


def _cleared(raw: bytes, default: str, depth: int) -> bytes:
    """An entity, whole, as 7bit data. `default` is its type when it does not say."""
    if is_clear(raw):
        return raw
    if depth == 0:
        raise NotClearable("parts nested too deeply")
    part = Message(raw)
    kind = content_type(part.get("Content-Type") or default.encode())
    encoding = transfer_encoding(part.get("Content-Transfer-Encoding"))
    body, encoding = _body(part.data[part.body_at :], kind, encoding, depth)
    result = _header(part, encoding) + b"\r\n" + body
    if not is_clear(result):
        raise NotClearable(f"{kind.type}: its header or its structure is not 7bit")
    return result


def _body(body: bytes, kind: ContentType, encoding: str, depth: int) -> tuple[bytes, str]:
    """A body with its transfer encoding, 7bit as far as its type allows."""
    if kind.type in _SEALED:
        return crlf(body), encoding
    if kind.is_multipart or kind.type == "message/rfc822":
        if encoding not in _IDENTITY:
            raise NotClearable(f"{kind.type} in {encoding}")
        if kind.is_multipart:
            return _multipart(body, kind, depth), "7bit"
        return _cleared(body, TEXT, depth - 1), "7bit"
    octets = body if encoding == "binary" else crlf(body)
    if encoding != "binary" and is_clear(octets):
        return octets, encoding
    if kind.type.startswith("message/") and not kind.type.startswith("message/global"):
        raise NotClearable(f"{kind.type} cannot be encoded")
    return _leaf(octets, kind, encoding)


def _multipart(body: bytes, kind: ContentType, depth: int) -> bytes:
    default = "message/rfc822" if kind.type == "multipart/digest" else TEXT
    pieces, at = [], 0
    for start, end in part_spans(body, 0, kind.parameters.get("boundary", "")):
        pieces += [crlf(body[at:start]), _cleared(body[start:end], default, depth - 1)]
        at = end
    return b"".join((*pieces, crlf(body[at:])))


def _leaf(octets: bytes, kind: ContentType, encoding: str) -> tuple[bytes, str]:
    if encoding in {"7bit", "8bit"} and kind.type.startswith("text/"):
        return quoted_printable(octets), "quoted-printable"
    if encoding == "quoted-printable":
        octets = binascii.a2b_qp(octets)
    elif encoding == "base64":
        octets = _from_base64(octets)
    elif encoding not in _IDENTITY:
        raise NotClearable(f"an unknown transfer encoding: {encoding}")
    return b"".join(base64_lines((octets,))), "base64"


def _from_base64(body: bytes) -> bytes:
    try:
        return pybase64.b64decode(body.translate(None, b"\r\n\t "), validate=True)
    except binascii.Error as error:
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
