"""Both ends of an SMTP connection for tests, in the test's own event loop, byte for byte.

`Line` is a client that writes exactly what it is told and reads whole replies. `Hop` is a next
hop whose every answer can be scripted, broken ones included. `both_loops` runs a test on
asyncio's own event loop and on uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from smimefilter import config
from smimefilter.base.envelope import Delivered, Fate, Transaction
from smimefilter.smtp.listener import MailListener

PATIENCE = 10.0  # seconds, for what should come at once
EXTENSIONS = (
    "PIPELINING",
    "SIZE 1000000",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
)


def both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Any:
    """Run an async test under each of the event loops that the daemon may have."""

    @functools.wraps(test)
    def run_it(*args: Any, run_on: Callable[..., None], **kwargs: Any) -> None:
        run_on(test(*args, **kwargs))

    signature = inspect.signature(test)
    extra = inspect.Parameter("run_on", inspect.Parameter.KEYWORD_ONLY)
    run_it.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), extra]
    )
    del run_it.__wrapped__
    loops = pytest.param(asyncio.run, id="asyncio"), pytest.param(uvloop.run, id="uvloop")
    return pytest.mark.parametrize("run_on", loops)(run_it)


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


class Line:
    """A client that says what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        """Connected, the greeting not yet read."""
        line = cls(*await asyncio.open_connection("127.0.0.1", port))
        try:
            yield line
        finally:
            line.writer.close()
            with contextlib.suppress(OSError):
                await line.writer.wait_closed()

    def send(self, octets: bytes) -> None:
        """Write as is."""
        self.writer.write(octets)

    async def reply(self) -> str:
        """The next reply, its lines joined by LF; "" when the connection has ended."""
        lines = []
        async with asyncio.timeout(PATIENCE):
            while True:
                octets = await self.reader.readline()
                assert octets.endswith(b"\r\n") or not octets
                lines.append(octets[:-2].decode())
                if octets[3:4] != b"-":
                    return "\n".join(lines)

    async def ask(self, command: str) -> str:
        """One command, its reply."""
        self.send(command.encode() + b"\r\n")
        return await self.reply()

    async def dialogue(self, *steps: tuple[str, str]) -> None:
        """Commands, and what each reply has to begin with."""
        for command, beginning in steps:
            reply = await self.ask(command)
            assert reply.startswith(beginning), (command, reply)

    async def start_tls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        """The handshake."""
        await secured(self.writer, context, server_hostname=name)

    async def chatter(self, octets: bytes) -> None:
        """Write the same again and again, until the connection breaks."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.send(octets)
                await self.writer.drain()

    async def at_end(self) -> bool:
        """Whether the server has closed, with nothing more to say."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read(1) == b""


class Inbox:
    """An `accept` that keeps what it gets, and answers with `fates` as far as there are any."""

    def __init__(self, *fates: Fate) -> None:
        self.mails: list[Transaction] = []
        self.fates = fates

    async def __call__(self, mail: Transaction) -> Sequence[Fate]:
        self.mails.append(mail)
        given = self.fates[: len(mail.recipients)]
        return [*given, *[Delivered("4AB", "Ok: queued as 4AB")] * len(mail.recipients)][
            : len(mail.recipients)
        ]


@contextlib.asynccontextmanager
async def listening(
    accept: Any = None,
    *,
    accounts: Any = None,
    abilities: Any = lambda: None,
    admission: Any = None,
    told: Any = lambda _id, _heard: None,
    **settings: Any,
) -> AsyncIterator[MailListener]:
    """A listener on a free port; `settings` are those of `config.Listener`."""
    settings = {"protocol": "smtp", "port": 0, **settings}
    listener = MailListener(
        config.Listener(**settings),
        hostname="gw.test",
        accept=accept or Inbox(),
        accounts=accounts,
        abilities=abilities,
        admission=admission,
        told=told,
    )
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop(0)


async def secured(writer: asyncio.StreamWriter, context: ssl.SSLContext, **more: Any) -> None:
    """Handshake; a writer whose handshake fails keeps a transport, so that it can be closed."""
    transport = writer.transport
    try:
        await writer.start_tls(context, **more)
    except AttributeError:  # what asyncio makes of a handshake that is cut short
        raise ConnectionError from None
    finally:
        if writer.transport is None:
            writer._transport = transport  # type: ignore[attr-defined]


DROP = object()  # a script's step: close the connection without a word
HANG = object()  # a script's step: say nothing


class Hop:
    """A next hop. `script[verb]` holds answers in order; then comes the usual one.

    An answer is a reply line, raw bytes, `DROP` or `HANG`. Verbs are those of SMTP, `CONNECT`
    and `END` (the end of a content).
    """

    def __init__(self, extensions: Sequence[str] = EXTENSIONS) -> None:
        self.extensions = list(extensions)
        self.script: dict[str, deque[Any]] = defaultdict(deque)
        self.commands: list[str] = []
        self.contents: list[bytes] = []  # as received, without their ends
        self.connections = 0
        self.tls: ssl.SSLContext | None = None
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def on(self, verb: str, *answers: Any) -> None:
        """Append answers to the script of a verb."""
        self.script[verb].extend(answers)

    def verbs(self) -> list[str]:
        """The first words of all commands so far."""
        return [command.split(" ")[0] for command in self.commands]

    def say(self, octets: bytes) -> None:
        """Say something on every connection, unasked."""
        for writer in self._writers:
            writer.write(octets)

    def cut(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listening on `port`."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        ends = (OSError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends):
            if self._answer(writer, "CONNECT", "220 hop.test ESMTP"):
                await self._talk(reader, writer)
        writer.close()
        self._writers.discard(writer)

    def _answer(self, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        """Whether the connection goes on."""
        answer = self.script[verb].popleft() if self.script[verb] else usual
        if answer is DROP:
            return False
        if answer is not HANG:
            writer.write(answer if isinstance(answer, bytes) else f"{answer}\r\n".encode())
        return not (isinstance(answer, str) and answer.startswith("421"))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        usual = defaultdict(
            lambda: "250 2.0.0 Ok", DATA="354 go", STARTTLS="220 go", QUIT="221"
        )
        while True:
            command = (await reader.readuntil(b"\r\n"))[:-2].decode()
            self.commands.append(command)
            verb = command.split(" ")[0].upper()
            lines = ["hop.test", *self.extensions]
            usual["EHLO"] = "\r\n".join(
                f"250{'-' if n < len(lines) - 1 else ' '}{line}" for n, line in enumerate(lines)
            )
            wanted = self.script[verb][0] if self.script[verb] else usual[verb]
            if not self._answer(writer, verb, usual[verb]):
                return
            if verb == "STARTTLS" and self.tls is not None and "220" in str(wanted):
                await secured(writer, self.tls)
            if verb == "DATA" and str(wanted).startswith("354"):
                content = b"\r\n"
                while not content.endswith(b"\r\n.\r\n"):
                    content += await reader.readuntil(b".\r\n")
                self.contents.append(content[2:-3])
                number = len(self.contents)
                if not self._answer(writer, "END", f"250 2.0.0 Ok: queued as Q{number}"):
                    return


class Certificates:
    """A root of its own and a server certificate for localhost, as PEM files in `folder`."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw.test")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate = folder / "server.pem"
        self.key = folder / "server.key"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    @property
    def settings(self) -> config.ServerTls:
        """For a listener."""
        return config.ServerTls(certificate=self.certificate, key=self.key)

    def server(self) -> ssl.SSLContext:
        """For a server that has it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """For a client that trusts it."""
        return ssl.create_default_context(cafile=self.certificate)
