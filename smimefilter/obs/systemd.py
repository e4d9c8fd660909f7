"""Telling systemd how we are: READY, RELOADING, STOPPING, WATCHDOG (sd_notify(3)).

Does nothing where `NOTIFY_SOCKET` is not set.
"""

from __future__ import annotations

import os
import socket
import time


def notify(*states: str) -> bool:
    """Send states such as `READY=1`; whether there was anybody to tell."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.connect(address)
            out.sendall("\n".join(states).encode())
    except OSError:  # systemd re-executes itself: mail goes on, the next word will be heard
        return False
    return True


def reloading() -> None:
    """A reload begins; `READY=1` ends it."""
    notify(
        "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
    )


def watchdog_interval() -> float | None:
    """Seconds between keep-alives, half of what systemd waits; None without a watchdog."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdigit() else None
