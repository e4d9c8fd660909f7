"""The commands of `smimefilter`, run within the test's own process: that takes a twentieth of
the time that a program takes to start.

    run = Commands(config)
    run("policy", "set", "global", "sign", "never")
    listed = run("certificate", "list", "--json").json

What comes out is what the program prints and the code it ends with. `Program.run` starts the
program itself.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, parsed."""
        return json.loads(self.out)


class CommandTrouble(AssertionError):
    """A command did not end as the test needs; the message has what it wrote."""


class Commands:
    """Commands for one installation."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> Done:
        """Run `smimefilter ARGUMENTS --config FILE`. Raises `CommandTrouble` when it does not
        end with `code`."""
        return run(*arguments, "--config", str(self._config), stdin=stdin, code=code)

    def complaint(self, *arguments: str, stdin: str = "", code: int = 1) -> str:
        """Run a command that fails; the one line that it says why in, and nothing else."""
        done = self(*arguments, stdin=stdin, code=code)
        lines = done.err.splitlines()
        if len(lines) != 1 or done.out or not lines[0].startswith("smimefilter: "):
            raise CommandTrouble(f"{' '.join(arguments)}: {done}")
        return lines[0].removeprefix("smimefilter: ")


def run(*arguments: str, stdin: str = "", code: int = 0) -> Done:
    """Run `smimefilter ARGUMENTS`. Raises `CommandTrouble` when it does not end with `code`."""
    with (
        TemporaryFile("w+", encoding="utf-8") as out,  # with descriptors, as programs have
        TemporaryFile("w+", encoding="utf-8") as err,
    ):
        with _arguments(arguments, stdin), redirect_stdout(out), redirect_stderr(err):
            found = _ended()
        done = Done(found, _written(out), _written(err))
    if found != code:
        raise CommandTrouble(f"smimefilter {' '.join(arguments)}: {done}")
    return done


def _ended() -> int:
    from smimefilter.cli import main  # takes a second, which not all tests need to wait

    try:
        with warnings.catch_warnings():
            main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _written(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


@contextmanager
def _arguments(arguments: tuple[str, ...], stdin: str) -> Iterator[None]:
    before = sys.argv, sys.stdin
    sys.argv, sys.stdin = ["smimefilter", *arguments], io.StringIO(stdin)
    try:
        yield
    finally:
        sys.argv, sys.stdin = before


def issued(run: Commands, address: str = "ivan@in.test", *more: str) -> dict[str, Any]:
    """A request that is issued at once, as the command tells it."""
    done = run("certificate", "request", address, "--cn", "Ivan", *more, "--json")
    found: dict[str, Any] = json.loads(done.out)
    assert found["state"] == "issued", found
    return found
