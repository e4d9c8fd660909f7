"""What a mail is already: signed, encrypted, a calendar message.

Types are read from the header, and what bears on protection is checked against the first
bytes of the body: a mail is not taken for encrypted because its header says so. Only calendar
parts of a multipart are searched for.

RFC 8551 §3.2.2 and §3.9 (how S/MIME mail is recognised), RFC 1847, RFC 3156 §4 (PGP/MIME),
RFC 6047 (calendar). Raises nothing.
"""

from __future__ import annotations

import binascii
from typing import Final

from .parameters import ContentType, content_type, parameters, transfer_encoding
from .parts import part_spans
from .wire import Message

_PKCS7_MIME: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_SIGNED_DATA: Final = (bytes.fromhex("06092a864886f70d010702"),)
_ENVELOPED_DATA: Final = (
    bytes.fromhex("06092a864886f70d010703"),
    bytes.fromhex("060b2a864886f70d0109100117"),  # authenticated, RFC 5083
)
_PEEK: Final = 128  # bytes of a body; the object identifier stands in the first few
_PGP: Final = b"-----BEGIN PGP MESSAGE-----"
_DEEPEST: Final = 20


def is_signed(message: Message) -> bool:
    """A multipart/signed of any protocol, or an opaque S/MIME signature."""
    kind = _kind(message)
    return kind.type == "multipart/signed" or _is_cms(message, kind, _SIGNED_DATA)


def is_encrypted(message: Message) -> bool:
    """S/MIME encrypted, or PGP/MIME encrypted."""
    kind = _kind(message)
    if kind.type == "multipart/encrypted":
        return message.data.find(_PGP, message.body_at) >= 0
    return _is_cms(message, kind, _ENVELOPED_DATA)


def is_calendar(message: Message) -> bool:
    """A text/calendar, or a multipart with one in it, attached mails left aside."""
    return _has_calendar(message, _DEEPEST)


def _kind(message: Message) -> ContentType:
    return content_type(message.get("Content-Type"))


def _is_cms(message: Message, kind: ContentType, content_types: tuple[bytes, ...]) -> bool:
    """Whether the body is CMS of one of these content types, and is said to be CMS."""
    if kind.type not in _PKCS7_MIME:
        if kind.type != "application/octet-stream":
            return False
        name = kind.parameter("name") or _file_name(message.get("Content-Disposition"))
        if not name.endswith(".p7m"):
            return False
    start = _first_octets(message)
    return any(oid in start for oid in content_types)


def _file_name(disposition: bytes | None) -> str:
    text = (disposition or b"").decode("utf-8", "replace")
    return parameters(text).get("filename", "").lower()


def _first_octets(message: Message) -> bytes:
    start = message.data[message.body_at : message.body_at + _PEEK]
    if transfer_encoding(message.get("Content-Transfer-Encoding")) == "base64":
        text = start.translate(None, b"\r\n\t ")
        try:
            start = binascii.a2b_base64(text[: len(text) // 4 * 4])
        except binascii.Error:
            return b""
    return start[:32]


def _has_calendar(message: Message, depth: int) -> bool:
    kind = _kind(message)
    if kind.type == "text/calendar":
        return True
    if not kind.is_multipart or depth == 0:
        return False
    spans = part_spans(message.data, message.body_at, kind.parameters.get("boundary", ""))
    return any(
        _has_calendar(Message(message.data[start:end]), depth - 1) for start, end in spans
    )
