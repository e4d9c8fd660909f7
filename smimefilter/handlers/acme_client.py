"""The exchange with an ACME server: directory, nonces, signed requests, problems.

Every URL that the server names has to be on the host and port of its directory. RFC 8555 does
not say so, but no CA is known that needs more, and what an account signs then goes nowhere
else; a CA (or who speaks for it) cannot send the gateway to hosts of the inner network.

A nonce that is not taken is replaced at once, a few times. What the server refuses is an
`AcmeProblem` with the type that it gave; where it says when to come again, `TryLater`. Both are
`HandlerTrouble`: what is final is up to the caller.

Leaves TLS, limits, redirects (never followed) and addresses to `remote.py`, signing to
`acme_keys.py`. RFC 8555 §6 (requests), §7.1 (objects), §7.3 (accounts), RFC 8823 §3 (the
challenge), RFC 9110 §10.2.3 (Retry-After).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from smimefilter.ports.handlers import HandlerTrouble

from .acme_keys import AccountKey
from .remote import Answer, Link

JOSE: Final = "application/jose+json"
CHAIN: Final = "application/pem-certificate-chain"
URN: Final = "urn:ietf:params:acme:error:"
NONCES: Final = 4  # tries of one request
LONGEST_URL: Final = 2048
SOONEST, LATEST = timedelta(seconds=5), timedelta(days=1)

M = TypeVar("M", bound=BaseModel)


class AcmeProblem(HandlerTrouble):
    """What the server refused, in one line."""

    def __init__(self, text: str, kind: str, http: int) -> None:
        super().__init__(text)
        self.kind = kind  # without the URN before it; empty: not said
        self.http = http  # status


class TryLater(HandlerTrouble):
    """Not now; the server says when."""

    def __init__(self, text: str, again: timedelta) -> None:
        super().__init__(text)
        self.again = again


class _Object(BaseModel):
    model_config = ConfigDict(populate_by_name=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, found: Any) -> Any:
        """There are servers that write null for what is not there."""
        if not isinstance(found, dict):
            return found
        return {name: value for name, value in found.items() if value is not None}


class Problem(_Object):
    """A problem document (RFC 7807)."""

    type: str = ""
    detail: str = ""
    subproblems: list[Problem] = []

    @property
    def kind(self) -> str:
        """Its type, short."""
        return self.type.removeprefix(URN)

    @property
    def said(self) -> str:
        """What it says, that of its parts included."""
        parts = (one.detail for one in self.subproblems)
        return "; ".join(dict.fromkeys(filter(None, (self.detail, *parts)))) or self.kind


class Meta(_Object):
    """What a directory says of its CA."""

    terms: str = Field("", alias="termsOfService")
    bound: bool = Field(False, alias="externalAccountRequired")


class Directory(_Object):
    """Where things are."""

    new_nonce: str = Field(alias="newNonce")
    new_account: str = Field(alias="newAccount")
    new_order: str = Field(alias="newOrder")
    meta: Meta = Meta()


class Account(_Object):
    """An account."""

    status: str = ""
    orders: str = ""


class Orders(_Object):
    """The orders of an account."""

    orders: list[str] = []


class Identifier(_Object):
    """What a certificate is for."""

    type: str
    value: str


class OrderObject(_Object):
    """An order."""

    status: str
    identifiers: list[Identifier]
    authorizations: list[str]
    finalize: str
    certificate: str = ""
    expires: str = ""
    error: Problem | None = None


class Challenge(_Object):
    """A challenge of any type; `sender` and `token` are those of `email-reply-00`."""

    type: str
    url: str = ""
    status: str = ""
    token: str = ""
    sender: str = Field("", alias="from")
    error: Problem | None = None


class Authorization(_Object):
    """An authorisation."""

    status: str
    identifier: Identifier
    challenges: list[Challenge]
    expires: str = ""


class AcmeClient:
    """One server, as one account speaks to it."""

    def __init__(
        self, link: Link, directory: str, key: AccountKey, clock: Callable[[], datetime]
    ) -> None:
        """`link` leads to the origin of the directory, see `origin`."""
        self._link = link
        self._url = directory
        self._key = key
        self._clock = clock
        self._nonces: list[str] = []
        self._directory: Directory | None = None
        self.account = ""  # its URL, once it is known
        self.again: timedelta | None = None  # when to ask again, as the last answer said

    @property
    def key(self) -> AccountKey:
        """The account's."""
        return self._key

    async def close(self) -> None:
        """Let go of connections."""
        await self._link.close()

    async def directory(self) -> Directory:
        """Where things are; asked once."""
        if self._directory is None:
            answer = await self._link.ask("GET", self._path(self._url), repeat=True)
            if answer.status != 200:
                raise self._trouble(answer)
            self._directory = answer.read_as(Directory)
        return self._directory

    async def register(self, payload: Mapping[str, Any]) -> bool:
        """Make an account for the key, or find the one that it has; whether it is new."""
        url = (await self.directory()).new_account
        answer = await self._signed(url, payload, {"jwk": self._key.public})
        status = answer.read_as(Account).status
        if status != "valid":
            raise HandlerTrouble(f"the account at the CA is {self.shown(status) or 'unknown'}")
        self.account = self.location(answer)
        return answer.status == 201

    async def read(self, url: str, model: type[M]) -> M:
        """An object, as it is now."""
        return (await self.post(url)).read_as(model)

    async def post(
        self, url: str, payload: Mapping[str, Any] | None = None, accept: str = ""
    ) -> Answer:
        """The answer to a signed request; without a payload it only reads (POST-as-GET).
        Raises `AcmeProblem`, `TryLater`, `HandlerTrouble`."""
        return await self._signed(url, payload, {"kid": self.account}, accept)

    def location(self, answer: Answer) -> str:
        """The URL of what was made."""
        url = answer.headers.get("Location", "")
        self._path(url)
        return url

    def shown(self, said: str) -> str:
        """What the server says, fit to be told to people."""
        return self._link.shown(said)

    async def _signed(
        self,
        url: str,
        payload: Mapping[str, Any] | None,
        who: Mapping[str, Any],
        accept: str = "",
    ) -> Answer:
        path = self._path(url)
        content = b"" if payload is None else json.dumps(payload).encode()
        for left in reversed(range(NONCES)):
            nonce = await self._nonce()
            body = self._key.signed({"nonce": nonce, "url": url, **who}, content)
            answer = await self._link.ask(
                "POST", path, body, content_type=JOSE, accept=accept or "application/json"
            )
            self._keep_nonce(answer)
            self.again = _later(answer.headers.get("Retry-After", ""), self._clock())
            if answer.status in {200, 201}:
                return answer
            if not left or _problem(answer).kind != "badNonce":
                break
        raise self._trouble(answer)

    async def _nonce(self) -> str:
        if not self._nonces:
            path = self._path((await self.directory()).new_nonce)
            answer = await self._link.ask("HEAD", path, repeat=True)
            self._keep_nonce(answer)
            if not self._nonces:
                raise self._trouble(answer, "it gives no nonce")
        return self._nonces.pop()

    def _keep_nonce(self, answer: Answer) -> None:
        nonce = answer.headers.get("Replay-Nonce", "")
        if nonce and len(nonce) <= LONGEST_URL and nonce.isascii():
            self._nonces = [nonce]

    def _trouble(self, answer: Answer, said: str = "") -> HandlerTrouble:
        """What is told of an answer that is none."""
        problem = _problem(answer)
        text = str(self._link.trouble(answer, said or problem.said))
        busy = answer.status in {429, 503} or problem.kind == "rateLimited"
        again = _later(answer.headers.get("Retry-After", ""), self._clock())
        if busy and again is not None:
            return TryLater(text, again)
        return AcmeProblem(text, problem.kind, answer.status)

    def _path(self, url: str) -> str:
        """What follows the origin in a URL that the server named. Raises `HandlerTrouble` where
        that is not its own."""
        fits = url.isascii() and url.isprintable() and " " not in url
        if not fits or not 0 < len(url) <= LONGEST_URL:
            raise HandlerTrouble("the CA names something that is no URL")
        if _split(url) != _split(self._url):
            raise HandlerTrouble(f"the CA names a URL elsewhere: {self.shown(url)}")
        path = "/" + url.split("/", 3)[3] if url.count("/") >= 3 else "/"
        return path.partition("#")[0]


def origin(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _split(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        return None
    if "@" in parts.netloc or "\\" in url:
        return None
    return parts.scheme, host, port


def _problem(answer: Answer) -> Problem:
    """What an answer says is wrong; empty where that is not to be read."""
    try:
        return answer.read_as(Problem)
    except HandlerTrouble:
        return Problem()


def _later(text: str, now: datetime) -> timedelta | None:
    """How long Retry-After wants us to wait, within limits."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        wait = timedelta(seconds=int(text))
    else:
        try:
            when = parsedate_to_datetime(text)
            wait = (when if when.tzinfo else when.replace(tzinfo=UTC)) - now
        except (ValueError, OverflowError):
            return None
    return min(max(wait, SOONEST), LATEST)
