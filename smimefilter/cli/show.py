"""Printing: tables and facts for people, the same as JSON for programs.

Every command hands its rows here and nothing else prints lists, so `--json` is everywhere.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smimefilter.flow.imports import Outcome, Summary

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_UNTAMED: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)

# Wide where nobody looks: a table in a file or pipe is not wrapped at a terminal's width.
out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 300)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """One line; what certificates and mails say in it cannot drive the terminal."""
    out.print(_tame(text), markup=False)


def complain(text: str) -> None:
    """What went wrong, on standard error, a line each."""
    style = "red" if err.is_terminal else ""
    for line in text.splitlines():
        err.print(_tame(f"smimefilter: {line}"), markup=False, style=style)


def as_json(value: Any) -> None:
    """One JSON document."""
    json.dump(value, sys.stdout, indent=2, default=str, ensure_ascii=False)
    sys.stdout.write("\n")


def rows(
    title: str, columns: Sequence[str], found: Iterable[Mapping[str, Any]], json_: bool
) -> None:
    """A list of things: a table with these columns, or all their fields as JSON."""
    listed = [dict(row) for row in found]
    if json_:
        as_json(listed)
        return
    if not listed:
        out.print(f"no {title}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in listed:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    out.print(table)


def facts(pairs: Iterable[tuple[str, Any]], json_: bool) -> None:
    """Label and value pairs."""
    listed = list(pairs)
    if json_:
        as_json(dict(listed))
        return
    width = max((len(label) for label, _ in listed), default=0)
    for label, value in listed:
        lines = value if isinstance(value, list | tuple) else [value]
        for number, line in enumerate(lines or [""]):
            say(f"{label if not number else '':<{width}}  {_cell(line)}")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(v) for v in value)
    return _tame(str(value))


def _tame(text: str) -> str:
    """Control characters, and those that turn the direction of writing, made visible."""
    return _UNTAMED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def everything(things: Iterable[list[tuple[str, Any]]], json_: bool) -> None:
    """Facts of several things, one below the other; one thing alone is one JSON object."""
    listed = list(things)
    if json_:
        as_json(dict(listed[0]) if len(listed) == 1 else [dict(pairs) for pairs in listed])
        return
    for number, pairs in enumerate(listed):
        if number:
            out.print()
        facts(pairs, json_=False)


def summary(done: Summary, json_: bool) -> None:
    """What an import added or replaced, what was there, what was refused and why; exit code 1
    when something was refused."""
    if json_:
        as_json([asdict(item) for item in done.items])
    else:
        for item in done.items:
            key = " with its private key" if item.with_key else ""
            thumbprint = f" {item.thumbprint[:16]}" if item.thumbprint else ""
            reason = f": {item.reason}" if item.reason else ""
            say(f"{item.outcome}: {item.what}{thumbprint}{key}{reason}")
        counts = {outcome: done.count(outcome) for outcome in Outcome}
        if not counts[Outcome.REPLACED]:  # it seldom is
            del counts[Outcome.REPLACED]
        say(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    if done.count(Outcome.REFUSED):
        raise typer.Exit(1)
