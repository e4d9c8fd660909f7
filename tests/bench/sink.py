"""A mail server that takes everything and keeps nothing, at next to no cost.

Runs as a process of its own (`python -m tests.bench.sink`) and prints its port. Postfix's
smtp-sink looks at every octet: with large mails it takes longer than the filter does, and it
is not the sink that is to be measured.
"""

from __future__ import annotations

import asyncio

import uvloop

END = b"\r\n.\r\n"
EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE\r\n"


class Sink(asyncio.Protocol):
    """One connection. Takes a content for ended when CRLF.CRLF ends what has come."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport
        self.rest = b""
        self.in_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's are no subclasses
        self.transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        if self.in_content:
            self.rest = (self.rest + data)[-len(END) :]
            if self.rest == END:
                self.in_content, self.rest = False, b""
                self.transport.write(b"250 2.0.0 Ok: queued as SINK\r\n")
            return
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        self.transport.write(b"".join(map(self.answer, lines)))

    def answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return EHLO
            case b"DATA":
                self.in_content = True
                return b"354 go on\r\n"
            case b"QUIT":
                return b"221 bye\r\n"
            case _:
                return b"250 Ok\r\n"


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
