"""A socket file in front of a connection, for a client that wants to connect by itself.

libldap resolves names, connects and checks certificates in its own way, out of the guard's
sight, and takes answers of any size. Behind a bridge it never sees the network: the connection
is made here, what comes is counted here, and to close the bridge is to end whatever the client
still waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_BLOCK: Final = 65536


class Bridge:
    """Carries one connection to whoever connects to `path` first, while it is entered."""

    def __init__(self, remote: Streams, *, most: int, patience: float) -> None:
        self._remote = remote
        self._most = most  # octets that may come
        self._patience = patience  # seconds between octets that come
        self._stack = AsyncExitStack()
        self.path = Path()
        self.overrun = False  # more came
        self.silent = False  # nothing came for too long

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(_close, self._remote[1])
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="smimefilter-"))
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.setblocking(False)
            self.path = Path(folder, "socket")  # its folder is ours alone
            listener.bind(str(self.path))
            listener.listen(1)
            stack.push_async_callback(_end, asyncio.create_task(self._carry(listener)))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _carry(self, listener: socket.socket) -> None:
        local, _ = await asyncio.get_running_loop().sock_accept(listener)
        reader, writer = await asyncio.open_unix_connection(sock=local)
        outwards = asyncio.create_task(_copy(reader, self._remote[1]))
        try:
            await self._inwards(writer)
        finally:
            await _end(outwards)
            await _close(writer)

    async def _inwards(self, writer: asyncio.StreamWriter) -> None:
        came = 0
        with contextlib.suppress(OSError):
            while block := await self._next():
                came += len(block)
                if came > self._most:
                    self.overrun = True
                    return
                writer.write(block)
                await writer.drain()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await self._remote[0].read(_BLOCK)
        except TimeoutError:
            self.silent = True
            return b""


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
