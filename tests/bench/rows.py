"""Rows of the table, and measuring two things in turn.

Two rates are measured in turn, each against the other's before and after it: a machine that is
faster or slower for a while changes no ratio. The median of the rounds counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench import load

ROUNDS = 7


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    unit: str
    against: float
    ratio: float
    bar: float | None  # None: shown only
    holds: bool


def at_least(name: str, value: float, against: float, bar: float, unit: str = "mails/s") -> Row:
    """A rate beside another one, which it must reach `bar` times."""
    ratio = round(value / against, 3)
    return Row(name, round(value, 1), unit, round(against, 1), ratio, bar, ratio >= bar)


def at_most(name: str, value: float, against: float, bar: float | None, unit: str) -> Row:
    """A cost beside another one, of which it may be `bar` times."""
    ratio = round(value / against, 3)
    holds = bar is None or ratio <= bar
    return Row(name, round(value, 2), unit, round(against, 2), ratio, bar, holds)


def in_turn(
    name: str,
    rate: Callable[[], float],
    limit: Callable[[], float],
    bar: float,
    rounds: int = ROUNDS,
) -> Row:
    """The rate beside the limit, each measured `rounds` times."""
    found = []
    before = limit()
    for _ in range(rounds):
        value = rate()
        after = limit()
        against = (before + after) / 2
        found.append((value / against, value, against))
        before = after
    _, value, against = sorted(found)[rounds // 2]
    return at_least(name, value, against, bar)


def apart(module: str, *arguments: str) -> Any:
    """What a module of the bench prints as JSON, run by itself on the filter's core."""
    command = ["taskset", "-c", load.FILTER_CORE, sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)
