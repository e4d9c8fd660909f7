"""One connection of the test server in `sink.py`: commands in, answers out, mails kept.

Strict about line ends, lenient about everything else: it is no reference for SMTP. What to
answer and whether the server is busy is the host's business.
RFC 5321, RFC 2033 (LMTP), RFC 3461 (DSN); XFORWARD as Postfix defines it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
    """Where an answer can be set."""

    CONNECT = "connect"
    HELLO = "hello"
    XFORWARD = "xforward"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"  # after CRLF.CRLF; with LMTP once for each recipient
    RSET = "rset"


@dataclass(frozen=True, slots=True)
class Rcpt:
    """One accepted recipient, parameters as the client wrote them."""

    address: str
    params: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that was answered with 250, for those recipients that it was."""

    sender: str  # without angle brackets
    params: tuple[str, ...]  # of MAIL FROM
    recipients: tuple[Rcpt, ...]  # in order
    content: bytes  # dots unstuffed, nothing else changed
    helo: str
    xforward: Mapping[str, str]  # decoded
    queue_id: str  # what the answer called it
    connection: int  # 1 for the first connection, …

    @property
    def addresses(self) -> tuple[str, ...]:
        """The recipients' addresses, in order."""
        return tuple(rcpt.address for rcpt in self.recipients)


class CutError(Exception):
    """This connection ends here, without another word."""


class Host(Protocol):
    """What a dialogue needs of its server."""

    lmtp: bool
    hostname: str
    keywords: Sequence[str]
    mails: list[Mail]
    commands: list[str]

    @property
    def busy(self) -> bool:
        """Whether to answer 421 for now."""

    async def ruling(self, stage: Stage, about: str, yes: str) -> str:
        """What to answer at this stage; `yes` unless a rule says otherwise."""

    def keep(self, mail: Mail) -> None:
        """Take a mail in."""


class Dialogue:
    """The state of one connection."""

    def __init__(
        self,
        host: Host,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.writer = writer
        self._host = host
        self._number = number
        self._reader = reader
        self._helo = ""
        self._reset()

    async def talk(self) -> None:
        """Until the client leaves (`asyncio.IncompleteReadError`) or is cut (`CutError`)."""
        if self._host.busy:
            await self._say("421 4.3.2 busy")
        await self._settle(Stage.CONNECT, "", f"220 {self._host.hostname} ESMTP")
        handlers = {
            "EHLO": self._hello,
            "LHLO": self._hello,
            "HELO": self._short_hello,
            "XFORWARD": self._xforward,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
        }
        while True:
            line = (await self._reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")
            self._host.commands.append(line)
            verb, _, rest = line.partition(" ")
            await handlers.get(verb.upper(), self._unknown)(rest)

    def _reset(self) -> None:
        self._sender: str | None = None
        self._params: tuple[str, ...] = ()
        self._recipients: list[Rcpt] = []
        self._attributes: dict[str, str] = {}

    async def _say(self, *replies: str) -> None:
        self.writer.write("".join(f"{reply}\r\n" for reply in replies).encode())
        await self.writer.drain()
        if any(reply.startswith("421") for reply in replies):
            raise CutError

    async def _settle(self, stage: Stage, about: str, yes: str) -> bool:
        """Answer; whether it was a yes."""
        reply = await self._host.ruling(stage, about, yes)
        await self._say(reply)
        return reply[0] in "23"

    async def _hello(self, rest: str) -> None:
        self._reset()
        self._helo = rest
        *lines, last = [self._host.hostname, *self._host.keywords]
        yes = "".join(f"250-{line}\r\n" for line in lines) + f"250 {last}"
        await self._settle(Stage.HELLO, rest, yes)

    async def _short_hello(self, rest: str) -> None:
        self._reset()
        self._helo = rest
        await self._settle(Stage.HELLO, rest, f"250 {self._host.hostname}")

    async def _xforward(self, rest: str) -> None:
        if await self._settle(Stage.XFORWARD, rest, "250 2.0.0 ok"):
            for attribute in rest.split():
                name, _, value = attribute.partition("=")
                self._attributes[name.upper()] = _xtext(value)

    async def _mail(self, rest: str) -> None:
        if self._host.busy:
            await self._say("421 4.3.2 busy")
        address, params = _path(rest)
        if await self._settle(Stage.MAIL, address, "250 2.1.0 ok"):
            self._sender, self._params = address, params

    async def _rcpt(self, rest: str) -> None:
        address, params = _path(rest)
        if self._sender is None:
            await self._say("503 5.5.1 MAIL first")
        elif await self._settle(Stage.RCPT, address, "250 2.1.5 ok"):
            self._recipients.append(Rcpt(address, params))

    async def _data(self, _rest: str) -> None:
        if not self._recipients:
            await self._say("503 5.5.1 RCPT first")
            return
        if await self._settle(Stage.DATA, "", "354 go on"):
            content = bytearray(b"\r\n")
            while not content.endswith(b"\r\n.\r\n"):
                content += await self._reader.readuntil(b".\r\n")
            await self._finish(bytes(content[:-3]).replace(b"\r\n.", b"\r\n")[2:])
            self._reset()

    async def _finish(self, content: bytes) -> None:
        """Answer for the content, once or for each recipient, and keep what was accepted.

        Nothing waits between keeping and answering, so that a server that cuts connections
        never loses the answer for a mail it has kept.
        """
        queue_id = f"{self._number:X}{len(self._host.mails):05X}"
        yes = f"250 2.0.0 ok: queued as {queue_id}"
        asked = self._recipients if self._host.lmtp else self._recipients[:1]
        replies = [await self._host.ruling(Stage.CONTENT, r.address, yes) for r in asked]
        if self.writer.transport.is_closing():
            raise CutError
        of_each = replies if self._host.lmtp else replies * len(self._recipients)
        accepted = tuple(
            rcpt
            for rcpt, reply in zip(self._recipients, of_each, strict=True)
            if reply.startswith("2")
        )
        if accepted:
            self._host.keep(self._as_mail(accepted, content, queue_id))
        await self._say(*replies)

    def _as_mail(self, accepted: tuple[Rcpt, ...], content: bytes, queue_id: str) -> Mail:
        return Mail(
            sender=self._sender or "",
            params=self._params,
            recipients=accepted,
            content=content,
            helo=self._helo,
            xforward=self._attributes,
            queue_id=queue_id,
            connection=self._number,
        )

    async def _rset(self, _rest: str) -> None:
        self._reset()
        await self._settle(Stage.RSET, "", "250 2.0.0 ok")

    async def _noop(self, _rest: str) -> None:
        await self._say("250 2.0.0 ok")

    async def _quit(self, _rest: str) -> None:
        await self._say("221 2.0.0 bye")
        raise CutError

    async def _unknown(self, _rest: str) -> None:
        await self._say("502 5.5.1 not here")


def _path(rest: str) -> tuple[str, tuple[str, ...]]:
    """`FROM:<a@b> X=1 Y` as its address and parameters. A quoted local part may hold `>`."""
    match = re.match(r'\w+:\s*<((?:"(?:\\.|[^"\\])*"|[^>"])*)>\s*(.*)', rest)
    if match is None:
        address, *params = rest.partition(":")[2].split() or [""]
        return address, tuple(params)
    return match[1], tuple(match[2].split())


def _xtext(value: str) -> str:
    """xtext decoded, RFC 3461 section 4."""
    raw = re.sub(rb"\+([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), value.encode())
    return raw.decode("utf-8", "replace")
