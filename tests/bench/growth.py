"""How the cost of a mail grows with its size, its recipients, policies and certificates.

`make growth` writes the table and the plot that docs/performance.md shows. The cost is the
processor time of the filter, all its threads together; of many short runs the cheapest counts,
so that other work on the machine changes little.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from rich.console import Console
from rich.progress import Progress

from tests.bench import large, load
from tests.bench.installation import ALICE, BOB, TEN, Installation, ten

DOCS: Final = Path(__file__).parents[2] / "docs"
PLOT: Final = DOCS / "growth.png"
TEXT: Final = DOCS / "performance.md"
BEGIN, END = "<!-- growth -->\n", "<!-- end of growth -->\n"
SIZES: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
PEOPLE: Final = (1, 2, 5, 10, 20, 50)
MANY: Final = (0, 1_000, 10_000, 100_000)
ROUNDS: Final = 8


class Point(NamedTuple):
    of: str
    value: int
    microseconds: float


def cost(installation: Installation, file: Path, to: str, recipients: int = 1) -> float:
    """Microseconds of processor time a mail."""
    size = file.stat().st_size
    count = max(3, min(200, 4_000_000 // size // recipients))

    def send(number: int) -> None:
        load.rate(installation.port, file, ALICE, to, number, recipients=recipients)

    send(count)
    found = []
    for _ in range(ROUNDS):
        before = load.processor_time(installation.pid)
        send(count)
        found.append((load.processor_time(installation.pid) - before) / count)
    return min(found) * 1e6


def by_size(home: Path) -> Iterator[Point]:
    with Installation(home) as installation:
        for size in SIZES:
            file = load.mail_file(home, size, ALICE, BOB)
            yield Point("bytes", size, cost(installation, file, BOB))


def by_recipients(home: Path) -> Iterator[Point]:
    with Installation(home) as installation:
        for one in ten(max(PEOPLE))[10:]:
            installation.people.add(one)
            installation.run("certificate", "import", str(installation.people.certificate(one)))
        installation.restart()
        for count in PEOPLE:
            file = load.mail_file(home, 5_000, ALICE, ", ".join(ten(count)))
            yield Point("recipients", count, cost(installation, file, TEN, count))


def by_number(home: Path, what: str) -> Iterator[Point]:
    for number in MANY:
        folder = home / str(number)
        folder.mkdir()
        with Installation(folder) as installation:
            users, others = (number, 0) if what == "user policies" else (0, number)
            large.fill(installation, users, others)
            installation.restart()
            file = load.mail_file(folder, 5_000, ALICE, BOB)
            yield Point(what, number, cost(installation, file, BOB))


WAYS: Final[dict[str, Callable[[Path], Iterator[Point]]]] = {
    "bytes": by_size,
    "recipients": by_recipients,
    "user policies": lambda home: by_number(home, "user policies"),
    "certificates": lambda home: by_number(home, "certificates"),
}


def main() -> None:
    found: list[Point] = []
    with Progress(console=Console()) as progress:
        total = len(SIZES) + len(PEOPLE) + 2 * len(MANY)
        task = progress.add_task("measuring", total=total)
        for way in WAYS.values():
            with tempfile.TemporaryDirectory() as home:
                for point in way(Path(home)):
                    found.append(point)
                    progress.advance(task)
    plot(found)
    before, _, rest = TEXT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    TEXT.write_text(f"{before}{BEGIN}{table(found)}{END}{after}")


def table(found: Sequence[Point]) -> str:
    """Markdown, one line for each point."""
    lines = ["", "| of | how many | µs a mail |", "|---|--:|--:|"]
    lines += [f"| {one.of} | {one.value:,} | {one.microseconds:,.0f} |" for one in found]
    return "\n".join([*lines, "", ""])


def plot(found: Sequence[Point]) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(1, len(WAYS), figsize=(14, 3.2), layout="constrained")
    for name, place in zip(WAYS, axes, strict=True):
        points = [one for one in found if one.of == name]
        place.plot([one.value for one in points], [one.microseconds for one in points], "o-")
        place.set_xlabel(name)
        place.set_ylim(bottom=0)
        place.grid(alpha=0.3)
        if name == "bytes":
            place.set_xscale("log")
            place.set_yscale("log")
    axes[0].set_ylabel("µs of processor time a mail")
    figure.savefig(PLOT, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
