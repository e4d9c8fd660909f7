"""Broken mails without end: `python -m tests.bench.fuzz [MAILS] [SEED]`, or `make fuzz`.

Each is opened as every incoming mail is. A defect ends the run with exit code 1 and leaves the
mail in `build/`; so does one that takes longer than `LIMIT` seconds.
"""

from __future__ import annotations

import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track

from smimefilter.base.errors import MailError
from tests.support.mutations import mutated, opened

LIMIT: Final = 5  # seconds for one mail
MAILS: Final = 100_000


class TooSlow(Exception):
    """A mail that takes too long."""


def _too_slow(_signal: int, _frame: object) -> None:
    raise TooSlow


def main(mails: int, seed: int) -> int:
    """Break and open so many mails; 0 if all went well."""
    console = Console(stderr=True)
    source = random.Random(seed)  # noqa: S311 - to break mails
    signal.signal(signal.SIGALRM, _too_slow)
    slowest, refused = 0.0, 0
    for number in track(range(mails), f"seed {seed}", console=console):
        mail = mutated(source)
        signal.alarm(LIMIT)
        start = time.perf_counter()
        try:
            opened(mail)
        except MailError:
            refused += 1
        except Exception:  # noqa: BLE001 - that is what is looked for
            file = Path("build") / f"fuzz-{seed}-{number}.eml"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(mail)
            console.print(f"{traceback.format_exc()}\n{file}")
            return 1
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - start)
    print(f"{mails} mails, seed {seed}: no defect; {refused} refused; slowest {slowest:.3f} s")
    return 0


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(
        main(given[0] if given else MAILS, given[1] if len(given) > 1 else int(time.time()))
    )
