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

from .headers import NO_LINE_ENDS, cut_subject, decoded
from .wire import Message, unfolded
from .words import encode, fold

_RESULTS: Final = b"authentication-results"
_SMIME_METHOD: Final = re.compile(rb"(?i)(?:;|\A)\s*smime(?:\s*/\s*\d+)?\s*=")
_COMMENT: Final = re.compile(rb"\((?:[^()\\]|\\.)*\)")
_AUTHSERV: Final = re.compile(rb"""\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))""")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NO_TOKEN: Final = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`{|}~@:/-]")
_LONGEST: Final = 200  # characters of one value
_HEADER_LEFT: Final = 1 << 16  # bytes behind a broken header that are looked through
_NESTED: Final = 8  # comments in comments that are looked through


def cleaned(
    message: Message, prefix: str, authserv_id: str, tags: Sequence[re.Pattern[str]]
) -> Message:
    """The mail without what could be taken for ours. The very same where there is nothing."""
    start = prefix.lower().encode()
    host = authserv_id.lower().encode()
    unwanted = [
        number
        for number, name in enumerate(message.names)
        if name.startswith(start)
        or (name == _RESULTS and _is_forged(unfolded(message.lines[number]), host))
        or _hides(message.lines[number], start)
    ]
    if unwanted:
        message = message.without_at(unwanted)
    if not message.border and _goes_on(message, start):
        message = message.ended()
    for tag in tags:
        message = cut_subject(message, tag)
    return message


def reported(message: Message, fields: Iterable[bytes], tags: Sequence[str]) -> Message:
    """The mail with whole fields before all others, and tags behind its subject."""
    for field in reversed(list(fields)):
        message = message.prepended(field)
    return tagged(message, tags) if tags else message


def tagged(message: Message, tags: Sequence[str]) -> Message:
    """The mail with tags behind its subject, which it gets where it has none."""
    said = " ".join(tags)
    if message.get("Subject") is None:
        return message.prepended(b"Subject: " + encode(said) + message.newline)

    def longer(value: bytes) -> bytes:
        value = value.translate(NO_LINE_ENDS)  # a bare CR may stand in it
        text = encode(said)
        joint = b" "
        if text.startswith(b"=?") and value.endswith(b"?="):
            return fold(encode(f"{decoded(value)} {said}"), message.newline)
        return fold(value + joint + text if value else text, message.newline)

    return message.rewritten("Subject", longer)


def tag_pattern(tag: str, hole: str) -> re.Pattern[str]:
    """What looks like a tag of this form to a reader; `hole` stands for any text in it."""
    words = (re.escape(word) for word in tag.split())
    form = r"\s+".join(words) if tag.strip() else r"(?!)"
    return re.compile(form.replace(re.escape(hole), r"[^\[\]]*"), re.IGNORECASE)


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
    short = _UNSAFE.sub(" ", value).strip()
    short = short if len(short) <= _LONGEST else short[: _LONGEST - 3] + "..."
    return short.encode("ascii", "backslashreplace").decode("ascii")


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


def _is_forged(value: bytes, host: bytes) -> bool:
    """Whether it tells of S/MIME in our name, as any reader may take it."""
    for _ in range(_NESTED):
        value, changed = _COMMENT.subn(b" ", value)
        if not changed:
            break
    named = _AUTHSERV.match(value)
    if named is None:
        return bool(_SMIME_METHOD.search(value))
    name = (named[1] or named[2] or b"").replace(b"\\", b"").lower()
    return name == host and bool(_SMIME_METHOD.search(value, named.end()))
