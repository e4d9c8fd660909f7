"""Fuzzing that goes where the code has not been yet: `python -m tests.bench.guided CORPUS`.

Needs atheris, which is not among the locked tools: `pip install atheris`. The folder CORPUS is
filled with the mails of `tests/support/mutations.py` first; libFuzzer's options may follow,
such as `-max_total_time=600`. CONTRIBUTING.md tells more.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import atheris

from smimefilter.base.errors import MailError
from tests.support.mutations import opened, seeds


def one(mail: bytes) -> None:
    """Whatever is a defect stops the run."""
    with contextlib.suppress(MailError):
        opened(mail)


def main(arguments: list[str]) -> None:
    """Fill the corpus, then run until stopped."""
    corpus = Path(arguments[1])
    corpus.mkdir(exist_ok=True)
    for number, mail in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(mail)
    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    atheris.instrument_all()
    main(sys.argv)
