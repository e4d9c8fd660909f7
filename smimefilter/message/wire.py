"""A mail as the bytes it came in: header fields as they stand, and the body left alone.

`Message(raw)` looks at the header block only. An edit makes a new message that differs in the
named field and shares the body with the old one; without an edit the bytes that come out are
those that went in. A MIME part has the same form and is read by the same class.

Reading is as lenient as mail programs are: lines end with CRLF or bare LF; a first line
`From ` (mbox) is kept and is no field; the header block ends at a blank line, or before the
first line that is neither a field nor the continuation of one, or with the bytes. Nothing is
decoded here: what names and values mean is `headers.py` and `mime.py`.

RFC 5322 §2.2 and §4.5 (white space before the colon), RFC 6532. Reading raises nothing; an
edit raises `ValueError` for bytes that would break out of their field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

Chunk = bytes | memoryview

# A field with its continuation lines and its name in it; or else all that is left.
_FIELD: Final = re.compile(rb"(([!-9;-~]+)[ \t]*:[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z))|(?s:.+)")
_BREAKS_OUT: Final = re.compile(rb"\n(?![ \t])|\r(?!\n)")
_MBOX: Final = b"From "
_WHITE: Final = b" \t\r\n"


class Message:
    """One mail, or one MIME part. Names of fields are given in any case."""

    __slots__ = ("body_at", "border", "data", "lines", "names", "original")

    original: bytes | None  # what it was made of; None once it is edited
    lines: Sequence[bytes]  # the header block: whole fields, line ends included
    names: Sequence[bytes]  # the name of each, in lower case; empty for an mbox line
    border: bytes  # the blank line, or nothing where there is none
    data: bytes  # bytes that hold the body from `body_at` to their end
    body_at: int

    def __init__(self, raw: bytes) -> None:
        self.original = raw
        end = _blank_line(raw)
        self.lines, self.names, stop = _scan(raw, end)
        self.border = b""
        if stop == end:
            self.border = b"\r\n" if raw.startswith(b"\r\n", end) else raw[end : end + 1]
        self.data, self.body_at = raw, stop + len(self.border)

    def _edited(self, lines: Sequence[bytes], names: Sequence[bytes]) -> Message:
        edited = Message.__new__(Message)
        edited.original = None
        edited.lines, edited.names = lines, names
        edited.border, edited.data, edited.body_at = self.border, self.data, self.body_at
        return edited

    # reading

    @property
    def raw(self) -> bytes:
        """All bytes; of an edited message they are joined anew with each call."""
        return self.original if self.original is not None else b"".join(self.chunks)

    @property
    def chunks(self) -> list[bytes]:
        """All bytes, the body not copied where nothing was edited."""
        if self.original is not None:
            return [self.original]
        return [b"".join((*self.lines, self.border)), self.data[self.body_at :]]

    @property
    def body(self) -> memoryview:
        """What follows the blank line, not copied."""
        return memoryview(self.data)[self.body_at :]

    def __len__(self) -> int:
        body = len(self.data) - self.body_at
        return sum(map(len, self.lines)) + len(self.border) + body

    @property
    def newline(self) -> bytes:
        """The line end of the header block, as its first line has it; else CRLF."""
        bare = self.lines and self.lines[0].endswith(b"\n") and b"\r\n" not in self.lines[0]
        return b"\n" if bare else b"\r\n"

    def get(self, name: str) -> bytes | None:
        """The value of the first field of this name, unfolded, or None."""
        try:
            return unfolded(self.lines[self.names.index(name.lower().encode())])
        except ValueError:
            return None

    def all(self, name: str) -> list[bytes]:
        """The values of all fields of this name, unfolded, in order."""
        wanted = name.lower().encode()
        found = zip(self.names, self.lines, strict=True)
        return [unfolded(line) for own, line in found if own == wanted]

    # editing

    def without(self, *names: str) -> Message:
        """The message without all fields of these names."""
        unwanted = {name.lower().encode() for name in names}
        kept = [i for i, name in enumerate(self.names) if name not in unwanted]
        if len(kept) == len(self.names):
            return self
        return self._edited([self.lines[i] for i in kept], [self.names[i] for i in kept])

    def replaced(self, name: str, value: bytes) -> Message:
        """The message with a new value, folded or not, in the first field of this name.
        Raises `KeyError` where there is none."""
        if _BREAKS_OUT.search(value):
            raise ValueError("a value cannot hold a line that does not continue it")
        try:
            at = self.names.index(name.lower().encode())
        except ValueError:
            raise KeyError(name) from None
        spelt = self.lines[at].partition(b":")[0]
        line = spelt + b": " + value + self.newline
        return self._edited([*self.lines[:at], line, *self.lines[at + 1 :]], self.names)

    def prepended(self, line: bytes) -> Message:
        """The message with one whole field, line end included, before all others."""
        match = _FIELD.fullmatch(line)
        if not match or not match[2] or not line.endswith(b"\n"):
            raise ValueError("what is put into a header is one whole field")
        at = 1 if self.names and not self.names[0] else 0
        return self._edited(
            [*self.lines[:at], line, *self.lines[at:]],
            [*self.names[:at], match[2].lower(), *self.names[at:]],
        )


def unfolded(line: bytes) -> bytes:
    """The value of a whole field, on one line, without the white space around it."""
    value = line.partition(b":")[2]
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(_WHITE)


def _blank_line(raw: bytes) -> int:
    """Where the first blank line begins, or the length where there is none."""
    if raw.startswith((b"\r\n", b"\n")):
        return 0
    crlf = raw.find(b"\n\r\n") + 1
    bare = raw.find(b"\n\n", 0, crlf or len(raw)) + 1
    return bare or crlf or len(raw)


def _scan(raw: bytes, end: int) -> tuple[list[bytes], list[bytes], int]:
    """Lines and names of the fields before `end`, and where the last one ends."""
    stop = 0
    lines, names = [], []
    if raw.startswith(_MBOX):
        stop = raw.find(b"\n", 0, end) + 1 or end
        lines, names = [raw[:stop]], [b""]
    for line, name in _FIELD.findall(raw, stop, end):
        if not name:
            return lines, names, sum(map(len, lines))
        lines.append(line)
        names.append(name.lower())
    return lines, names, end
