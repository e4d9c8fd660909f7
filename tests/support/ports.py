"""Free ports for tests, without the race that "bind, close, hope" has.

A reserved port is held by a socket that is bound and never listens. A server that binds with
SO_REUSEADDR (asyncio and Postfix do) can still take it, connections to it are refused until
then, and the system gives it to nobody else.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self


class ReservedPort:
    """One TCP port of an address, ours until `release`."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self._holder = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind((address, port))
        self.number: int = self._holder.getsockname()[1]

    def release(self) -> None:
        """Give the port back."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
