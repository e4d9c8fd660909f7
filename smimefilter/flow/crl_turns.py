"""When it is a CRL's turn to be fetched again. Pure but for chance, which is an argument.

Regularly, at times that differ a little from URL to URL, so that not all nodes of the world
ask at once. Sooner when the CRL at hand ends sooner: once nine tenths of its time have passed,
because CAs issue the next one some time before; when that brought nothing, once more as it
ends. After failures soon, then less and less soon. RFC 5280 §5.1.2.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from smimefilter.pki.crl import Crl
from smimefilter.trust.span import later

SOONEST: Final = timedelta(minutes=5)
_LATE: Final = timedelta(minutes=1)  # clocks differ
_SPREAD: Final = 0.1


@dataclass(frozen=True, slots=True)
class Turns:
    """`every`: the regular interval; `chance`: a number in [0, 1), anew with each call."""

    every: timedelta
    chance: Callable[[], float]

    def after(self, now: datetime, crl: Crl) -> datetime:
        """The next turn after a success that left this CRL at hand."""
        turn = now + self.every * (1 + _SPREAD * (2 * self.chance() - 1))
        if crl.next_update is None:
            return turn
        early = crl.next_update - (crl.next_update - crl.this_update) / 10
        for moment in (early, later(crl.next_update, _LATE)):
            if moment > now:
                return min(turn, max(moment, now + SOONEST))
        return min(turn, now + SOONEST)  # out of date already: the next one is overdue

    def again(self, now: datetime, failures: int) -> datetime:
        """The next turn after so many failures in a row, at least one."""
        wait = SOONEST * 2.0 ** min(failures - 1, 20)
        return now + min(wait, self.every) * (1 + _SPREAD * self.chance())
