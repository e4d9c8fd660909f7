"""What a worker is told when it is started, and how that reaches it.

The supervisor starts the program once more, just as it was started itself, with one end of a
socket pair among the descriptors. Its number stands in the environment; what the worker is to
do is the first line on it. So nothing of the settings, which may hold passwords, is seen in
`ps` or in an environment.

Raises `AdminError` where the environment names what is no such line.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from smimefilter.base.errors import AdminError

VARIABLE: Final = "SMIMEFILTER_WORKER"  # of the environment: the descriptor of our end
_MOST: Final = 16 * 1024 * 1024  # octets of an assignment


@dataclass(frozen=True, slots=True)
class Assignment:
    """The work of one process."""

    name: str = ""  # of the settings file
    # its content, as the supervisor has read it; may hold passwords
    text: str = field(default="", repr=False)
    number: int = 1  # of the worker, from 1
    crew: int = 1  # of the workers that go by these settings
    upgrade: bool = True  # whether it brings the database up to date
    # descriptors that listen: for each listener of the settings, then for `publish`
    sockets: tuple[tuple[int, ...], ...] = ()
    numbers: str = ""  # the folder where metrics of all workers are kept
    board: int = -1  # descriptor of what workers tell each other of their connections
    of: int = 1  # workers of the crew

    @property
    def leads(self) -> bool:
        """Whether it does what one process is enough for."""
        return self.number == 1

    @property
    def id(self) -> str:
        """Of the worker and whoever takes its place; of no two at one time."""
        return f"{self.crew}-{self.number}"

    @property
    def descriptors(self) -> list[int]:
        """All that it inherits."""
        return [self.board, *(one for place in self.sockets for one in place)]

    def line(self) -> bytes:
        """As it goes over the line."""
        return json.dumps(asdict(self)).encode() + b"\n"


ALONE: Final = Assignment()  # one process that does everything


def read_assignment() -> tuple[Assignment, socket.socket] | None:
    """What this process is to do as a worker, and the line to its supervisor; None when it is
    none. Waits for the supervisor."""
    number = os.environ.pop(VARIABLE, "")
    if not number:
        return None
    try:
        line = socket.socket(fileno=int(number))
        line.set_inheritable(False)
        found = json.loads(_first_line(line))
        sockets = found.pop("sockets")
        return Assignment(**found, sockets=tuple(map(tuple, sockets))), line
    except (OSError, ValueError, TypeError, KeyError):
        mend = "it is set by a supervisor for its workers: unset it"
        raise AdminError("no supervisor there", where=VARIABLE, mend=mend) from None


def _first_line(line: socket.socket) -> bytes:
    """No more than that is taken: what comes after it is said to somebody else."""
    read = bytearray()
    while not read.endswith(b"\n"):
        some = line.recv(65_536, socket.MSG_PEEK)
        if not some or len(read) > _MOST:
            raise ValueError
        read += line.recv(some.find(b"\n") + 1 or len(some))
    return bytes(read)


def inherited(descriptors: Sequence[int]) -> list[socket.socket]:
    """Listening sockets by their numbers. Raises `OSError`."""
    found = [socket.socket(fileno=one) for one in descriptors]
    for one in found:
        one.set_inheritable(False)
        one.setblocking(False)
    return found
