"""`make chaos`: much mail in a bad week, and an account of every one of them.

`python -m tests.chaos [MAILS] [SEED] [MINUTES]`. Postfix in front, the filter, and a next hop
that behaves as badly as next hops do. Meanwhile processes are killed, the disk fills, the
database is locked, policies and CRLs change, and a certificate ends. Exits with 1 when a mail
is lost, or was sent in clear against policy. Loopback only.
"""

from __future__ import annotations

import random
import smtplib
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.chaos.account import Account, Key, settle
from tests.chaos.trouble import Forgetful, Troubles, small_disk
from tests.support.postfix import PostfixLab, Variant
from tests.support.postoffice import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    ERIN,
    FRANK,
    GINA,
    HUGO,
    Installation,
    Stock,
    letter,
)
from tests.support.program import Program, shipped_settings
from tests.support.sink import Sink

MAILS, SEED, MINUTES = 10_000, 1, 20
IRIS: Final = "iris@strict.test"  # whose certificate ends in the midst of it
ENDS: Final = timedelta(seconds=60)
KINDS: Final = (
    (BOB,), (ERIN,), (DAVE,), (GINA,), (HUGO,), (IRIS,), (CAROL,), (FRANK,),
    (BOB, ERIN), (BOB, DAVE), (BOB, CAROL), (GINA, HUGO, BOB), (IRIS, BOB, DAVE),
)  # fmt: skip
OFTEN: Final = (0, 0, 0, 0, 2, 3, 8, 8, 9, 9, 10, 11, 12)  # more often than the others
SENDERS: Final = 4


@dataclass
class Week:
    """What is under way."""

    lab: PostfixLab
    office: Installation
    sink: Forgetful  # the next hop of the filter
    mailroom: Sink  # of Postfix itself: what it bounces
    chance: random.Random
    sent: dict[int, Sequence[str]]
    queue_ids: dict[str, int]

    def send(self, numbers: Sequence[int], done: threading.Event) -> None:
        """Hand mails to Postfix, one after the other."""
        with smtplib.SMTP("127.0.0.1", self.lab.port, timeout=120) as client:
            for number in numbers:
                chance = random.Random(number)  # noqa: S311 - mails, not keys
                kinds = [*KINDS, *(KINDS[often] for often in OFTEN)]
                to = chance.choice(kinds)
                body = b"Grapefruit juice at nine.\r\n" * chance.choice([1, 40, 150, 4000])
                content = letter(ALICE, *to, body=body).replace(
                    b"<1@in.test>", f"<chaos-{number}@in.test>".encode()
                )
                client.mail(ALICE)
                for address in to:
                    client.rcpt(address)
                _, reply = client.data(content)
                self.queue_ids[reply.decode().rpartition("queued as ")[2]] = number
                self.sent[number] = to
                if done.is_set():
                    return

    def waiting(self) -> set[Key]:
        """What is in Postfix's queue."""
        return {
            (self.queue_ids[entry["queue_id"]], recipient["address"])
            for entry in self.lab.queue()
            if entry["queue_id"] in self.queue_ids
            for recipient in entry["recipients"]
        }


def main() -> int:
    console = Console()
    mails, seed, minutes = (
        int(given) if given else default
        for given, default in zip(
            [*sys.argv[1:], "", "", ""][:3], (MAILS, SEED, MINUTES), strict=True
        )
    )
    end = time.monotonic() + minutes * 60
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (home / "office").mkdir()
        disk = stack.enter_context(small_disk(home / "office"))
        chance = random.Random(seed)  # noqa: S311 - troubles, not keys
        week = _set_up(stack, home, chance)
        troubles = Troubles(week.office, week.sink, week.chance, disk=disk)
        happened = _live_through(week, troubles, mails, end, console)
        _calm_down(week, end, console)
        notices = [*week.mailroom.mails, *week.sink.mails]
        account = settle(week.sent, week.sink.mails, notices, week.waiting())
        _print(console, account, week, troubles, happened, disk=disk)
        return 0 if account.good else 1


def _set_up(stack: ExitStack, home: Path, chance: random.Random) -> Week:
    (home / "stock").mkdir()
    stock = Stock(home / "stock")
    sink = stack.enter_context(Forgetful())
    lab = PostfixLab(Variant.SMTP)
    lab.main["smtpd_client_connection_count_limit"] = "0"
    stack.enter_context(lab)
    mailroom = stack.enter_context(Sink(port=lab.sink_port))
    folder = home / "office"
    stock.copy_to(folder)
    settings = shipped_settings(
        folder, port=lab.filter_port, next_hop=sink.port, protocol="smtp"
    )
    settings["hostname"] = "filter.test"
    settings["next-hop"] |= {"timeout": 3, "connect-timeout": 2}
    settings["workers"] = 2
    program = Program(folder, settings)
    office = Installation(stock, program)
    stock.people.add(IRIS, not_after=stock.people.now + ENDS)
    program.run("certificate", "import", str(stock.people.certificate(IRIS)))
    stack.enter_context(program)
    return Week(lab, office, sink, mailroom, chance, {}, {})


def _live_through(
    week: Week, troubles: Troubles, mails: int, end: float, console: Console
) -> dict[str, int]:
    """Send all mails while one trouble follows another; how often each came."""
    done = threading.Event()
    senders = [
        threading.Thread(target=week.send, args=(range(first, mails, SENDERS), done))
        for first in range(SENDERS)
    ]
    happened = dict.fromkeys(troubles.all, 0)
    for sender in senders:
        sender.start()
    with Progress(console=console) as progress:
        task = progress.add_task("mails through the week", total=mails)
        while time.monotonic() < end - 180:
            least = min(happened.values())
            name = week.chance.choice([one for one in happened if happened[one] <= least + 1])
            happened[name] += 1
            with troubles.all[name]():
                time.sleep(week.chance.uniform(0.5, 2.5))
            time.sleep(week.chance.uniform(0.2, 1.0))
            left = len(week.lab.queue())
            progress.update(task, completed=max(len(week.sent) - left, 0))
            everything = not any(sender.is_alive() for sender in senders)
            if everything and min(happened.values()) >= 2 and left < mails // 10:
                break
    done.set()
    for sender in senders:
        sender.join()
    return happened


def _calm_down(week: Week, end: float, console: Console) -> None:
    """The weather is fine: what is queued goes its way."""
    week.sink.behave()
    with console.status("the rest of the queue"):
        while week.lab.queue() and time.monotonic() < end:
            week.lab.flush()
            time.sleep(1)


def _print(
    console: Console,
    account: Account,
    week: Week,
    troubles: Troubles,
    happened: dict[str, int],
    *,
    disk: bool,
) -> None:
    recipients = sum(map(len, week.sent.values()))
    table = Table(
        box=None, title=f"{len(week.sent)} mails to {recipients} recipients", show_header=False
    )
    reasons = ", ".join(f"{status} x {count}" for status, count in account.reasons.items())
    for what, value in (
        ("delivered once", account.once),
        ("delivered more than once", account.repeated),
        ("  copies too many", account.duplicates),
        ("  of mails whose reply the next hop forgot", week.sink.forgot),
        ("  times a process was killed", len(troubles.kills)),
        ("bounced", f"{account.bounced}   ({reasons})"),
        ("delivered and bounced", account.both),
        ("still queued", account.queued),
        ("lost", len(account.lost)),
        ("in clear against policy", len(account.in_clear)),
    ):
        table.add_row(what, str(value))
    console.print(table)
    console.print(
        "troubles:", ", ".join(f"{name} x {count}" for name, count in happened.items())
    )
    if not disk:
        console.print("no small disk could be mounted here: the disk was never full")
    for key in [*account.lost, *account.in_clear][:20]:
        console.print("look at", key)


if __name__ == "__main__":
    sys.exit(main())
