"""How failures of the network are told: a few words, no internals."""

from __future__ import annotations

import os
import socket
import ssl


def unreachable(error: OSError) -> str:
    """Why there is no connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate of the server not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    if isinstance(error, socket.gaierror):
        known = error.errno != socket.EAI_AGAIN
        return "no such host" if known else "name service does not answer"
    if error.errno is not None and error.errno > 0:
        return f"cannot be reached: {os.strerror(error.errno).lower()}"
    return "cannot be reached"


def seconds(number: float) -> str:
    """`30 s`, `0.5 s`."""
    return f"{number:g} s"


def octets(number: int) -> str:
    """`64 MiB` where it is even, else `1000 octets`."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size and number % size == 0:
            return f"{number // size} {unit}"
    return f"{number} octets"
