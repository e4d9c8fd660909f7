"""`make bench`: the filter beside the limit of the machine, in one run on one core.

Prints a table and writes `build/bench.json`: rows of name, value, unit, what it was measured
against, ratio, bar, and whether it holds. Measured, never judged: the exit code is 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bench import load
from tests.bench.installation import ALICE, BOB, Installation

MEGABYTE = 1 << 20
ROUNDS = 7


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    unit: str
    against: float
    ratio: float
    bar: float
    holds: bool


def primitives(size: int) -> float:
    """Mails a second that the bare primitives would allow on the filter's core."""
    command = ["taskset", "-c", load.FILTER_CORE, sys.executable, "-m"]
    command += ["tests.bench.primitives", str(size), "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return 1 / float(done.stdout)


def outbound(installation: Installation, name: str, size: int, count: int, bar: float) -> Row:
    """Sign and encrypt, end to end, beside the limit. Both are measured in turn, each rate
    against the limit before and after it: a machine that is faster or slower for a while
    changes neither ratio. The median of the rounds counts."""
    file = load.mail_file(installation.home, size, ALICE, BOB)
    load.rate(installation.port, file, ALICE, BOB, max(count // 10, 50))
    rounds = []
    before = primitives(size)
    for _ in range(ROUNDS):
        rate = load.rate(installation.port, file, ALICE, BOB, count)
        after = primitives(size)
        limit = (before + after) / 2
        rounds.append((rate / limit, rate, limit))
        before = after
    ratio, value, against = sorted(rounds)[ROUNDS // 2]
    return Row(
        name, round(value, 1), "mails/s", round(against, 1), round(ratio, 3), bar, ratio >= bar
    )


def trust() -> list[Row]:
    """What trusting costs, in a process of its own on the same core: each value beside what it
    may be."""
    command = ["taskset", "-c", load.FILTER_CORE, sys.executable, "-m", "tests.bench.trust"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [
        Row(
            name, round(value, 2), unit, round(allowed, 2), round(value / allowed, 3), 1.0,
            value <= allowed,
        )
        for name, (value, unit, allowed) in json.loads(done.stdout).items()
    ]  # fmt: skip


def bulk() -> Row:
    """Requests of a file by the built-in CA, beside the making of their keys alone, on all
    cores."""
    command = [sys.executable, "-m", "tests.bench.bulk"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    value, against = found["requests"], found["keys"]
    ratio = round(value / against, 3)
    return Row(
        "bulk", round(value, 1), "requests/s", round(against, 1), ratio, 0.85, ratio >= 0.85
    )


def memory(installation: Installation, name: str, size: int, bar: float) -> Row:
    """Peak memory above idle while one large mail is signed and encrypted."""
    installation.restart()
    idle = load.memory(installation.pid)["VmRSS"]
    file = load.mail_file(installation.home, size, ALICE, BOB)
    load.rate(installation.port, file, ALICE, BOB, 1)
    time.sleep(0.2)
    above = load.memory(installation.pid)["VmHWM"] - idle
    ratio = above / size
    return Row(
        name,
        round(above / MEGABYTE, 1),
        "MiB",
        round(size / MEGABYTE, 1),
        round(ratio, 2),
        bar,
        ratio <= bar,
    )


def main() -> None:
    console = Console()
    rows = []
    with tempfile.TemporaryDirectory() as home, Progress(console=console) as progress:
        task = progress.add_task("measuring", total=5)
        rows += trust()
        progress.advance(task)
        rows.append(bulk())
        progress.advance(task)
        with Installation(Path(home)) as installation:
            rows.append(outbound(installation, "outbound-5k", 5_000, 1500, 0.40))
            progress.advance(task)
            rows.append(outbound(installation, "outbound-100k", 100_000, 500, 0.25))
            progress.advance(task)
            rows.append(memory(installation, "memory-25mb", 25 * MEGABYTE, 5.0))
            progress.advance(task)
    _print(console, rows)
    build = Path("build")
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(json.dumps([asdict(row) for row in rows], indent=2))


def _print(console: Console, rows: list[Row]) -> None:
    table = Table(box=None, title="one core, RSA-2048 signer and recipient")
    for column in ("name", "value", "unit", "against", "ratio", "bar", "holds"):
        table.add_column(column, justify="left" if column in {"name", "unit"} else "right")
    for row in rows:
        shown = asdict(row) | {"holds": "yes" if row.holds else "no"}
        table.add_row(*(str(value) for value in shown.values()))
    console.print(table)


if __name__ == "__main__":
    main()
