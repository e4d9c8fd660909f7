"""Many requests in one CSV file: what a row asks for, and what is wrong with it. Pure.

The first row names the columns, by any of their names. Text is US-ASCII unless a byte order
mark says otherwise (UTF-8, UTF-16). What is wrong is told with row and column, all of it at
once, and then nothing of the file is asked for. Rows are counted as editors do, blank lines
among them. RFC 4180. Raises `BadCsv`.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.suggest import did_you_mean

MOST_ROWS: Final = 10_000
MOST_COLUMNS: Final = 32
LONGEST: Final = 256  # characters of a value
LARGEST: Final = 64 << 20  # octets of a file
_TOLD: Final = 20  # mistakes

COLUMNS: Final = {
    "address": ("EMAIL", "e"),
    "organisation": ("ORGANISATION", "org", "o"),
    "common_name": ("COMMONNAME", "cn"),
    "given_name": ("FIRSTNAME", "fn", "givenname", "gn"),
    "surname": ("LASTNAME", "ln", "surname", "sn"),
}
_BY_NAME: Final = {
    alias.lower(): field for field, aliases in COLUMNS.items() for alias in aliases
}
_NAMES: Final = {field: aliases[0] for field, aliases in COLUMNS.items()}
_NEEDED: Final = ("address", "common_name")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class BadCsv(ValueError):
    """A file that asks for nothing that could be done; a line for each mistake."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        found = list(mistakes)
        more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
        super().__init__("\n".join((*found[:_TOLD], *more)))


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a file."""

    number: int  # of the line that it begins in, from 1
    address: str  # key
    common_name: str
    organisation: str = ""
    given_name: str = ""
    surname: str = ""


def read_rows(content: bytes) -> list[Row]:
    """The rows of a file. Raises `BadCsv`."""
    if len(content) > LARGEST:
        raise BadCsv([f"larger than {LARGEST >> 20} MiB"])
    text, wide = _text(content)
    lines = _lines(text)
    if not lines:
        raise BadCsv(["no row: the first one names the columns"])
    (first, names), *rest = lines
    if wide and (strange := list(_strange(lines))):
        raise BadCsv(strange)
    fields = _fields(first, names)
    mistakes: list[str] = []
    seen: dict[str, int] = {}
    found = [
        row
        for number, values in rest
        if (row := _row(number, values, fields, mistakes, seen)) is not None
    ]
    if mistakes:
        raise BadCsv(mistakes)
    return found


def _lines(text: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of the line that it begins in."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    found: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                found.append((begins, values))
            if len(found) > MOST_ROWS + 1:
                raise BadCsv([f"row {begins}: more than {MOST_ROWS} requests in one file"])
            begins = reader.line_num + 1
    except csv.Error as error:
        raise BadCsv([f"row {begins}: {error}"]) from None
    return found


def _text(content: bytes) -> tuple[str, bool]:
    """What is written, and whether there are octets in it that no encoding was given for."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(encoding), False
            except UnicodeDecodeError as error:
                raise BadCsv(
                    [f"not {encoding.upper()}, as its mark says: byte {error.start}"]
                ) from None
    return content.decode("latin-1"), not content.isascii()


def _strange(lines: list[tuple[int, list[str]]]) -> Iterator[str]:
    """The values that are no US-ASCII, where that is all they may be."""
    names = [_BY_NAME.get(name.strip().lower(), "") for name in lines[0][1]]
    for number, values in lines:
        for place, value in enumerate(values):
            if not value.isascii():
                field = names[place] if place < len(names) else ""
                column = _NAMES.get(field, str(place + 1))
                mend = "for other characters write UTF-8 with a byte order mark"
                yield f"row {number}, column {column}: not US-ASCII; {mend}"


def _fields(row: int, names: list[str]) -> list[str]:
    """The fields of the columns, in order."""
    if len(names) > MOST_COLUMNS:
        raise BadCsv([f"row {row}: {len(names)} columns, at most {MOST_COLUMNS}"])
    if len(names) == 1 and ";" in names[0]:
        raise BadCsv(
            [f"row {row}: the values are separated by semicolons: save it with commas"]
        )
    fields, mistakes = [], []
    for number, name in enumerate(names, 1):
        field = _BY_NAME.get(name.strip().lower())
        if field is None:
            mistakes.append(f"row {row}, column {number}: {_unknown(name.strip())}")
        elif field in fields:
            mistakes.append(f"row {row}, column {number}: a second {_NAMES[field]}")
        fields.append(field or "")
    mistakes += [
        f"row {row}: there is no column {_NAMES[needed]}"
        for needed in _NEEDED
        if needed not in fields
    ]
    if mistakes:
        raise BadCsv(mistakes)
    return fields


def _unknown(name: str) -> str:
    if len(name) > LONGEST:
        return f"a name of {len(name)} characters, at most {LONGEST}"
    hint = did_you_mean(name.lower(), _BY_NAME)
    known = hint or f"known are {', '.join(_NAMES.values())}"
    return f"no column is called '{name}' ({known})"


def _row(
    number: int,
    values: list[str],
    fields: list[str],
    mistakes: list[str],
    seen: dict[str, int],
) -> Row | None:
    if len(values) != len(fields):
        mistakes.append(f"row {number}: {len(values)} values for {len(fields)} columns")
        return None
    found = dict(zip(fields, (value.strip() for value in values), strict=True))
    before = len(mistakes)
    for field, value in found.items():
        where = f"row {number}, column {_NAMES[field]}"
        if len(value) > LONGEST:
            mistakes.append(f"{where}: {len(value)} characters, at most {LONGEST}")
        elif not value.isprintable():
            mistakes.append(f"{where}: has characters that cannot be printed")
        elif not value and field in _NEEDED:
            mistakes.append(f"{where}: is empty")
    if len(mistakes) > before:
        return None
    try:
        address = address_key(found["address"])
    except BadAddress as error:
        mistakes.append(f"row {number}, column EMAIL: {error}")
        return None
    if address in seen:
        mistakes.append(
            f"row {number}, column EMAIL: {address} stands in row {seen[address]} too"
        )
        return None
    seen[address] = number
    return Row(number, **found | {"address": address})
