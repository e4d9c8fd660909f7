"""What decisions read from header values: addresses of From, To and Cc, and the subject.

`addresses` gives what a mail program would act on, never what a display name, a comment or
an encoded word pretends to be. `decoded` reads unstructured text; `cut_subject` removes a
trigger from it and keeps what it does not touch.

Leaves finding fields to `wire.py`, encoded words to `words.py`, Content-Type and its
parameters to `parameters.py`, comparing addresses to `base/address.py`.
RFC 5322 §3.4 and §4.4, RFC 6854 (groups), RFC 6532. `addresses` raises `BadHeader`, the others
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .wire import Message
from .words import Piece, encode, fold, pieces

_ATOM: Final = r'[^\x00-\x20\x7f()<>\[\]:;@\\,."]+'
_PLAIN_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_ADDRESS: Final = rf"{_PLAIN_ATOM}(?:\.{_PLAIN_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
# What nearly every From looks like; all else takes the long way, with the same result.
_USUAL: Final = re.compile(
    rf"""(?:[\w \t.=?+/*!'-]*|"[^"\\\x00-\x1f]*"[ \t]*)<({_PLAIN_ADDRESS})>
    |({_PLAIN_ADDRESS})""",
    re.ASCII | re.VERBOSE,
)
_TOKEN: Final = re.compile(
    rf"""[ \t\r\n]+
    | (?P<a>{_ATOM})
    | "(?P<q>(?:[^"\\\x00\r\n]|\\[^\x00\r\n])*)"
    | (?P<l>\[[^\[\]\\\x00-\x1f]*\])
    | (?P<s>[<>@,;:.])
    | (?P<c>\()""",
    re.VERBOSE,
)
_COMMENT_PART: Final = re.compile(r"[^()\\]+|\\.|(?P<open>\()|(?P<close>\))", re.DOTALL)
# The grammar, over one letter a token: a atom, q quoted string, l domain literal.
_ADDRESS_SHAPE: Final = r"[aq](?:\.[aq])*@(?:a(?:\.a)*|l)"
_MAILBOX: Final = re.compile(
    rf"(?:[aql.@]*<(?:@[al.@,]*:)?({_ADDRESS_SHAPE})>|({_ADDRESS_SHAPE}))(?=[,;]|\Z)"
)
_GROUP: Final = re.compile(r"[aq.]+:")
_DOT_ATOM: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
LONGEST_LIST: Final = 1 << 17  # bytes of an address list
LONGEST_MATCHED: Final = 998  # characters of a subject; RFC 5322 §2.1.1
NO_LINE_ENDS: Final = bytes.maketrans(b"\r\n\v\f", b"    ")
_TO_ESCAPE: Final = re.compile(r'(["\\])')


class BadHeader(ValueError):
    """A header value that has no one reading; says what is wrong with it."""


def addresses(value: bytes) -> tuple[str, ...]:
    """The addresses of an address list, in order; display names, comments and group names
    are dropped. An empty list or group has none. Raises `BadHeader` when any part of the list
    cannot be read: part of a list is never taken for the whole."""
    if len(value) > LONGEST_LIST:
        raise BadHeader("a list of more addresses than are read")
    text = value.decode("utf-8", "surrogateescape")
    usual = _USUAL.fullmatch(text)
    if usual:
        return (usual[1] or usual[2],)
    tokens = list(_tokens(text))
    shape = "".join(kind for kind, _ in tokens)
    found, at, in_group = [], 0, False
    while at < len(shape):
        if shape[at] == "," or (shape[at] == ";" and in_group):
            in_group = in_group and shape[at] == ","
            at += 1
        elif mailbox := _MAILBOX.match(shape, at):
            start, end = mailbox.span(1 if mailbox[1] else 2)
            found.append(_address([text for _, text in tokens[start:end]], shape[start:end]))
            at = mailbox.end()
        elif not in_group and (group := _GROUP.match(shape, at)):
            in_group, at = True, group.end()
        else:
            raise BadHeader("an address list with a part that is no address")
    return tuple(found)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Letters of the grammar with the text they stand for; white space and comments drop."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadHeader(f"a character that no address list has: {text[at]!a}")
        at = match.end()
        kind = match.lastgroup
        if kind == "c":
            at = _comment_end(text, at)
        elif kind == "s":
            yield match["s"], match["s"]
        elif kind:
            yield kind, match[kind]


def _comment_end(text: str, at: int) -> int:
    depth = 1
    for part in _COMMENT_PART.finditer(text, at):
        depth += bool(part["open"]) - bool(part["close"])
        if depth == 0:
            return part.end()
    raise BadHeader("a comment that does not end")


def _address(parts: list[str], shape: str) -> str:
    middle = shape.rindex("@")
    local = "".join(
        _QUOTED_PAIR.sub(r"\1", part) if kind == "q" else part
        for part, kind in zip(parts[:middle], shape, strict=False)
    )
    if not _DOT_ATOM.fullmatch(local):
        local = '"' + _TO_ESCAPE.sub(r"\\\1", local) + '"'
    address = f"{local}@{''.join(parts[middle + 1 :])}"
    if not _is_text(address):
        raise BadHeader("an address that is not UTF-8")
    return address


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decoded(value: bytes) -> str:
    """Unstructured text with its encoded words read; what cannot be is replaced."""
    text = _text(pieces(value))
    if text.isascii() or _is_text(text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _text(found: list[Piece]) -> str:
    return "".join(piece.text for piece in found)


def cut_subject(message: Message, pattern: re.Pattern[str]) -> Message:
    """The message without what `pattern` matches in its decoded subject, in each of them where
    there are several. The very same message when there is no match."""

    def shortened(value: bytes) -> bytes:
        shorter = cut(value, pattern)
        if shorter == value:
            return value
        return fold(shorter.translate(NO_LINE_ENDS), message.newline)

    return message.rewritten("Subject", shortened)


def cut(value: bytes, pattern: re.Pattern[str]) -> bytes:
    """Unstructured text, unfolded, without what `pattern` matches in its decoded form, and
    without one of the blanks around that. Encoded words are only rewritten where a match
    reaches into them."""
    found = pieces(value)
    text = _text(found)
    matches = pattern.finditer(text, 0, LONGEST_MATCHED)
    spans = [_widened(text, *match.span()) for match in matches if match[0]]
    if not spans:
        return value
    wanted = _outside(text, 0, spans)
    shorter = b"".join(_pieces_outside(found, spans))
    # Encoded words that have come to stand side by side would swallow the blank between them.
    return shorter if _text(pieces(shorter)) == wanted else encode(wanted)


def _pieces_outside(found: list[Piece], spans: list[tuple[int, int]]) -> Iterator[bytes]:
    start = 0
    for piece in found:
        kept = _outside(piece.text, start, spans)
        start += len(piece.text)
        if kept == piece.text:
            yield piece.raw
        elif piece.is_encoded:
            yield encode(kept)
        else:
            yield kept.encode("utf-8", "surrogateescape")


def _outside(text: str, start: int, spans: list[tuple[int, int]]) -> str:
    """`text`, which begins at `start` of the whole, without what lies in `spans`."""
    kept, at = [], 0
    for first, last in spans:
        kept.append(text[at : max(first - start, 0)])
        at = max(last - start, at)
    return "".join((*kept, text[at:]))


def _widened(text: str, start: int, end: int) -> tuple[int, int]:
    if start == 0 or text[start - 1].isspace():
        while end < len(text) and text[end].isspace():
            end += 1
    if end == len(text):
        while start and text[start - 1].isspace():
            start -= 1
    return start, end
