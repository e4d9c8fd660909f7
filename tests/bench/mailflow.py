"""Mail through the filter on one core, beside what bounds it: signing and encrypting, opening,
ten recipients at once, mail that nobody's policy touches, a large mail and what it does to
others, and what people would have instead.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import load
from tests.bench.installation import ALICE, BOB, PLAIN, TEN, Installation, ten
from tests.bench.rows import Row, at_least, at_most, in_turn

MEGABYTE = 1 << 20
LARGE = 25 * MEGABYTE
LATENCIES = 400  # mails whose latency is taken


def primitives(way: str, size: int, recipients: int = 1) -> Callable[[], float]:
    """Mails a second that the bare primitives would allow on the filter's core."""
    command = ["taskset", "-c", load.FILTER_CORE, sys.executable, "-m"]
    command += ["tests.bench.primitives", way, str(size), "1", str(recipients)]

    def measured() -> float:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return 1 / float(done.stdout)

    return measured


def outbound(installation: Installation, name: str, size: int, count: int, bar: float) -> Row:
    """Sign and encrypt, end to end, beside the limit."""
    file = load.mail_file(installation.home, size, ALICE, BOB)
    rate = partial(load.rate, installation.port, file, ALICE, BOB)
    rate(max(count // 10, 50))
    return in_turn(name, partial(rate, count), primitives("outbound", size), bar)


def recipients(installation: Installation) -> Row:
    """Ten recipients with certificates in one mail: one pass over the body, ten wraps."""
    file = load.mail_file(installation.home, 5_000, ALICE, ", ".join(ten()))
    rate = partial(load.rate, installation.port, file, ALICE, TEN, recipients=10)
    rate(50)
    limit = primitives("outbound", 5_000, 10)
    return in_turn("recipients-10", partial(rate, 800), limit, 0.60)


def inbound(installation: Installation) -> Row:
    """Decrypt and verify, end to end, beside the limit."""
    file = installation.opened_mail(5_000)
    rate = partial(load.rate, installation.port, file, BOB, ALICE)
    rate(100)
    return in_turn("inbound-5k", partial(rate, 1000), primitives("inbound", 5_000), 0.45)


def passthrough(installation: Installation) -> Row:
    """Mail that no policy touches, beside the load generator speaking to a sink directly."""
    sender, recipient = f"carol@{PLAIN}", f"dave@{PLAIN}"
    file = load.mail_file(installation.home, 5_000, sender, recipient)
    rate = partial(load.rate, installation.port, file, sender, recipient)
    rate(200)
    with load.postfix_sink() as port:
        direct = partial(load.rate, port, file, sender, recipient, 4000)
        return in_turn("passthrough-5k", partial(rate, 3000), direct, 0.35)


def workers() -> Row:
    """Two workers beside one, as mails for each second of a core that they could have: what
    load and sink take is taken off. Each in turn; the median of the rounds counts."""
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as other,
        Installation(Path(home)) as one,
        Installation(Path(other), workers=2) as two,
    ):
        file = load.mail_file(one.home, 5_000, ALICE, BOB)

        def alone() -> float:
            return load.rate(one.port, file, ALICE, BOB, 1500)

        def both() -> float:
            before = _load_time(two)
            rate = load.rate(two.port, file, ALICE, BOB, 3000)
            wall = 3000 / rate
            return 2 * 3000 / (2 * wall - (_load_time(two) - before))

        alone(), both()
        return in_turn("workers-2", both, alone, 1.8)


def _load_time(installation: Installation) -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + load.processor_time(installation.sink_pid)


def memory(installation: Installation) -> Row:
    """Peak memory above idle while one large mail is signed and encrypted."""
    installation.restart()
    idle = load.memory(installation.pid)["VmRSS"]
    file = load.mail_file(installation.home, LARGE, ALICE, BOB)
    load.rate(installation.port, file, ALICE, BOB, 1)
    above = load.memory(installation.pid)["VmHWM"] - idle
    return at_most("memory-25mb", above / MEGABYTE, LARGE / MEGABYTE, 5.0, "MiB")


def latency(installation: Installation) -> Row:
    """The 99th of a hundred small mails by their latency, beside one large mail after another
    and without them."""
    small = load.mail_file(installation.home, 5_000, ALICE, BOB)
    large = load.mail_file(installation.home, LARGE, ALICE, BOB)
    alone = load.latency(installation.port, small, ALICE, BOB, LATENCIES)
    with _one_after_another(installation.port, large):
        beside = load.latency(installation.port, small, ALICE, BOB, LATENCIES)
    return at_most("latency-beside-25mb", beside * 1000, alone * 1000, 3.0, "ms")


@contextmanager
def _one_after_another(port: int, file: Path) -> Iterator[None]:
    process = subprocess.Popen(load.command(port, file, ALICE, BOB, 10_000, sessions=1))
    try:
        time.sleep(1)  # until the first is under way
        yield
    finally:
        process.terminate()
        process.wait()


def instead(installation: Installation) -> list[Row]:
    """What people would have instead, for the same mails with the same keys: a script that
    calls openssl for each mail, and a small filter with M2Crypto."""
    file = load.mail_file(installation.home, 5_000, ALICE, BOB)
    rate = partial(load.rate, installation.port, file, ALICE, BOB)
    ours = rate(1500)
    files = installation.key_files()
    script = load.script(files, file)
    with load.other_filter("tests.bench.m2filter", *map(str, files), installation.sink) as port:
        small = load.rate(port, file, ALICE, BOB, 500)
    ours = (ours + rate(1500)) / 2
    return [
        at_least("vs-openssl-process", ours, script, 15.0),
        at_least("vs-m2crypto", ours, small, 2.0),
    ]
