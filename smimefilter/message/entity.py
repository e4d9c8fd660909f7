"""The part of a mail that S/MIME protects: its MIME entity, taken out of its header.

Only MIME-Version and Content-* fields go inside; all others stay where they are, byte for
byte (`outer`). The entity alone is brought into canonical form (`canonical`): CRLF line ends,
and the MIME fields that a mail without any has by default. Wrapping an entity gives an entity
again, so that signing and encrypting follow one another; `Outer.around` puts the last one into
the mail.

Leaves the 7-bit form that clear signing needs to `clear.py`, the wrapping to `wrap.py`.
RFC 8551 §3.1, RFC 2045 §3, RFC 1428 (unknown-8bit). Raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .lines import crlf, is_canonical
from .parameters import transfer_encoding
from .wire import Chunk, Message

_MOVING: Final = (b"content-", b"mime-version")
_MIME_VERSION: Final = b"MIME-Version: 1.0\r\n"


@dataclass(frozen=True, slots=True)
class Entity:
    """A MIME entity: its header fields with their line ends, and its body."""

    header: bytes
    body: Sequence[Chunk]

    @property
    def chunks(self) -> list[Chunk]:
        """All bytes: what is signed or encrypted."""
        return [self.header + b"\r\n", *self.body]


@dataclass(frozen=True, slots=True)
class Outer:
    """The header fields that stay outside, before and after the place of the MIME fields."""

    before: bytes
    after: bytes

    def around(self, entity: Entity) -> list[bytes]:
        """The whole mail with `entity` as its content, all of it bytes: who sends it searches
        it, which views cannot do."""
        head = (self.before, _MIME_VERSION, entity.header, self.after, b"\r\n")
        return [b"".join(head), *map(bytes, entity.body)]


def outer(message: Message) -> Outer:
    """What stays outside when the entity of `message` is wrapped."""
    before: list[bytes] = []
    after: list[bytes] = []
    lines = before
    for name, line in zip(message.names, message.lines, strict=True):
        if name.startswith(_MOVING):
            lines = after
        else:
            lines.append(line)
    return Outer(_joined(before), _joined(after))


def canonical(message: Message) -> Entity:
    """The entity of `message`, line ends made CRLF; a body that is declared binary is left."""
    encoding = transfer_encoding(message.get("Content-Transfer-Encoding"))
    if encoding == "binary" or is_canonical(message.data, message.body_at):
        return Entity(entity_header(message), (message.body,))
    return Entity(entity_header(message), (crlf(message.data[message.body_at :]),))


def entity_header(message: Message) -> bytes:
    """The MIME fields of `message` with CRLF line ends, the missing ones supplied."""
    named = zip(message.names, message.lines, strict=True)
    moved = closed(line for name, line in named if name.startswith(_MOVING))
    version = b"" if b"mime-version" in message.names else _MIME_VERSION
    if b"content-type" in message.names:
        return version + moved
    charset, encoding = _charset(message)
    fields = b"Content-Type: text/plain; charset=%b\r\n" % charset
    if b"content-transfer-encoding" not in message.names:
        fields += b"Content-Transfer-Encoding: %b\r\n" % encoding
    return version + moved + fields


def closed(lines: Iterable[bytes]) -> bytes:
    """Header lines in canonical form."""
    return crlf(_joined(lines))


def _joined(lines: Iterable[bytes]) -> bytes:
    """Header lines; the last one of a mail that ends in its header gets its line end."""
    joined = b"".join(lines)
    return joined if not joined or joined.endswith(b"\n") else joined + b"\r\n"


def _charset(message: Message) -> tuple[bytes, bytes]:
    """Charset and transfer encoding of a body that does not say."""
    try:
        text = str(message.body, "utf-8")
    except UnicodeDecodeError:
        return b"unknown-8bit", b"8bit"
    return (b"us-ascii", b"7bit") if text.isascii() else (b"utf-8", b"8bit")
