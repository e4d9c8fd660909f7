"""Keeping what is in memory out of core dumps and from other programs of the same user.

A limit of 0 keeps the kernel from writing core files. It does not keep a dump from a program
that takes them (`kernel.core_pattern` with a pipe: systemd-coredump, apport): that takes
PR_SET_DUMPABLE, which also closes /proc/PID/mem and ptrace to programs of the same user.
Children that run another program are not affected by the latter. Linux alone has it. prctl(2),
core(5). Raises nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_from_dumps() -> None:
    """From now on nothing of this process is written into a core dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
