"""OpenPGP in ASCII armour: whether it is what it is said to be, looked at from outside.

A block has to be alone: from its BEGIN to its END line, nothing but the few lines of its own
header, base64 and a checksum. Its packets have to fill it, and to be those of an encrypted
message or of a detached signature: what is merely armoured reads `PGP MESSAGE` as well.

Nothing is decrypted or verified, and the checksum is not computed.
RFC 9580 §4.2 (packets), §6.2 (armour), §10.3 (messages). Raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .lines import from_base64

_BEGIN: Final = re.compile(
    rb"""\s*+-----BEGIN\ PGP\ (MESSAGE|SIGNATURE)-----[ \t]*\r?\n
    (?:(?:Version|Comment|MessageID|Hash|Charset):\ ?[^\r\n]{0,200}\r?\n){0,8}[ \t]*\r?\n""",
    re.VERBOSE,
)
_END: Final = re.compile(
    rb"\n(?:=[A-Za-z0-9+/]{4}[ \t]*\r?\n)?-----END PGP (MESSAGE|SIGNATURE)-----\s*+\Z"
)
_FRAME: Final = 4096  # bytes within which the first and the last lines have to stand
_MOST_CHUNKS: Final = 100_000

_SIGNATURE: Final = 2
_SESSION_KEYS: Final = frozenset({1, 3})  # for a public key, for a passphrase
_ENCRYPTED: Final = frozenset({9, 18, 20})
_IDLE: Final = frozenset({10, 21})  # marker, padding


def is_encrypted_message(armoured: memoryview) -> bool:
    """Whether this is one armoured message, encrypted as a whole, and nothing else."""
    tags = _tags(armoured, b"MESSAGE")
    if not tags or tags[-1] not in _ENCRYPTED:
        return False
    return bool(_SESSION_KEYS & set(tags)) and set(tags[:-1]) <= _SESSION_KEYS


def is_detached_signature(armoured: memoryview) -> bool:
    """Whether these are one or more signatures, armoured, and nothing else."""
    return set(_tags(armoured, b"SIGNATURE")) == {_SIGNATURE}


def _tags(armoured: memoryview, label: bytes) -> list[int]:
    """The packets by their tags, idle ones left out; none for what is no such block."""
    try:
        data = _unarmoured(armoured, label)
        return [tag for tag in _packets(data) if tag not in _IDLE]
    except (ValueError, IndexError):
        return []


def _unarmoured(view: memoryview, label: bytes) -> bytearray:
    begin = _BEGIN.match(bytes(view[:_FRAME]))
    tail = bytes(view[-_FRAME:])
    end = _END.search(tail)
    if not begin or not end or not label == begin[1] == end[1]:
        raise ValueError("no such block")
    return from_base64(view[begin.end() : len(view) - len(tail) + end.start()])


def _packets(data: bytearray) -> Iterator[int]:
    """The tags of packets that fill `data`. Raises `IndexError` or `ValueError`."""
    at = 0
    while at < len(data):
        first = data[at]
        if first < 0x80:
            raise ValueError("no packet")
        if first & 0x40:
            yield first & 0x3F
            at = _after_chunks(data, at + 1)
        else:
            yield first >> 2 & 0x0F
            octets = 1 << (first & 3)
            if octets == 8:  # of no stated length
                return
            at += 1 + octets + _number(data, at + 1, octets)
    if at != len(data):
        raise ValueError("a packet is cut off")


def _after_chunks(data: bytearray, at: int) -> int:
    """Where a packet ends whose length, in the newer form, begins at `at`."""
    for _ in range(_MOST_CHUNKS):
        first = data[at]
        if first < 192:
            return at + 1 + first
        if first < 224:
            return at + 2 + (first - 192 << 8) + data[at + 1] + 192
        if first == 255:
            return at + 5 + _number(data, at + 1, 4)
        at += 1 + (1 << (first & 0x1F))
    raise ValueError("too many chunks")


def _number(data: bytearray, at: int, octets: int) -> int:
    return int.from_bytes(data[at : at + octets], "big")
