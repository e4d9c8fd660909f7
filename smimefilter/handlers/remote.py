"""What handlers of CAs elsewhere share: settings, credentials, TLS, and HTTP within limits.

A `Link` asks one server. Its certificate and host name are always verified, TLS is 1.2 or
newer, redirects are not followed, answers are bounded in size and time, and only questions
that change nothing (or may be asked twice) are repeated here. Whatever goes wrong is
`HandlerTrouble` of one line without secrets, queries or internals; `NotDone` where it is known
that the CA did nothing, so that an order may be made anew without looking for it first.

Leaves what is asked and what answers mean to each handler; whether a certificate is the one
that was wanted to `flow/requests.py`. RFC 9110, RFC 8446, RFC 9325 (TLS 1.2 at least).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import secrets
import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import aiohttp
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from yarl import URL

from smimefilter import __version__
from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate, is_ca
from smimefilter.pki.export import identity_pem
from smimefilter.pki.keyfile import PasswordNeeded, UnreadableKeyFile, WrongPassword, read
from smimefilter.pki.request import Csr
from smimefilter.ports.handlers import HandlerTrouble, Issued

MOST: Final = 1 << 20  # octets of an answer
MOST_SAID: Final = 200  # characters of what a CA says that are passed on
LONGEST_CHAIN: Final = 10
PAUSES: Final = (0.5, 2.0)  # seconds before what may be repeated is
_BUSY: Final = frozenset({502, 503, 504})

M = TypeVar("M", bound=BaseModel)


class NotDone(HandlerTrouble):
    """The CA did nothing: it was not reached, or turned us away."""


# settings


def _https(url: str) -> str:
    return checked_url(url, ("https",)).rstrip("/")  # paths are put behind it


def checked_url(url: str, schemes: Sequence[str]) -> str:
    """The URL of a service. Raises `ValueError`."""
    try:
        parts = urlsplit(url.strip())
        bare = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("should be a URL") from None
    if parts.scheme not in schemes or not parts.hostname or not bare:
        raise ValueError(f"should be a URL that begins with {' or '.join(schemes)}://")
    if parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        raise ValueError("should be a URL without user name, query and fragment")
    return url.strip()


HttpsUrl = Annotated[str, AfterValidator(_https)]
CERTIFICATE_HELP: Final = (
    "The certificate and key that the CA knows us by: PEM, or a PKCS#12 file as base64."
)


class Server(BaseModel):
    """Settings of any server that is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_certificates: str = Field(
        "",
        description="Roots for the server's certificate, PEM; else those of the system.",
    )
    timeout: int = Field(60, ge=1, le=300, description="Seconds that an answer may take.")


class MutualTls(Server):
    """Settings of a server that knows its clients by their certificates."""

    client_certificate: SecretStr = Field(description=CERTIFICATE_HELP)
    client_key: SecretStr | None = Field(
        None, description="Its key as PEM, where that is not in the same file."
    )
    client_password: SecretStr | None = Field(
        None, description="The password of the key or PKCS#12 file."
    )


# credentials


@lru_cache(maxsize=8)  # a key file may cost a second to open, and there are many requests
def client_identity(
    certificate: SecretStr, key: SecretStr | None, password: SecretStr | None
) -> Identity:
    """The certificate that we show, with its key and what was given above it. Raises
    `HandlerTrouble`."""
    texts = [one.get_secret_value().strip() for one in (certificate, key) if one]
    try:
        word = password.get_secret_value() if password else None
        found = read("\n".join(texts).encode(), word)
    except PasswordNeeded:
        raise HandlerTrouble("the client key needs its password: client_password") from None
    except WrongPassword:
        raise HandlerTrouble("client_password is not that of the client key") from None
    except UnreadableKeyFile as error:
        raise HandlerTrouble(f"the client certificate cannot be read: {error}") from None
    if len(found.identities) != 1:
        how_many = "no" if not found.identities else "more than one"
        raise HandlerTrouble(f"client_certificate has {how_many} certificate with its key")
    identity = found.identities[0]
    above = tuple(one for one in found.certificates if one != identity.certificate)
    return Identity(identity.certificate, identity.key, above)


def client_context(roots: str, identity: Identity | None) -> ssl.SSLContext:
    """TLS as a client; `roots` as settings have them. Raises `HandlerTrouble`."""
    try:
        given = b"".join(one.der for one in read(roots.encode(), keys=False).certificates)
    except UnreadableKeyFile as error:
        if roots.strip():
            raise HandlerTrouble(f"ca_certificates cannot be read: {error}") from None
        given = b""
    context = ssl.create_default_context(cadata=given or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if identity is not None:
        _show(context, identity)
    return context


def show(context: ssl.SSLContext, pem: bytes, password: str) -> None:
    """Show this certificate from now on; its key is under the password. Python takes both from
    a file alone: here one that is in memory and has no name. Raises `OSError`."""
    file = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}", password=password)
    finally:
        os.close(file)


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    password = secrets.token_urlsafe(32)
    try:
        show(context, identity_pem(identity, password), password)
    except (OSError, ValueError):  # ssl.SSLError is an OSError; neither text is for people
        raise HandlerTrouble("the client certificate cannot be used for TLS") from None


# asking


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, whatever its status."""

    status: int
    body: bytes
    content_type: str = ""
    retry_after: int = 0  # seconds; 0: not said
    headers: Mapping[str, str] = field(default_factory=dict)  # names in any case

    def read_as(self, model: type[M]) -> M:
        """Its JSON. Raises `HandlerTrouble` where it is none, or not of this shape."""
        try:
            return model.model_validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "answer"
            flaw = cleaned(f"{where}: {first['type']}")
            raise HandlerTrouble(f"the CA's answer is not understood: {flaw}") from None


class Link:
    """One server, asked over connections that are made when they are needed."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        timeout: float,
        *,
        pauses: Sequence[float] = PAUSES,
        most: int = MOST,
    ) -> None:
        """`timeout` and `pauses` are seconds, `most` octets of an answer."""
        self._url = url
        self._host = urlsplit(url).netloc
        self._context = context
        self._timeout = timeout
        self._hidden: set[str] = set()
        self._pauses = pauses
        self._most = most
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Link to {self._host}>"

    def hide(self, secret: str) -> None:
        """Never show this in what is told of the server's words."""
        self._hidden.add(secret)

    async def close(self) -> None:
        """Cut the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        query: Mapping[str, str] | None = None,
        repeat: bool = False,
    ) -> Answer:
        """What the server says to it. `path` is escaped already. `repeat`: it does no harm to
        ask twice. Raises `HandlerTrouble`."""
        headers = {"Accept": accept} | ({"Content-Type": content_type} if body else {})
        url = URL(self._url + path, encoded=True).update_query(query or {})
        for pause in self._pauses if repeat else ():
            try:
                answer = await self._once(method, url, body, headers)
            except HandlerTrouble:
                pass
            else:
                if answer.status not in _BUSY:
                    return answer
            await asyncio.sleep(pause)
        return await self._once(method, url, body, headers)

    def trouble(self, answer: Answer, said: str = "") -> HandlerTrouble:
        """What an answer that is no answer is told as; `said` is what the CA says of it."""
        kind = NotDone if answer.status in {401, 403, 404, 405, 429} else HandlerTrouble
        said = self.shown(said)
        return kind(
            f"{self._host}: {status_words(answer.status)}" + (f": {said}" if said else "")
        )

    def shown(self, said: str) -> str:
        """What a CA says, fit to be told to people."""
        return cleaned(masked(said, self._hidden))

    async def _once(
        self, method: str, url: URL, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        try:
            async with self._opened().request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return Answer(
                    response.status,
                    await _content(response, self._most),
                    response.content_type,
                    _seconds(response.headers.get("Retry-After", "")),
                    response.headers,
                )
        except HandlerTrouble as trouble:
            raise HandlerTrouble(f"{self._host}: {trouble}") from None
        except aiohttp.ConnectionTimeoutError:
            raise NotDone(f"{self._host}: no connection in time") from None
        except TimeoutError:  # of aiohttp too
            raise HandlerTrouble(
                f"{self._host}: no answer within {self._timeout:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            kind, words = _words(error)
            raise kind(f"{self._host}: {words}") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context, limit=4),
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout, connect=min(self._timeout, 30)
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # so that nothing grows after it was counted
                trust_env=False,
                headers={
                    "User-Agent": f"smimefilter/{__version__}",
                    "Accept-Encoding": "identity",
                },
            )
        return self._session


def mutual_link(url: str, settings: MutualTls) -> Link:
    """A server that is shown our certificate. Raises `HandlerTrouble` for credentials that do
    not do."""
    us = client_identity(
        settings.client_certificate, settings.client_key, settings.client_password
    )
    context = client_context(settings.ca_certificates, us)
    return Link(url, context, settings.timeout)


async def _content(response: aiohttp.ClientResponse, most: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HandlerTrouble("answers compressed, which nobody asked for")
    blocks, size = [], 0
    async for block in response.content.iter_any():
        size += len(block)
        if size > most:
            shown = f"{most >> 20} MiB" if most >= MOST else f"{most >> 10} KiB"
            raise HandlerTrouble(f"the answer is larger than {shown}")
        blocks.append(block)
    return b"".join(blocks)


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def _words(error: Exception) -> tuple[type[HandlerTrouble], str]:
    """What a failure is told as, and whether the CA can have done something."""
    cause = error.__cause__
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "")
            return NotDone, "its certificate is not trusted" + (
                f": {cleaned(why)}" if why else ""
            )
        case aiohttp.ClientConnectorSSLError():
            return NotDone, "TLS failed"
        case aiohttp.ClientConnectorDNSError():
            return NotDone, "no such host, or the name service does not answer"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            why = os.strerror(number).lower() if number and number > 0 else ""
            return NotDone, "cannot be reached" + (f": {why}" if why else "")
        case aiohttp.ClientPayloadError():
            return HandlerTrouble, "its answer is cut off"
        case aiohttp.ClientResponseError():
            return HandlerTrouble, "its answer is not HTTP"
        case _ if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
            return HandlerTrouble, "TLS broke off before the answer"
        case _:  # TLS 1.3 lets a client believe that it is taken until it hears nothing
            return HandlerTrouble, (
                "closed the connection without an answer; perhaps our certificate is not taken"
            )


def status_words(status: int) -> str:
    """`HTTP 503 Service Unavailable`."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def masked(said: str, secrets_: Collection[str]) -> str:
    """The same without these secrets, as they are and as XML and JSON write them."""
    spellings = {
        spelling
        for secret in secrets_
        for spelling in (secret, escape(secret), json.dumps(secret)[1:-1])
        if spelling
    }
    for spelling in sorted(spellings, key=len, reverse=True):
        said = said.replace(spelling, "(secret)")
    return said


def cleaned(said: str) -> str:
    """Somebody else's words as one short line."""
    words = " ".join("".join(c if c.isprintable() else " " for c in said[:4096]).split())
    return words if len(words) <= MOST_SAID else words[: MOST_SAID - 1] + "…"


# certificates


def certificates_in(text: bytes) -> list[Certificate]:
    """The certificates in an answer: PEM, DER, PKCS#7, or base64 of one of these. Raises
    `HandlerTrouble`."""
    try:
        return list(read(text, keys=False).certificates)
    except UnreadableKeyFile as error:
        try:  # some answers are base64 of base64
            inner = base64.b64decode(b"".join(text.split()), validate=True)
            return list(read(inner, keys=False).certificates)
        except (binascii.Error, UnreadableKeyFile):
            pass
        raise HandlerTrouble(
            f"the CA's answer holds no certificate: {cleaned(str(error))}"
        ) from None


def chosen(certificates: Sequence[Certificate], csr: Csr) -> Issued | None:
    """The one among these that answers the request, with CAs beside it; where none does, the
    first of a user, to be refused by who asked. None when there is not even that."""
    answers = [one for one in certificates if csr.is_answered_by(one)]
    above = tuple(one for one in certificates if is_ca(one))[:LONGEST_CHAIN]
    users = [one for one in certificates if one not in above]
    first = next(iter(answers or users), None)
    return None if first is None else Issued(first, above)
