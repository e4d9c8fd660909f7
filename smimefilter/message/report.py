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
    ]
    if unwanted:
        message = message.without_at(unwanted)
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
