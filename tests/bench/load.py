"""Load and sink for measuring: Postfix's smtp-source, a sink, and the filter beside them.

The filter has one core for itself, load and sink share the other. Rates are mails a second
over the wall clock of a whole run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILTER_CORE, LOAD_CORE = "0", "1"
SESSIONS = 8


def tool(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise SystemExit(f"{name} is missing: apt-get install postfix")
    return found


@contextmanager
def sink() -> Iterator[int]:
    """A sink on a port of its own, discarding everything."""
    command = ["taskset", "-c", LOAD_CORE, sys.executable, "-m", "tests.bench.sink"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def mail_file(folder: Path, size: int, sender: str, recipient: str) -> Path:
    """A plain text mail of `size` bytes of body."""
    line = "The quick brown fox jumps over the lazy dog, and on it goes for a line."
    body = "\n".join([line] * (size // (len(line) + 1) + 1))[:size]
    file = folder / f"mail-{size}"
    file.write_text(
        f"From: Alice <{sender}>\nTo: {recipient}\nSubject: a mail of {size} bytes\n"
        f"Message-ID: <bench-{size}@{sender.partition('@')[2]}>\n"
        "Date: Mon, 01 Jun 2026 12:00:00 +0000\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=us-ascii\n\n{body}\n"
    )
    return file


def rate(port: int, file: Path, sender: str, recipient: str, count: int) -> float:
    """Mails a second that get through to the other side."""
    command = ["taskset", "-c", LOAD_CORE, "timeout", "600", tool("smtp-source")]
    command += ["-s", str(SESSIONS), "-d", "-m", str(count), "-f", sender, "-t", recipient]
    command += ["-F", str(file), f"127.0.0.1:{port}"]
    start = time.perf_counter()
    # Python's own time limit looks every 50 ms whether a process has ended.
    subprocess.run(command, check=True)
    return count / (time.perf_counter() - start)


def memory(pid: int) -> dict[str, int]:
    """Resident memory of a process now and at its peak, bytes."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            found[name] = int(value.split()[0]) * 1024
    return found
