"""What many requests at once cost beside the making of their keys alone, on all cores.

In a process of its own; prints JSON: requests a second by the built-in CA, keys a second. Both
are measured in turn, and keys once more after each file, since no two keys take the same time
to find. What starting the program takes is taken off: a file asked for already.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from smimefilter.pki.build import generate_key
from tests.support.program import Program

KEY = "rsa2048"
COUNT = 300
ROUNDS = 3


def keys() -> float:
    """Seconds that so many keys take on all cores."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda _: generate_key(KEY), range(COUNT)))
    return time.perf_counter() - begun


def submit(program: Program, file: Path) -> float:
    begun = time.perf_counter()
    program.run("bulk", "submit", str(file), "--key", KEY)
    return time.perf_counter() - begun


def main() -> None:
    """Prints what was measured."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "policies").mkdir()
        (folder / "policies" / "global.yaml").write_text("preferences: {}\n")
        settings = {
            "hostname": "filter.test",
            "master-key": "master.key",
            "policies": "policies",
        }
        program = Program(folder, settings)
        program.run("init")
        program.run("ca", "create", "Staff CA", "--root", "Staff Root", "--key", KEY)
        rounds = []
        before = keys()
        for number in range(ROUNDS):
            file = folder / f"{number}.csv"
            rows = (f"u{one}.{number}@in.test,User {one}" for one in range(COUNT))
            file.write_text("\n".join(["e,cn", *rows]) + "\n")
            took = submit(program, file)
            took -= submit(program, file)  # nothing left to do
            after = keys()
            rounds.append((took, (before + after) / 2))
            before = after
    took, alone = median(one for one, _ in rounds), median(one for _, one in rounds)
    print(json.dumps({"requests": COUNT / took, "keys": COUNT / alone}))


if __name__ == "__main__":
    main()
