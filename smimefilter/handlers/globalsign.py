"""What the handlers for GlobalSign's services share: HTTPS requests, mutual TLS where the
service wants it, with bounds on time and size.

Nothing is kept between requests, no redirect followed, no proxy of the environment used. An
answer is whatever came with a status; what it means is left to `atlas_client.py` and
`epki.py`. The difference between "certainly not sent" and "no telling" matters to both, since
nothing may be ordered twice. What is told of a service's words has no secret of ours in it.
RFC 9110, RFC 8446.

Raises `HandlerTrouble`, and of it `NotSent` for a request that never left.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import aiohttp
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from yarl import URL

from smimefilter import __version__
from smimefilter.ports.handlers import HandlerTrouble

from .remote import masked, show

MOST: Final = 1024 * 1024  # octets of an answer
CONNECT: Final = 20.0  # seconds
_LONGEST_SAID: Final = 300
_BLANKS: Final = re.compile(r"\s+")


class NotSent(HandlerTrouble):
    """No connection: the service has not seen the request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes
    hidden: frozenset[str] = field(default=frozenset(), repr=False)  # secrets of ours

    def shown(self, text: str) -> str:
        """Words out of it, fit to be told to people."""
        return said(masked(text, self.hidden))


class Remote:
    """A service at one base URL."""

    def __init__(
        self,
        url: str,
        *,
        roots: str = "",
        certificate: str = "",
        key: str = "",
        timeout: float = 60,
    ) -> None:
        """`roots` (PEM) take the place of the system's; `certificate` and `key` (PEM) are ours
        for mutual TLS. They are read when they are needed."""
        self._url = url.rstrip("/")
        self._context = partial(_context, roots, certificate, key)
        self._timeout = timeout
        self._hidden: frozenset[str] = frozenset()
        self._session: aiohttp.ClientSession | None = None

    def hide(self, secret: str, instead_of: str = "") -> None:
        """Never show this in what is told of the service's words; what it takes the place of
        is one no longer."""
        self._hidden = self._hidden - {instead_of} | {secret}

    def shown(self, text: str) -> str:
        """What a service says, fit to be told to people."""
        return said(masked(text, self._hidden))

    async def ask(
        self,
        method: str,
        path: str = "",
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. Raises `HandlerTrouble`."""
        if not self._url.lower().startswith("https://"):
            raise NotSent("its URL has to be one of https")
        session = self._session = self._session or await self._opened()
        try:
            url = URL(self._url + path, encoded=True)
            async with session.request(
                method, url, data=body, headers=dict(headers or {}), allow_redirects=False
            ) as answer:
                content = await _content(answer)
                return Answer(answer.status, answer.headers, content, self._hidden)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"cannot be reached: {self._why(error)}") from None
        except TimeoutError:
            raise HandlerTrouble(f"no answer within {self._timeout:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HandlerTrouble(f"the connection broke: {self._why(error)}") from None

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _why(self, error: Exception) -> str:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return said(f"its certificate is not trusted: {error.certificate_error}")
        return self.shown(str(error)) or type(error).__name__

    async def _opened(self) -> aiohttp.ClientSession:
        context = await asyncio.to_thread(self._context)  # reading roots takes a while
        return aiohttp.ClientSession(
            # a connection that is used again may be closed by the service just then, and
            # whether it saw what was sent is not known
            connector=aiohttp.TCPConnector(ssl=context, force_close=True),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout, sock_connect=min(CONNECT, self._timeout)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={
                "User-Agent": f"smimefilter/{__version__}",
                "Accept-Encoding": "identity",
            },
        )


def said(text: str) -> str:
    """What a service says, fit to be shown: one line, not endless, nothing unprintable."""
    line = _BLANKS.sub(" ", text).strip()
    line = "".join(one for one in line if one.isprintable())
    return line if len(line) <= _LONGEST_SAID else f"{line[:_LONGEST_SAID]}…"


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    blocks, size = [], 0
    async for block in answer.content.iter_any():
        size += len(block)
        if size > MOST:
            raise HandlerTrouble("its answer is larger than 1 MiB")
        blocks.append(block)
    return b"".join(blocks)


def _context(roots: str, certificate: str, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=roots or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    except (ssl.SSLError, ValueError):
        raise NotSent("the roots it is to be trusted by cannot be read") from None
    if certificate or key:
        try:
            _present(context, certificate, key)
        except (OSError, ValueError, TypeError):  # ssl.SSLError is an OSError
            raise NotSent("certificate and key for mutual TLS do not fit") from None
    return context


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    password = secrets.token_urlsafe(32)
    sealed = load_pem_private_key(key.encode(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    show(context, certificate.encode() + b"\n" + sealed, password)
