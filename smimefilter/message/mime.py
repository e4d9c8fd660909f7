"""What a mail is already, as far as MIME tells: signed, encrypted, a calendar message.

That a mail is said to be protected counts for nothing; it has to have the whole form. For PGP
that is all settled here and in `pgp.py`; for S/MIME the body is handed out, decoded, and
`cms/recognise.py` tells what it is. A mail with two Content-Types, or two transfer encodings,
is whatever its reader takes it for, and so is neither. Only calendar parts of a multipart are
searched for; nothing is verified or decrypted.

RFC 8551 §3.2.2 and §3.9 (how S/MIME mail is recognised), RFC 1847 §2, RFC 3156 §4 and §5
(PGP/MIME), RFC 6047 (calendar). Raises `HeaderTooLarge` for such a mail, and nothing else.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from enum import Flag, auto
from itertools import islice
from typing import Final, NamedTuple

from .lines import from_base64
from .parameters import (
    LONGEST_READ,
    PLAIN,
    ContentType,
    content_type,
    parameters,
    transfer_encoding,
)
from .parts import MOST_LINES, BadParts, Part, Span
from .pgp import is_detached_signature, is_encrypted_message
from .wire import Message

_PKCS7_MIME: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_PKCS7_SIGNATURE: Final = frozenset(
    {"application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_PGP_SIGNATURE: Final = frozenset({"application/pgp-signature"})
_PGP_ENCRYPTED: Final = "application/pgp-encrypted"
_PGP_VERSION: Final = re.compile(rb"\s*+Version:[ \t]*1\s*+", re.IGNORECASE)
_LONGEST_VERSION: Final = 100  # bytes of a part with one short line in it
_PROTECTED: Final = _PKCS7_MIME | {
    "application/octet-stream", "multipart/signed", "multipart/encrypted",
}  # fmt: skip
_IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})
_DECISIVE: Final = frozenset({"boundary", "protocol"})
_DEEPEST: Final = 20
# What a search for parts of some type may cost; beyond it nothing more is found.
MOST_PARTS: Final = 1000
MOST_HEADERS: Final = 1 << 19  # bytes of the headers of all parts
MOST_TYPES: Final = 1 << 17  # bytes of their Content-Types
MOST_PASSES: Final = 4  # over as many bytes as the mail has, for boundaries
_CALENDAR: Final = frozenset({"text/calendar"})
_SMIME: Final = _PKCS7_MIME | _PKCS7_SIGNATURE


def is_said_protected(message: Message) -> bool:
    """Whether the header says anything of the kind: of other mail nothing else is asked."""
    return _kind(message).type in _PROTECTED


def is_pkcs7_mime(message: Message) -> bool:
    """Whether it says outright that its body is CMS."""
    return _kind(message).type in _PKCS7_MIME


def pkcs7_body(message: Message) -> memoryview | None:
    """The decoded body of a mail that is said to be S/MIME, encrypted or signed opaquely;
    None for all other mail, and where the encoding is broken."""
    kind = _kind(message)
    if kind.type not in _PKCS7_MIME:
        if kind.type != "application/octet-stream":
            return None
        name = kind.parameter("name") or _file_name(message.get("Content-Disposition"))
        if not name.endswith(".p7m"):
            return None
    return _decoded(Part.of(message))


def pkcs7_signature(message: Message) -> memoryview | None:
    """The decoded signature of a mail that is said to be clear-signed with S/MIME."""
    return _signature(message, _PKCS7_SIGNATURE)


class ClearSigned(NamedTuple):
    """A multipart/signed: the signed part, header and all, as it came, and the signature."""

    content: memoryview
    signature: memoryview


def clear_signed(message: Message) -> ClearSigned | None:
    """What was signed and its signature, in a mail that is clear-signed with S/MIME."""
    parts = _signed_parts(message, _PKCS7_SIGNATURE)
    if parts is None or (signature := _decoded(parts[1])) is None:
        return None
    head, body = parts[0].head, parts[0].body
    start = body.start - sum(map(len, head.lines)) - len(head.border)
    return ClearSigned(memoryview(parts[0].data)[start : body.end], signature)


def is_pgp_signed(message: Message) -> bool:
    """PGP/MIME, clear-signed."""
    signature = _signature(message, _PGP_SIGNATURE)
    return signature is not None and is_detached_signature(signature)


def is_pgp_encrypted(message: Message) -> bool:
    """PGP/MIME, encrypted as a whole: a version and the armoured message, nothing around or
    between them."""
    kind = _kind(message)
    if kind.type != "multipart/encrypted" or kind.parameter("protocol") != _PGP_ENCRYPTED:
        return False
    parts = _two_parts(message, kind, alone=True)
    if parts is None:
        return False
    version, content = parts
    if _kind(version.head).type != _PGP_ENCRYPTED or len(version.content) > _LONGEST_VERSION:
        return False
    if _kind(content.head).type != "application/octet-stream":
        return False
    armoured = _decoded(content)
    return (
        _PGP_VERSION.fullmatch(_decoded(version) or b"") is not None
        and armoured is not None
        and is_encrypted_message(armoured)
    )


def is_calendar(message: Message) -> bool:
    """A text/calendar, or a multipart with one in it, attached mails left aside."""
    return any(kind.type in _CALENDAR for kind in _part_kinds(message))


def is_said_signed(message: Message) -> bool:
    """Whether it says to be clear-signed with S/MIME, in form or not."""
    kind = _kind(message)
    return kind.type == "multipart/signed" and kind.parameter("protocol") in _PKCS7_SIGNATURE


class Protected(Flag):
    """How parts of a mail say to be protected."""

    NOTHING = 0
    SIGNED = auto()
    ENCRYPTED = auto()


def protected_parts(message: Message) -> Protected:
    """What S/MIME parts a multipart says to have, attached mails left aside."""
    found = Protected.NOTHING
    if not _kind(message).is_multipart:
        return found
    for kind in _part_kinds(message):
        if kind.type in _SMIME:
            found |= Protected.SIGNED if _is_signed_kind(kind) else Protected.ENCRYPTED
        if found == _EITHER_WAY:
            break
    return found


_EITHER_WAY: Final = Protected.SIGNED | Protected.ENCRYPTED


def _is_signed_kind(kind: ContentType) -> bool:
    signed = kind.type in _PKCS7_MIME and kind.parameter("smime-type") == "signed-data"
    return signed or kind.type in _PKCS7_SIGNATURE


def _part_kinds(message: Message) -> Iterator[ContentType]:
    """The types of a mail and of its parts, as far as a search goes."""
    try:
        whole = Part.of(message)
        yield from _PartSearch(len(whole.data)).kinds(whole, _DEEPEST)
    except BadParts:
        return


def _kind(head: Message) -> ContentType:
    """The type of a mail or part; plain text where it does not say, or says so twice."""
    if head.names.count(b"content-type") != 1:
        return PLAIN
    return content_type(head.get("Content-Type"))


def _file_name(disposition: bytes | None) -> str:
    text = (disposition or b"").decode("utf-8", "replace")
    return parameters(text).get("filename", "").lower()


def _encoding(head: Message) -> str:
    """The transfer encoding of a mail or part; empty where there are two."""
    fields = head.all("Content-Transfer-Encoding")
    return "" if len(fields) > 1 else transfer_encoding(fields[0] if fields else None)


def _decoded(part: Part) -> memoryview | None:
    """The body of a mail or part without its transfer encoding; None where that is broken,
    or none is known."""
    encoding = _encoding(part.head)
    if encoding in _IDENTITY:
        return part.content
    if encoding == "quoted-printable":
        return memoryview(binascii.a2b_qp(part.content))
    try:
        return memoryview(from_base64(part.content)) if encoding == "base64" else None
    except ValueError:
        return None


def _signature(message: Message, types: frozenset[str]) -> memoryview | None:
    """The decoded signature of a multipart/signed with one of these types."""
    parts = _signed_parts(message, types)
    return None if parts is None else _decoded(parts[1])


def _signed_parts(message: Message, types: frozenset[str]) -> tuple[Part, Part] | None:
    kind = _kind(message)
    if kind.type != "multipart/signed" or kind.parameter("protocol") not in types:
        return None
    parts = _two_parts(message, kind)
    return parts if parts is not None and _kind(parts[1].head).type in types else None


def _two_parts(
    message: Message, kind: ContentType, *, alone: bool = False
) -> tuple[Part, Part] | None:
    """The parts of a mail that has two and is not encoded as a whole. `alone`: besides their
    content there is nothing to read, neither around them nor in their headers."""
    whole, boundary = Part.of(message), kind.parameters.get("boundary", "")
    if _encoding(message) not in _IDENTITY:
        return None
    if not kind.doubtful.isdisjoint(_DECISIVE):  # another reader may see other parts
        return None
    try:
        spans = list(islice(whole.spans(boundary), 3))
        if len(spans) != 2 or (alone and not _are_alone(whole, spans, boundary.encode())):
            return None
        first, second = (Part.at(whole.data, span) for span in spans)
    except BadParts:
        return None
    if alone and not all(map(_is_mime_field, (*first.head.names, *second.head.names))):
        return None
    return first, second


def _are_alone(whole: Part, spans: list[Span], boundary: bytes) -> bool:
    before = whole.data[whole.body.start : spans[0].start].strip()
    after = whole.data[spans[-1].end : whole.body.end].strip()
    return (before, after) == (b"--" + boundary, b"--" + boundary + b"--")


def _is_mime_field(name: bytes) -> bool:
    return name.startswith(b"content-")


class _PartSearch:
    """A search through the parts of a mail, with an end whatever the parts are."""

    def __init__(self, size: int) -> None:
        self._parts = _Budget(MOST_PARTS)
        self._headers = _Budget(MOST_HEADERS)
        self._types = _Budget(MOST_TYPES)
        self._octets = _Budget(MOST_PASSES * size)
        self._lines = iter(range(MOST_LINES))

    def kinds(self, part: Part, depth: int) -> Iterator[ContentType]:
        """The type of the part, and those of all parts in it. Raises `BadParts`."""
        self._parts.spend(1)
        value = part.head.get("Content-Type")
        self._types.spend(min(len(value or b""), LONGEST_READ))
        kind = content_type(value)
        yield kind
        if not kind.is_multipart or depth == 0:
            return
        self._octets.spend(part.body.end - part.body.start)
        for span in part.spans(kind.parameters.get("boundary", ""), self._lines):
            inner = Part.at(part.data, span)
            self._headers.spend(inner.body.start - span.start)
            yield from self.kinds(inner, depth - 1)


class _Budget:
    """So much, and no more."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, amount: int) -> None:
        """Raises `BadParts` where that is more than is left."""
        self._left -= amount
        if self._left < 0:
            raise BadParts("parts that cost too much to search")
