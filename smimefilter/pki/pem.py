"""PEM armour as it is met in files: text around it, any line ends, headers within.

Leaves what a block means to `keyfile.py`. RFC 7468, RFC 1421 §4.6 (headers). Raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_ARMOUR: Final = re.compile(rb"(?:^|(?<=[\r\n]))[ \t]*-----(BEGIN|END) ([^\r\n]{1,80}?)-----")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\s]++=*+\s*+")


def plain_text(data: bytes) -> bytes:
    """A text as some editors save it, without byte order mark and in one-byte units."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace").encode("utf-8", "replace")
    return data.removeprefix(b"\xef\xbb\xbf")


def is_base64(text: bytes) -> bool:
    """Whether it is base64 alone, without armour."""
    return _BASE64.fullmatch(text) is not None


def blocks(text: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Label and inside of every armoured block; None for the inside of one that has no end."""
    begun: re.Match[bytes] | None = None
    for line in _ARMOUR.finditer(text):
        if begun and line[1] == b"END" and line[2] == begun[2]:
            yield _label(begun), text[begun.end() : line.start()]
            begun = None
        elif line[1] == b"BEGIN":
            if begun:
                yield _label(begun), None
            begun = line
    if begun:
        yield _label(begun), None


def without_headers(block: bytes) -> bytes:
    """The inside of a block without `Name: value` lines before an empty line."""
    head, gap, body = block.strip().replace(b"\r\n", b"\n").partition(b"\n\n")
    return body if gap and b":" in head else block


def _label(line: re.Match[bytes]) -> str:
    return line[2].decode("ascii", "replace")
