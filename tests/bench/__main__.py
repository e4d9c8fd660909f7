"""`make bench`: the filter beside the limit of the machine, in one run.

Prints a table and writes `build/bench.json`: rows of name, value, unit, what it was measured
against, ratio, bar, and whether it holds. Measured, never judged: the exit code is 0. Names
of rows as arguments measure those alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bench import large, mailflow
from tests.bench.installation import Installation
from tests.bench.rows import Row, apart, at_least, at_most

_Measure = Callable[[Installation], list[Row]]


def trust() -> list[Row]:
    """What trusting costs, in a process of its own on the filter's core: each value beside
    what it may be."""
    found = apart("tests.bench.trust")
    return [
        at_most(name, value, allowed, 1.0, unit)
        for name, (value, unit, allowed) in found.items()
    ]


def bulk() -> list[Row]:
    """Requests of a file by the built-in CA, beside the making of their keys alone, on all
    cores."""
    found = apart("tests.bench.bulk")
    return [at_least("bulk", found["requests"], found["keys"], 0.85, "requests/s")]


ALONE: dict[str, Callable[[], list[Row]]] = {
    "trust": trust,
    "bulk": bulk,
    "large": large.rows,
    "workers-2": lambda: [mailflow.workers()],
}
FLOW: dict[str, _Measure] = {
    "outbound-5k": lambda one: [mailflow.outbound(one, "outbound-5k", 5_000, 1500, 0.55)],
    "outbound-100k": lambda one: [mailflow.outbound(one, "outbound-100k", 100_000, 500, 0.45)],
    "inbound-5k": lambda one: [mailflow.inbound(one)],
    "passthrough-5k": lambda one: [mailflow.passthrough(one)],
    "recipients-10": lambda one: [mailflow.recipients(one)],
    "instead": mailflow.instead,
    "latency-beside-25mb": lambda one: [mailflow.latency(one)],
    "memory-25mb": lambda one: [mailflow.memory(one)],
}


def main() -> None:
    console = Console()
    chosen = set(sys.argv[1:]) or {*ALONE, *FLOW}
    if unknown := chosen - {*ALONE, *FLOW}:
        raise SystemExit(f"no such row: {', '.join(unknown)}; {', '.join((*ALONE, *FLOW))}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as home, Progress(console=console) as progress:
        task = progress.add_task("measuring", total=len(chosen))
        for name, measure in ALONE.items():
            if name in chosen:
                rows += measure()
                progress.advance(task)
        if chosen & {*FLOW}:
            with Installation(Path(home)) as installation:
                for name, flow in FLOW.items():
                    if name in chosen:
                        rows += flow(installation)
                        progress.advance(task)
    _print(console, rows)
    build = Path("build")
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(json.dumps([asdict(row) for row in rows], indent=2))


def _print(console: Console, rows: list[Row]) -> None:
    table = Table(box=None, title="RSA-2048 signers and recipients")
    for column in ("name", "value", "unit", "against", "ratio", "bar", "holds"):
        table.add_column(column, justify="left" if column in {"name", "unit"} else "right")
    for row in rows:
        shown = asdict(row) | {"holds": "yes" if row.holds else "no"}
        table.add_row(*(str(value) for value in shown.values()))
    console.print(table)


if __name__ == "__main__":
    main()
