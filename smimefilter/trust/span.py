"""How long a verdict stays true: the moments at which something it rests on changes by itself.

Whoever looks at a date says so here; the span is then the stretch around the time of judging
in which none of these moments lies.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_TICK: Final = timedelta.resolution
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class Span:
    """A half-open stretch of time, [start, end), around `at`; it only gets narrower."""

    __slots__ = ("at", "end", "start")

    def __init__(self, at: datetime) -> None:
        self.at: Final = at
        self.start = _FIRST
        self.end = _LAST

    def reaches(self, moment: datetime) -> bool:
        """Whether it is `moment` or later; that was otherwise before."""
        if moment <= self.at:
            self.start = max(self.start, moment)
            return True
        self.end = min(self.end, moment)
        return False

    def is_past(self, moment: datetime) -> bool:
        """Whether it is later than `moment`; at the moment itself it was not."""
        return self.reaches(moment + _TICK) if moment < _LAST else False


def earlier(moment: datetime, by: timedelta) -> datetime:
    """`moment` less so much, or the first moment there is."""
    return moment - min(by, moment - _FIRST)


def later(moment: datetime, by: timedelta) -> datetime:
    """`moment` and so much later, or the last moment there is."""
    return moment + min(by, _LAST - moment)
