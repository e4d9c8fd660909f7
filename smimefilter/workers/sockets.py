"""The listening sockets of a supervisor: bound once, kept as long as the settings name them.

Raises `AdminError` where one cannot be had.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from smimefilter.base.errors import AdminError

Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Door:
    """An address that is listened on."""

    purpose: str  # smtp, lmtp, publish
    address: str
    port: int
    bind: Callable[[], list[socket.socket]] = field(compare=False)  # raises `AdminError`


class Doors:
    """The sockets that are open."""

    def __init__(self) -> None:
        self._open: dict[Key, list[socket.socket]] = {}

    def open(self, doors: Sequence[Door]) -> list[list[socket.socket]]:
        """The sockets of each, those that are open already as they are. Raises `AdminError`,
        and then opens none."""
        made: dict[Key, list[socket.socket]] = {}
        try:
            for key, door in zip(_keys(doors), doors, strict=True):
                if key not in self._open:
                    made[key] = door.bind()
        except AdminError:
            _close(made.values())
            raise
        self._open |= made
        return [self._open[key] for key in _keys(doors)]

    def keep(self, doors: Sequence[Door]) -> None:
        """Close all others."""
        gone = self._open.keys() - set(_keys(doors))
        _close([self._open.pop(key) for key in gone])

    def close(self) -> None:
        """Close all."""
        self.keep([])


def _keys(doors: Sequence[Door]) -> list[Key]:
    """By address and port; of several alike (any free port) also by their order."""
    seen: Counter[tuple[str, int]] = Counter()
    found: list[Key] = []
    for door in doors:
        place = (door.address, door.port)
        found.append((*place, seen[place]))
        seen[place] += 1
    return found


def _close(many: Iterable[list[socket.socket]]) -> None:
    for sockets in many:
        for one in sockets:
            one.close()
