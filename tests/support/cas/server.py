"""A CA for tests, over mutual TLS on a port of its own; what it says is up to its kind.

async with FakeEjbca() as ca:
    handler = Ejbca.opened(ca.settings(), Services())
    ca.fault = Fault.SILENT
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from smimefilter.pki.build import Identity, Profile, certify
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.export import certificates_pem, identity_pem
from tests.support.pki import NOW, YEAR, Issued, key_of, root

PASSWORD = "Sesam, offne dich"


class Fault(StrEnum):
    """How the server misbehaves, whatever it is asked."""

    SILENT = "silent"  # says nothing
    CLOSE = "close"  # closes without an answer
    LOST = "lost"  # does what it was asked, then closes without an answer
    LARGE = "large"  # two megabytes
    ENDLESS = "endless"  # as much as is taken
    COMPRESSED = "compressed"
    REDIRECT = "redirect"
    CUT = "cut"  # less than it announces
    GARBLED = "garbled"  # does what it was asked, then what is said is no TLS


@dataclass
class Asked:
    """What it was asked, in the order of arrival."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class CaServer:
    """What is common to all."""

    scheme = "https"
    takes_anybody = False  # without a certificate

    def __init__(self, *, host: str = "127.0.0.1", clients: Issued | None = None) -> None:
        """`host` is what its certificate names; `clients` issues those that it takes."""
        self.authority = root("Test CA").issue("Issuing CA", ca=True)
        self.asked: list[Asked] = []
        self.fault: Fault | None = None
        self.reply: tuple[int, bytes, str] | None = None  # status, body, type; whatever it is
        self._host = host
        self._clients = clients or tls_root()
        self._runner: web.AppRunner | None = None
        self._silence: list[asyncio.Event] = []
        self.port = 0

    async def answer(self, asked: Asked) -> web.StreamResponse:
        """What it says."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def tls(self) -> dict[str, Any]:
        """Settings of a handler that it takes."""
        return {
            "client_certificate": identity_pem(client().identity, PASSWORD).decode(),
            "client_password": PASSWORD,
            "ca_certificates": certificates_pem([tls_root().certificate]).decode(),
            "timeout": 10,
        }

    def issue(self, csr: bytes, **special: Any) -> Certificate:
        """A certificate for a request; `special` are fields of `Profile`."""
        return issue_for(self.authority, csr, **special)

    def count(self, part: str) -> int:
        """How often something was asked whose path has this in it."""
        return sum(part in one.path for one in self.asked)

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1 << 22)
        application.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        clients = None if self.takes_anybody else self._clients
        context = server_context(self._host, clients) if self.scheme == "https" else None
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for event in self._silence:
            event.set()
        assert self._runner is not None
        await ended(self._runner)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(
            request.method,
            request.raw_path.partition("?")[0],
            dict(request.query),
            await request.read(),
            dict(request.headers),
        )
        self.asked.append(asked)
        if self.fault is not None:
            return await self._misbehave(request, asked)
        if self.reply is not None:
            status, body, kind = self.reply
            return web.Response(status=status, body=body, content_type=kind)
        return await self.answer(asked)

    async def _misbehave(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        match self.fault:
            case Fault.SILENT:
                self._silence.append(asyncio.Event())
                await self._silence[-1].wait()
            case Fault.LOST:
                await self.answer(asked)
            case Fault.GARBLED:
                await self.answer(asked)
                plain = transport.get_extra_info("socket")
                os.write(plain.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
                self._silence.append(asyncio.Event())
                await self._silence[-1].wait()
            case Fault.LARGE:
                return web.Response(body=b" " * (2 << 20))
            case Fault.COMPRESSED:
                return web.Response(body=b"{}", headers={"Content-Encoding": "gzip"})
            case Fault.REDIRECT:
                raise web.HTTPFound("https://127.0.0.1:1/elsewhere")
            case Fault.ENDLESS:
                stream = web.StreamResponse()
                await stream.prepare(request)
                while not transport.is_closing():
                    await stream.write(b" " * 65536)
                    await asyncio.sleep(0)  # writing alone lets nobody else run
                return stream
            case Fault.CUT:
                stream = web.StreamResponse(headers={"Content-Length": "1000"})
                await stream.prepare(request)
                await stream.write(b"{")
        transport.abort()
        return web.Response()


async def ended(runner: web.BaseRunner[Any]) -> None:
    """Stop a server, and hang up on whoever is connected still: a connection that outlives its
    loop is reported in the middle of another test."""
    server = runner.server
    for connection in server.connections if isinstance(server, web.Server) else ():
        if connection.transport is not None:
            connection.transport.abort()
    await runner.cleanup()
    await asyncio.sleep(0.02)  # for what is closing
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    for _ in range(100):  # and for whoever is not done with shaking hands, or with parting
        if len(selector.get_map()) <= 1:  # the loop's own
            break
        await asyncio.sleep(0.02)


def issue_for(authority: Issued, csr: bytes, **special: Any) -> Certificate:
    """What a CA makes of a request."""
    request = x509.load_der_x509_csr(csr)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    fields: dict[str, Any] = {
        "common_name": request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value,
        "not_before": NOW,
        "not_after": NOW + YEAR,
        "addresses": tuple(names.get_values_for_type(x509.RFC822Name)),
    }
    public = special.pop("public", None) or request.public_key()
    return certify(Profile(**(fields | special)), public, authority.identity)


@cache
def tls_root() -> Issued:
    """Issues the TLS certificates; valid now, since TLS has no other clock."""
    return root("TLS Root", key="p256", **_today())


@cache
def client(name: str = "Gateway") -> Issued:
    """What the gateway is known by."""
    return tls_root().issue(name, key="p256", extended_key_usage=frozenset(), **_today())


@cache
def stranger() -> Issued:
    """Somebody whom no CA knows."""
    return root("Other Root", key="p256", **_today()).issue("Stranger", key="p256", **_today())


def server_context(host: str, clients: Issued | None) -> ssl.SSLContext:
    """TLS of a server that takes nobody without a certificate; with None, anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.certificate.der)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "server.pem"
        file.write_bytes(identity_pem(_server(host), PASSWORD))
        context.load_cert_chain(file, password=PASSWORD)
    return context


@cache
def _server(host: str) -> Identity:
    key = key_of("p256", f"server {host}")
    issuer, today = tls_root(), _today()
    name = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]))
        .issuer_name(issuer.certificate.parsed.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today["not_before"])
        .not_valid_after(today["not_after"])
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier(issuer.certificate.subject_key_id, None, None),
            critical=False,
        )
        .sign(issuer.key, hashes.SHA256())
    )
    return Identity(Certificate(built.public_bytes(Encoding.DER)), key)


def _today() -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    return {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=30)}
