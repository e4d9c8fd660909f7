"""Printing: tables and facts for people, the same as JSON for programs.

Every command hands its rows here and nothing else prints lists, so `--json` is everywhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from smimefilter.flow.imports import Outcome, Summary

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

# Wide where nobody looks: a table in a file or pipe is not wrapped at a terminal's width.
out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 300)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def complain(text: str) -> None:
    """What went wrong, on standard error, a line each."""
    for line in text.splitlines():
        err.print(f"smimefilter: {line}", markup=False, style="red" if err.is_terminal else "")


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
        table.add_row(*(_cell(row.get(column)) for column in columns))
    out.print(table)


def facts(pairs: Iterable[tuple[str, Any]], json_: bool) -> None:
    """Label and value pairs."""
    listed = list(pairs)
    if json_:
        as_json(dict(listed))
        return
    width = max((len(label) for label, _ in listed), default=0)
    for label, value in listed:
        lines = [str(v) for v in value] if isinstance(value, list | tuple) else [_cell(value)]
        for number, line in enumerate(lines or [""]):
            out.print(f"{label if not number else '':<{width}}  {line}", markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(v) for v in value)
    return str(value)


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
    """What an import added, what was there, what was refused and why; exit code 1 when
    something was refused."""
    if json_:
        as_json([asdict(item) for item in done.items])
    else:
        for item in done.items:
            key = " with its private key" if item.with_key else ""
            thumbprint = f" {item.thumbprint[:16]}" if item.thumbprint else ""
            reason = f": {item.reason}" if item.reason else ""
            out.print(f"{item.outcome}: {item.what}{thumbprint}{key}{reason}", markup=False)
        counts = ", ".join(f"{done.count(outcome)} {outcome}" for outcome in Outcome)
        out.print(counts, markup=False)
    if done.count(Outcome.REFUSED):
        raise typer.Exit(1)
