"""Load and sink for measuring: Postfix's smtp-source, a sink, and the filter beside them.

The filter has one core for itself, load and sink share the other. Rates are mails a second
over the wall clock of a whole run.
"""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import quantiles

from tests.support.ports import ReservedPort

FILTER_CORE, LOAD_CORE = "0", "1"
SESSIONS = 8


def tool(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise SystemExit(f"{name} is missing: apt-get install postfix")
    return found


@contextmanager
def sink() -> Iterator[tuple[int, int]]:
    """A sink that discards everything; its port and process id."""
    command = ["taskset", "-c", LOAD_CORE, sys.executable, "-m", "tests.bench.sink"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait()


def mail_file(folder: Path, size: int, sender: str, recipient: str) -> Path:
    """A plain text mail of `size` bytes of body. It has no Message-ID: the load generator sends
    the same one many times at once, and by that it would be taken for one that comes again."""
    line = "The quick brown fox jumps over the lazy dog, and on it goes for a line."
    body = "\n".join([line] * (size // (len(line) + 1) + 1))[:size]
    file = folder / f"mail-{size}"
    file.write_text(
        f"From: Alice <{sender}>\nTo: {recipient}\nSubject: a mail of {size} bytes\n"
        "Date: Mon, 01 Jun 2026 12:00:00 +0000\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=us-ascii\n\n{body}\n"
    )
    return file


def command(
    port: int,
    file: Path,
    sender: str,
    recipient: str,
    count: int,
    *,
    recipients: int = 1,
    sessions: int = SESSIONS,
) -> list[str]:
    """The load generator; of several recipients each has a number before its name."""
    many = ["-r", str(recipients)] if recipients > 1 else []
    return [
        "taskset", "-c", LOAD_CORE, "timeout", "600", tool("smtp-source"),
        "-s", str(sessions), "-d", "-m", str(count), *many, "-f", sender, "-t", recipient,
        "-F", str(file), f"127.0.0.1:{port}",
    ]  # fmt: skip


def rate(
    port: int, file: Path, sender: str, recipient: str, count: int, *, recipients: int = 1
) -> float:
    """Mails a second that get through to the other side."""
    run = command(port, file, sender, recipient, count, recipients=recipients)
    start = time.perf_counter()
    # Python's own time limit looks every 50 ms whether a process has ended.
    subprocess.run(run, check=True)
    return count / (time.perf_counter() - start)


def latency(port: int, file: Path, sender: str, recipient: str, count: int) -> float:
    """Seconds from the envelope to the reply that all but one in a hundred mails take, sent
    one after another."""
    content = file.read_bytes()
    taken = []
    with smtplib.SMTP("127.0.0.1", port) as client:
        for _ in range(count):
            start = time.perf_counter()
            client.sendmail(sender, [recipient], content)
            taken.append(time.perf_counter() - start)
    return quantiles(taken, n=100)[98]


@contextmanager
def postfix_sink() -> Iterator[int]:
    """Postfix's own sink, beside the load generator."""
    port = _free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        ["taskset", "-c", LOAD_CORE, tool("smtp-sink"), *user, f"127.0.0.1:{port}", "100"]
    )
    try:
        for _ in range(100):  # until it listens
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def other_filter(module: str, *arguments: str) -> Iterator[int]:
    """Another filter on the filter's core; its port."""
    run = ["taskset", "-c", FILTER_CORE, sys.executable, "-m", module, *arguments]
    run.append(str(_free_port()))
    process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with ReservedPort() as reserved:
        return reserved.number


def script(files: tuple[Path, Path, Path], mail: Path, count: int = 100) -> float:
    """Mails a second of a shell script that calls openssl to sign and to encrypt each, on the
    filter's core; what comes out goes nowhere."""
    key, certificate, recipient = files
    one = (
        f"openssl cms -sign -signer {certificate} -inkey {key} -in {mail} | "
        f"openssl cms -encrypt -aes-256-cbc {recipient} > /dev/null"
    )
    run = f"for number in $(seq {count}); do {one} || exit 1; done"
    start = time.perf_counter()
    subprocess.run(["taskset", "-c", FILTER_CORE, "sh", "-c", run], check=True)
    return count / (time.perf_counter() - start)


def processor_time(pid: int) -> float:
    """Seconds that the threads of a process have run so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    times = [(task / "schedstat").read_text().split()[0] for task in tasks]
    return sum(map(int, times)) / 1e9


def memory(pid: int) -> dict[str, int]:
    """Resident memory of a process now and at its peak, bytes."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            found[name] = int(value.split()[0]) * 1024
    return found
