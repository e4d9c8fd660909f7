"""Where the parts of a multipart lie: spans between boundary lines, nothing copied.

RFC 2046 §5.1.1. Reading is lenient as mail programs are: bare LF ends a line too, a missing
last boundary ends with the body. Raises nothing; no boundary line means no parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_BLANK = b" \t"


class Span(NamedTuple):
    """Part of a body: `data[start:end]`."""

    start: int
    end: int


def part_spans(data: bytes, start: int, boundary: str) -> Iterator[Span]:
    """The parts of the multipart body `data[start:]`, one after the other."""
    if not boundary:
        return
    marker = b"--" + boundary.encode("utf-8", "surrogateescape")
    opened = -1
    for line_start, line_end, closes in _boundary_lines(data, start, marker):
        if opened >= 0:
            yield Span(opened, max(opened, _before_line_end(data, line_start)))
        if closes:
            return
        opened = line_end
    if opened >= 0:
        yield Span(opened, len(data))


def _boundary_lines(data: bytes, start: int, marker: bytes) -> Iterator[tuple[int, int, bool]]:
    at = data.find(marker, start)
    while at >= 0:
        behind = at + len(marker)
        if at == start or data[at - 1] == 0x0A:
            line_end = data.find(b"\n", behind) + 1 or len(data)
            rest = data[behind:line_end].rstrip(b"\r\n").rstrip(_BLANK)
            if rest in {b"", b"--"}:
                yield at, line_end, rest == b"--"
        at = data.find(marker, behind)


def _before_line_end(data: bytes, at: int) -> int:
    """Where the line end before `at` begins: it belongs to the boundary, not to the part."""
    if at > 0 and data[at - 1] == 0x0A:
        at -= 1
        if at > 0 and data[at - 1] == 0x0D:
            at -= 1
    return at
