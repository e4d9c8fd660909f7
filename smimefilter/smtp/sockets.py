"""Listening sockets: made here once, for this process or for the workers that inherit them.

One for each address that a name stands for, as an event loop would make them; they listen from
the start, so that whoever connects waits and is not refused until somebody serves them.

Leaves what is said over them to others. Raises `AdminError`.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from smimefilter.base.errors import AdminError

BACKLOG: Final = 512
_MEND: Final = {
    errno.EADDRINUSE: "stop what listens there, or choose another port",
    errno.EADDRNOTAVAIL: "choose an address that this host has",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one",
}


def listening(address: str, port: int, purpose: str) -> list[socket.socket]:
    """Sockets that listen there; port 0 is any free one. `purpose`: a word for errors."""
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, place in dict.fromkeys(
            socket.getaddrinfo(
                address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        ):
            one = socket.socket(family, kind, protocol)
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(place)
            one.listen(BACKLOG)
            one.setblocking(False)
    except OSError as error:
        for one in made:
            one.close()
        raise AdminError(
            f"cannot listen for {purpose}: {error.strerror or error}",
            where=f"{address}:{port}",
            mend=_MEND.get(error.errno or 0, "check the address"),
        ) from None
    return made
