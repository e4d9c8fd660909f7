"""Header fields that tell what was found in a mail, which nobody else can put there.

`cleaned` takes away what looks like ours and came from elsewhere: fields under our prefix,
Authentication-Results under our name that speak of S/MIME, and our tags in the subject. Then
`reported` puts in what is true. What is found is told by the caller (`flow/report.py`); values
cannot break out of their field. RFC 8601 §2.2, §5 (whose results are removed), RFC 7281 (S/MIME
results). Raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from .tags import tagged, untagged
from .wire import Message, unfolded

_RESULTS: Final = b"authentication-results"
_SMIME_METHOD: Final = re.compile(rb"(?i)(?:;|\A)\s*smime(?:\s*/\s*\d+)?\s*=")
_OUTSIDE: Final = re.compile(rb'[^"\\()]++|"(?:[^"\\]|\\.)*+"|\\.|[()]', re.DOTALL)
_IN_COMMENT: Final = re.compile(rb"[^\\()]++|\\.|[()]", re.DOTALL)
_AUTHSERV: Final = re.compile(rb"\s*([^\s;/]*)")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NO_TOKEN: Final = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`{|}~@:/-]")
_LONGEST: Final = 200  # characters of one value
MOST_READ: Final = 1 << 16  # bytes of all Authentication-Results of a mail
_HEADER_LEFT: Final = 1 << 20  # bytes behind a broken header that are looked through


def cleaned(
    message: Message, prefix: str, authserv_id: str, tags: Sequence[re.Pattern[str]]
) -> Message:
    """The mail without what could be taken for ours. The very same where there is nothing."""
    start = prefix.lower().encode()
    forged = _forged_results(message, authserv_id.lower().encode())
    unwanted = [
        number
        for number, name in enumerate(message.names)
        if name.startswith(start) or number in forged or _hides(message.lines[number], start)
    ]
    if unwanted:
        message = message.without_at(unwanted)
    if not message.border and _goes_on(message, start):
        message = message.ended()
    return untagged(message, tags)


def reported(message: Message, fields: Iterable[bytes], tags: Sequence[str]) -> Message:
    """The mail with whole fields before all others, and tags behind its subject."""
    for field in reversed(list(fields)):
        message = message.prepended(field)
    return tagged(message, tags) if tags else message


def info_field(
    name: str, first: str, values: Iterable[tuple[str, str]], newline: bytes
) -> bytes:
    """`Name: first; key=value; …`, folded, whole."""
    parts = [_text(first), *(f"{key}={quoted(value)}" for key, value in values if value)]
    return f"{name}: ".encode() + _joined(parts, newline) + newline


def results_field(authserv_id: str, results: Sequence[str], newline: bytes) -> bytes:
    """An Authentication-Results field with these results, each as `method=result …`."""
    parts = [authserv_id, *(results or ("none",))]
    return b"Authentication-Results: " + _joined(parts, newline) + newline


def quoted(value: str) -> str:
    """A value as a token where it is one, else as a quoted string in ASCII."""
    safe = _text(value)
    if safe and not _NO_TOKEN.search(safe):
        return safe
    escaped = safe.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(value: str) -> str:
    """On one line, ASCII, not too long."""
    text = _UNSAFE.sub(" ", value[: 2 * _LONGEST]).strip()
    text = text.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _joined(parts: Sequence[str], newline: bytes) -> bytes:
    return (b";" + newline + b"\t").join(part.encode("ascii", "replace") for part in parts)


def _hides(line: bytes, start: bytes) -> bool:
    """Whether a field has one of ours in it for readers that take a bare CR for a line end."""
    if b"\r" not in line[:-2]:
        return False
    pieces = line.lower().replace(b"\r\n", b"\n").split(b"\r")[1:]
    return any(piece.lstrip(b"\n").startswith((start, _RESULTS)) for piece in pieces)


def _goes_on(message: Message, start: bytes) -> bool:
    """Whether the header ends at a line that is none, and one of ours follows: there are
    readers that pass such a line over."""
    rest = bytes(message.body[:_HEADER_LEFT]).lower()
    head = rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n\n")[0]
    return any(line.startswith((start, _RESULTS)) for line in head.split(b"\n"))


def _forged_results(message: Message, host: bytes) -> set[int]:
    """Where Authentication-Results stand that tell of S/MIME in our name. Of more of them than
    are read, all that speak of S/MIME."""
    forged, left = set(), MOST_READ
    for number, name in enumerate(message.names):
        if name != _RESULTS:
            continue
        value = unfolded(message.lines[number])
        if not _speaks_of_smime(value):
            continue
        left -= len(value)
        if left < 0 or _is_forged(value, host):
            forged.add(number)
    return forged


def _speaks_of_smime(value: bytes) -> bool:
    return b"smime" in value.replace(b"\\", b"").lower()


def _is_forged(value: bytes, host: bytes) -> bool:
    """Whether a value that speaks of S/MIME does so in our name, as any reader may take it."""
    plain = without_comments(value)
    if plain is None:
        return True
    named = _AUTHSERV.match(plain)
    name = named[1].rstrip(b".").lower() if named else b""
    return name in {host.rstrip(b"."), b""} and bool(_SMIME_METHOD.search(plain))


def without_comments(value: bytes) -> bytes | None:
    """A structured value with a blank for each comment, without the quotes of a string that
    stands first, and with other quoted strings emptied; None where one of them does not end."""
    kept: list[bytes] = []
    at, depth, begun = 0, 0, False
    while at < len(value):
        token = (_IN_COMMENT if depth else _OUTSIDE).match(value, at)
        if token is None:
            return None
        at, text = token.end(), token[0]
        if text == b"(":
            depth += 1
        elif text == b")":
            depth -= 1
            if depth < 0:
                return None
            kept.append(b" ")
        elif not depth:
            if text.startswith(b'"'):
                text = b'""' if begun else text[1:-1].replace(b"\\", b"")
            begun = begun or bool(text.strip())
            kept.append(text)
    return None if depth else b"".join(kept)
