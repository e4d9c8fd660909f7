"""A web service with mutual TLS, in a thread of its own, for handlers that speak to one.

`TLS` is made once: a CA for both sides, a certificate for 127.0.0.1, one for the client, and
those of strangers. A service is an aiohttp application; `Service` serves it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.cas.server import ended
from tests.support.ports import ReservedPort
from tests.support.started import Started


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: str
    key: str


class Issuer:
    """Certificates for TLS, of now."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.root = _pem(self._signed(self._name, self._key.public_key(), ca=True))

    def pair(self, name: str) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Pair(self.certificate(name, key.public_key()), pem)

    def certificate(self, name: str, public: Any, days: int = 30) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return _pem(self._signed(subject, public, days=days))

    def _signed(
        self, subject: x509.Name, public: Any, *, ca: bool = False, days: int = 30
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(ours, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


@dataclass(frozen=True)
class Tls:
    """All that both sides need."""

    issuer: Issuer
    server: Pair
    client: Pair

    @property
    def roots(self) -> str:
        return self.issuer.root

    def context(self) -> ssl.SSLContext:
        """Of a server that wants to know its clients."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.roots)
        context.verify_mode = ssl.CERT_REQUIRED
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "server.pem"
            file.write_text(self.server.certificate + self.server.key)
            context.load_cert_chain(file)
        return context


@cache
def tls() -> Tls:
    """The same for all tests."""
    issuer = Issuer("TLS of CAs")
    return Tls(issuer, issuer.pair("127.0.0.1"), issuer.pair("smimefilter"))


@cache
def stranger() -> Issuer:
    """Whom no side trusts."""
    return Issuer("Stranger")


class Service(Started):
    """Serves requests by `answer` until it is stopped."""

    def __init__(self) -> None:
        self._place = ReservedPort()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def root(self) -> str:
        return f"https://127.0.0.1:{self._place.number}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        self._run(ended(self._runner) if self._runner else asyncio.sleep(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.release()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        runner = web.ServerRunner(web.Server(self.answer, handler_cancellation=True))
        await runner.setup()
        self._runner = runner  # type: ignore[assignment]
        site = web.TCPSite(runner, "127.0.0.1", self._place.number, ssl_context=tls().context())
        await site.start()


Behave = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def silent(_: web.Request) -> web.StreamResponse:
    """Never answers; the client gives up."""
    await asyncio.sleep(5)  # cancelled when the client is gone
    raise AssertionError


async def closes(request: web.Request) -> web.StreamResponse:
    """Closes without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def huge(_: web.Request) -> web.StreamResponse:
    """More than anybody reads."""
    return web.Response(body=b" " * (1024 * 1024 + 1), content_type="application/json")


def says(body: str | bytes, status: int = 200, kind: str = "application/json") -> Behave:
    """Always the same."""

    async def behave(_: web.Request) -> web.StreamResponse:
        content = body.encode() if isinstance(body, str) else body
        return web.Response(body=content, status=status, content_type=kind)

    return behave


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
