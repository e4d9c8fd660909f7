"""A mail as the bytes it came in: header fields as they stand, and the body left alone.

`Message(raw)` looks at the header block only. An edit makes a new message that differs in the
named field and shares the body with the old one; without an edit the bytes that come out are
those that went in. A MIME part has the same form and is read by the same class.

Reading is as lenient as mail programs are: lines end with CRLF or bare LF; a first line
`From ` (mbox) is kept and is no field; the header block ends at a blank line, or before the
first line that is neither a field nor the continuation of one, or with the bytes. Nothing is
decoded here: what names and values mean is `headers.py` and `mime.py`.

A header block beyond `LARGEST_HEADER` or `MOST_FIELDS` is not read any further than that:
`raw`, `chunks` and the length are there, all else raises `HeaderTooLarge` when it is asked
for. RFC 5322 §2.2 and §4.5 (white space before the colon), RFC 6532. Reading raises nothing
besides; an edit raises `ValueError` for bytes that would break out of their field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import ClassVar, Final, NoReturn

from smimefilter.base.errors import MailError, Status

Chunk = bytes | memoryview

LARGEST_HEADER: Final = 1 << 20  # bytes, the blank line not counted
MOST_FIELDS: Final = 10_000
HEADER_WINDOW: Final = LARGEST_HEADER + 3
"""Bytes of a part that are enough to read its header as that of the whole part."""

# A field with its continuation lines and its name in it; or else all that is left.
_FIELD: Final = re.compile(rb"(([!-9;-~]+)[ \t]*:[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z))|(?s:.+)")
_CUT_NAME: Final = re.compile(rb"[!-9;-~]+[ \t]*\Z")  # may yet become a field
_BREAKS_OUT: Final = re.compile(rb"\n(?![ \t])|\r(?!\n)")
_MBOX: Final = re.compile(rb"From (?![ \t]*:)")
_UNCLEAN: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
LONGEST_LINE: Final = 998  # octets; RFC 5322 §2.1.1
_WHITE: Final = b" \t\r\n"


class HeaderTooLarge(MailError):
    """A header block that no mail needs, and that would cost too much to read."""

    status: ClassVar[Status] = Status(5, "3.4")
    public: ClassVar[str] = "the header of this message is too large"


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
        end, is_cut = _block_end(raw)
        if raw.count(b"\n", 0, end) > MOST_FIELDS and _has_too_many(raw, end):
            return  # all else stays unset, see __getattr__
        lines, names, stop = _scan(raw, end)
        if is_cut and (stop == end or _CUT_NAME.match(raw, stop, end)):
            return
        self.lines, self.names, self.border = lines, names, b""
        if stop == end:
            self.border = b"\r\n" if raw.startswith(b"\r\n", end) else raw[end : end + 1]
        self.data, self.body_at = raw, stop + len(self.border)

    def __getattr__(self, name: str) -> NoReturn:
        """Only asked for what was never set: a header too large to be read."""
        if name in self.__slots__:
            raise HeaderTooLarge
        raise AttributeError(name)

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
        if self.original is not None:
            return len(self.original)
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

    def emptied(self) -> Message:
        """The message without its body, which is let go."""
        edited = self._edited(self.lines, self.names)
        edited.data, edited.body_at = b"", 0
        return edited

    def without(self, *names: str) -> Message:
        """The message without all fields of these names."""
        unwanted = {name.lower().encode() for name in names}
        return self.without_at([i for i, name in enumerate(self.names) if name in unwanted])

    def without_at(self, places: Sequence[int]) -> Message:
        """The message without the fields at these places."""
        if not places:
            return self
        gone = set(places)
        kept = [i for i in range(len(self.names)) if i not in gone]
        return self._edited([self.lines[i] for i in kept], [self.names[i] for i in kept])

    def ended(self) -> Message:
        """The message with a blank line behind its header, where it has none."""
        edited = self._edited(self.lines, self.names)
        edited.border = edited.border or self.newline
        return edited

    def rewritten(self, name: str, change: Callable[[bytes], bytes]) -> Message:
        """The message with all fields of this name as `change` makes them: from the value,
        unfolded, to the new one, folded or not. The very same message where none changes."""
        wanted = name.lower().encode()
        lines = list(self.lines)
        for at, (own, line) in enumerate(zip(self.names, self.lines, strict=True)):
            if own != wanted:
                continue
            old = unfolded(line)
            new = change(old)
            if new == old:
                continue
            if _BREAKS_OUT.search(new):
                raise ValueError("a value cannot hold a line that does not continue it")
            lines[at] = line.partition(b":")[0] + b": " + new + self.newline
        return self if lines == self.lines else self._edited(lines, self.names)

    def prepended(self, line: bytes) -> Message:
        """The message with one whole field, line end included, before all others."""
        at = 1 if self.names and not self.names[0] else 0
        return self._inserted(at, _name_of(line), line)

    def replaced(self, line: bytes) -> Message:
        """The message with one whole field, line end included, in the place of the first one
        of its name, and without the others; behind all others where there was none."""
        name = _name_of(line)
        places = [at for at, own in enumerate(self.names) if own == name]
        rest = self.without_at(places)
        return rest._inserted(places[0] if places else len(rest.names), name, line)  # noqa: SLF001

    def _inserted(self, at: int, name: bytes, line: bytes) -> Message:
        return self._edited(
            [*self.lines[:at], line, *self.lines[at:]],
            [*self.names[:at], name, *self.names[at:]],
        )


def _name_of(line: bytes) -> bytes:
    match = _FIELD.fullmatch(line)
    if not match or not match[2] or not line.endswith(b"\n"):
        raise ValueError("what is put into a header is one whole field")
    return match[2].lower()


def is_clean(line: bytes) -> bool:
    """Whether a whole field has neither control characters, a bare CR among them, nor a line
    that is too long."""
    return not _UNCLEAN.search(line) and max(map(len, line.split(b"\n"))) <= LONGEST_LINE


def hides(message: Message, name: bytes) -> bool:
    """Whether a field of this name stands behind a bare CR in another one, which some readers
    take for the end of a line."""
    for line in message.lines:
        if b"\r" in line[:-2]:
            pieces = line.replace(b"\r\n", b"\n").split(b"\r")[1:]
            starts = (piece.lstrip(b"\n").lower() for piece in pieces)
            if any(one.partition(b":")[0].rstrip(b" \t") == name for one in starts):
                return True
    return False


def unfolded(line: bytes) -> bytes:
    """The value of a whole field, on one line, without the white space around it."""
    value = line.partition(b":")[2]
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(_WHITE)


def _block_end(raw: bytes) -> tuple[int, bool]:
    """Where the first blank line begins, or else the bytes end; and whether that was not
    found within the largest header, which is cut off there then."""
    if raw.startswith((b"\r\n", b"\n")):
        return 0, False
    crlf = raw.find(b"\n\r\n", 0, LARGEST_HEADER + 2) + 1
    bare = raw.find(b"\n\n", 0, crlf or LARGEST_HEADER + 1) + 1
    end = bare or crlf or len(raw)
    return min(end, LARGEST_HEADER), end > LARGEST_HEADER


def _scan(raw: bytes, end: int) -> tuple[list[bytes], list[bytes], int]:
    """Lines and names of the fields before `end`, and where the last one ends."""
    stop = 0
    lines, names = [], []
    if _MBOX.match(raw):
        stop = raw.find(b"\n", 0, end) + 1 or end
        lines, names = [raw[:stop]], [b""]
    for line, name in _FIELD.findall(raw, stop, end):
        if not name:
            return lines, names, sum(map(len, lines))
        lines.append(line)
        names.append(name.lower())
    return lines, names, end


def _has_too_many(raw: bytes, end: int) -> bool:
    """Whether more fields stand before `end` than are read; a folded one counts as one."""
    start = raw.find(b"\n", 0, end) + 1 if _MBOX.match(raw) else 0
    beyond = islice(_FIELD.finditer(raw, start, end), MOST_FIELDS, MOST_FIELDS + 1)
    return any(match[2] for match in beyond)
