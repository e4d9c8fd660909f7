"""Where the parts of a multipart lie: spans between boundary lines, nothing copied.

A part is its header, read like that of a mail, and the place of its body among the bytes of
the whole: a body is not copied, however deep it stands.

RFC 2046 §5.1.1. Reading is lenient as mail programs are: bare LF ends a line too, a missing
last boundary ends with the body; no boundary line means no parts. Raises `BadParts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from .wire import HEADER_WINDOW, HeaderTooLarge, Message

MOST_LINES: Final = 10_000  # that begin like the boundary, in one multipart

_BLANK: Final = b" \t"


class BadParts(ValueError):
    """Parts that would cost too much to read: too many, or with too large a header."""


class Span(NamedTuple):
    """Part of a body: `data[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """A mail or one of its parts: its header, and `data[body.start:body.end]`."""

    head: Message
    data: bytes
    body: Span

    @classmethod
    def of(cls, message: Message) -> Part:
        """A mail as a part."""
        return cls(message, message.data, Span(message.body_at, len(message.data)))

    @classmethod
    def at(cls, data: bytes, span: Span) -> Part:
        """The part that `data[start:end]` is. Raises `BadParts`."""
        start, end = span
        window = Message(data[start : min(end, start + HEADER_WINDOW)])
        try:
            return cls(window.emptied(), data, Span(start + window.body_at, end))
        except HeaderTooLarge as error:
            raise BadParts(error.public) from None

    @property
    def content(self) -> memoryview:
        """The body, not copied."""
        return memoryview(self.data)[self.body.start : self.body.end]

    def spans(self, boundary: str, lines: Iterator[object] | None = None) -> Iterator[Span]:
        """Where the parts of this multipart lie, see `part_spans`. Raises `BadParts`."""
        return part_spans(self.data, self.body, boundary, lines)


def part_spans(
    data: bytes, body: Span, boundary: str, lines: Iterator[object] | None = None
) -> Iterator[Span]:
    """The parts of a multipart with this body, one after the other. `lines`: has one item for
    each line that may be looked at; several multiparts can share it. Raises `BadParts`."""
    if not boundary:
        return
    lines = iter(range(MOST_LINES)) if lines is None else lines
    marker = b"--" + boundary.encode("utf-8", "replace")
    opened = -1
    for line_start, line_end, closes in _boundary_lines(data, body, marker, lines):
        if opened >= 0:
            yield Span(opened, max(opened, _before_line_end(data, line_start)))
        if closes:
            return
        opened = line_end
    if opened >= 0:
        yield Span(opened, body.end)


def _boundary_lines(
    data: bytes, body: Span, marker: bytes, lines: Iterator[object]
) -> Iterator[tuple[int, int, bool]]:
    start, end = body
    at = start if data.startswith(marker, start, end) else _next(data, marker, start, end)
    for _ in lines:
        if at < 0:
            return
        behind = at + len(marker)
        line_end = data.find(b"\n", behind, end) + 1 or end
        rest = data[behind:line_end].rstrip(b"\r\n").rstrip(_BLANK)
        if rest in {b"", b"--"}:
            yield at, line_end, rest == b"--"
        at = _next(data, marker, line_end - 1, end)
    raise BadParts("too many parts")


def _next(data: bytes, marker: bytes, start: int, end: int) -> int:
    """Where the next line that begins with `marker` begins, or -1."""
    at = data.find(b"\n" + marker, start, end)
    return at + 1 if at >= 0 else -1


def _before_line_end(data: bytes, at: int) -> int:
    """Where the line end before `at` begins: it belongs to the boundary, not to the part."""
    if at > 0 and data[at - 1] == 0x0A:
        at -= 1
        if at > 0 and data[at - 1] == 0x0D:
            at -= 1
    return at
