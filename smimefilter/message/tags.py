"""Tags in the subject: put there, and taken away where somebody else put them.

A tag is text for people, so what counts is what any reader may show: `untagged` reads encoded
words wherever they stand and in whatever charset, and passes over characters that cannot be
seen. What a reader could take for a tag is cut out as gently as can be; where that does not
do, the subject is written anew as plain text without brackets. Raises nothing.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from .charsets import text_in
from .headers import NO_LINE_ENDS, cut, decoded
from .wire import Message
from .words import encode, fold

LONGEST: Final = 4096  # characters of a subject; what is longer is cut off there
MOST_SUBJECTS: Final = 4  # in one mail, which may have one; others are taken out

_ROUNDS: Final = 8  # a tag cut out may leave another one behind
_WORD: Final = re.compile(rb"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
_BEGUN: Final = re.compile(rb"=\?[^?\s]+\?[bBqQ]\?")  # and not ended, or not as it should be
_BETWEEN: Final = re.compile(rb"(\?=)[ \t\r\n]+(?==\?)")
_NO_CHARSETS: Final = frozenset(
    {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
)
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]"
)
_MOST_MARKS: Final = 30  # that follow one another; UAX #15 §14.1
_BRACKETS: Final = str.maketrans("[]", "()")


def tag_pattern(tag: str, hole: str) -> re.Pattern[str]:
    """What looks like a tag of this form to a reader. `hole` stands for any text in it, but
    for the brackets that the tag stands in."""
    words = (re.escape(word) for word in tag.split())
    form = r"\s+".join(words) if tag.strip() else r"(?!)"
    brackets = re.escape(tag.strip()[:1] + tag.strip()[-1:])
    return re.compile(form.replace(re.escape(hole), f"[^{brackets}]*"), re.IGNORECASE)


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


def untagged(message: Message, tags: Sequence[re.Pattern[str]]) -> Message:
    """The mail without what a reader may take for one of these tags in its subject. The very
    same where there is nothing of the kind."""
    if not tags:
        return message
    places = [at for at, name in enumerate(message.names) if name == b"subject"]
    message = message.without_at(places[MOST_SUBJECTS:])

    def without(value: bytes) -> bytes:
        if not _may_show(value, tags):
            return value
        shorter = value
        for _ in range(_ROUNDS):
            before = shorter
            for tag in tags:
                shorter = cut(shorter, tag)
            if shorter == before:
                break
        if _may_show(shorter, tags):
            shorter = encode(_bare(value, tags))
        return fold(shorter.translate(NO_LINE_ENDS), message.newline)

    return message.rewritten("Subject", without)


def _may_show(value: bytes, tags: Sequence[re.Pattern[str]]) -> bool:
    """Whether some reader shows one of the tags, as far as that can be known."""
    text = _shown(value)
    return text is None or len(text) > LONGEST or any(tag.search(text) for tag in tags)


def _bare(value: bytes, tags: Sequence[re.Pattern[str]]) -> str:
    """The text as all readers will show it, and none of the tags in it."""
    text = (_shown(value, lenient=True) or "")[:LONGEST].translate(_BRACKETS)
    for _ in range(_ROUNDS):
        for tag in tags:
            text = tag.sub(" ", text)
    left = any(tag.search(text) for tag in tags)
    return "" if left else " ".join(text.split())


def _shown(value: bytes, *, lenient: bool = False) -> str | None:
    """What a reader may show of an unfolded value: encoded words read wherever they stand,
    nothing unseen in it. None where it depends on the reader, unless `lenient`."""
    value = _BETWEEN.sub(rb"\1", value[: 4 * LONGEST])
    text, at = "", 0
    for word in _WORD.finditer(value):
        between = value[at : word.start()]
        read = _read(*word.groups())
        if not lenient and (read is None or _BEGUN.search(between)):
            return None
        text += between.decode("utf-8", "replace") + ("\ufffd" if read is None else read)
        at = word.end()
    if _BEGUN.search(value, at) and not lenient:
        return None
    return _seen(text + value[at:].decode("utf-8", "replace"))


def _read(charset: bytes, encoding: bytes, text: bytes) -> str | None:
    name = charset.partition(b"*")[0].decode("ascii", "replace")
    try:
        if encoding in b"qQ":
            octets = binascii.a2b_qp(text, header=True)
        else:
            octets = binascii.a2b_base64(text + b"==")
    except binascii.Error:
        return None
    known = text_in(name, octets)
    if known is not None:
        return known
    if name.lower().replace("-", "_") in _NO_CHARSETS or len(octets) > LONGEST:
        return None
    try:
        return octets.decode(name, "replace")
    except (LookupError, ValueError):
        return None


def _seen(text: str) -> str:
    """Compatible forms made one (NFKC), white space one blank, and nothing invisible."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    spaced = " ".join(unicodedata.normalize("NFKC", _with_few_marks(text)).split())
    kept = (one for one in spaced if unicodedata.category(one) not in {"Cf", "Cc"})
    return _UNSEEN.sub("", "".join(kept))


def _with_few_marks(text: str) -> str:
    """Without what follows on many combining marks: to put those in order takes time that
    grows with their square."""
    kept, marks = [], 0
    for one in text:
        marks = marks + 1 if unicodedata.combining(one) else 0
        if marks <= _MOST_MARKS:
            kept.append(one)
    return "".join(kept)
