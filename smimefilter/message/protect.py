"""Header fields within the protected part: RFC 9788, and the older ways, read.

`protected` puts copies of a mail's header fields into its entity; where that is going to be
encrypted, `veiled` hides the subject outside. `restored` brings fields that came out of a
layer back into the header of the mail: only those that a reader looks at, never trace fields,
results or fields of anybody's own.

Also read: `protected-headers="v1"`, and a message/rfc822 with `forwarded=no` around it all
(RFC 8551 §3.1). RFC 9788 §2.1.1 (hp), §2.2 (HP-Outer), §3.2.2 (what is hidden). Raises nothing.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final, NamedTuple

from .entity import Entity
from .headers import BadHeader, addresses
from .parameters import content_type
from .wire import Message, is_clean, unfolded

VEIL: Final = b"[...]"

_MIME: Final = (b"content-", b"mime-version")
_NEVER: Final = frozenset({b"hp-outer", b"bcc", b"received", b"return-path", b""})
_TRACE: Final = (b"x-", b"arc-", b"dkim-", b"authentication-", b"resent-", b"list-")
_HIDDEN: Final = frozenset({b"subject", b"keywords", b"comments"})
_RESTORED: Final = frozenset({
    b"subject", b"date", b"to", b"cc", b"reply-to", b"followup-to", b"in-reply-to",
    b"references", b"keywords", b"comments",
})  # fmt: skip


class Hp(StrEnum):
    """How the fields within are meant: as they are outside, or hidden there."""

    CLEAR = "clear"
    CIPHER = "cipher"


class Within(NamedTuple):
    """An entity that came out of a layer, and the fields that are protected by it."""

    entity: Message
    fields: tuple[bytes, ...] = ()  # whole


# writing


def protected(message: Message, entity: Entity, hp: Hp) -> Entity:
    """The entity of `message` with copies of its fields; with `CIPHER` what stands outside
    instead is said as well."""
    fields = [
        (name, line)
        for name, line in zip(message.names, message.lines, strict=True)
        if not name.startswith((*_MIME, *_TRACE)) and name not in _NEVER
        if line.isascii()  # a clear-signed part is ASCII as a whole
    ]
    lines = [_closed(line) for _, line in fields]
    if hp is Hp.CIPHER:
        lines += [
            b"HP-Outer: " + _outside(name, line)
            for name, line in fields
            if name == b"subject" or name not in _HIDDEN
        ]
    marked = Message(entity.header).rewritten(
        "Content-Type", lambda value: value + f'; hp="{hp}"'.encode()
    )
    return Entity(b"".join((*lines, *map(_closed, marked.lines))), entity.body)


def veiled(message: Message) -> Message:
    """What stays outside of an encrypted mail whose fields are within."""
    hidden = message.without("Keywords", "Comments")
    return hidden.rewritten("Subject", lambda _: VEIL)


def _outside(name: bytes, line: bytes) -> bytes:
    closed = _closed(line)
    return b"Subject: " + VEIL + b"\r\n" if name == b"subject" else closed


def _closed(line: bytes) -> bytes:
    found = line.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return found if found.endswith(b"\n") else found + b"\r\n"


# reading


def within(content: bytes) -> Within:
    """What a layer held: the entity, and the fields that it protects, where it says so."""
    entity = Message(content)
    kind = content_type(entity.get("Content-Type"))
    if kind.type == "message/rfc822" and kind.parameter("forwarded") == "no":
        inner = Message(bytes(entity.body))
        return Within(inner, _fields(inner))
    if kind.parameter("hp") or kind.parameter("protected-headers") == "v1":
        return Within(entity, _fields(entity))
    return Within(entity)


def _fields(entity: Message) -> tuple[bytes, ...]:
    """Those that may be restored, one of a name: of two, none is what was meant; and none
    that a reader may take for several, or cannot take."""
    counted = Counter(entity.names)
    return tuple(
        _closed(line)
        for name, line in zip(entity.names, entity.lines, strict=True)
        if name in _RESTORED and counted[name] == 1 and is_clean(line)
    )


def restored(message: Message, found: Within) -> Message:
    """The mail with the fields that were protected in the place of those outside. From stays
    as it is: whoever reads the mail, and every check of it, goes by that."""
    for field in found.fields:
        message = message.replaced(field)
    return message


def differing(message: Message, found: Within) -> tuple[str, ...]:
    """Names of the fields that are not outside as they are within."""
    return tuple(
        name
        for name, value in map(_named, found.fields)
        if [one.split() for one in message.all(name)] != [value.split()]
    )


def is_another_author(message: Message, found: Within) -> bool:
    """Whether a From is protected that is not the one outside."""
    try:
        inside = [addresses(one) for one in found.entity.all("From")]
        return bool(inside) and inside != [addresses(one) for one in message.all("From")]
    except BadHeader:
        return True


def _named(field: bytes) -> tuple[str, bytes]:
    return field.partition(b":")[0].strip().lower().decode(), unfolded(field)
