"""A timer that is moved often and fires seldom.

Moving it is an assignment: the event loop's timer is left where it is and looks again when it
goes off. One such timer guards each connection, on both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf


class Deadline:
    """Calls `expired` once when the time set by the last `within` has passed."""

    __slots__ = ("_armed", "_expired", "_handle", "_loop", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._when = inf
        self._armed = inf
        self._handle: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> None:
        """Set or move the deadline to `seconds` from now."""
        self._when = when = self._loop.time() + seconds
        if when < self._armed:
            self._arm(when)

    def clear(self) -> None:
        """There is no deadline for the time being."""
        self._when = inf

    def close(self) -> None:
        """Let go of the event loop's timer."""
        self._when = inf
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._armed = None, inf

    def _arm(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = when
        # relative and not below a millisecond, because that is how finely loops keep time
        self._handle = self._loop.call_later(max(when - self._loop.time(), 0.001), self._look)

    def _look(self) -> None:
        self._handle, self._armed = None, inf
        if self._when <= self._loop.time():
            self._when = inf
            self._expired()
        elif self._when < inf:
            self._arm(self._when)
