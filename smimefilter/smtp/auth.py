"""Logins at the relay listener: SASL PLAIN and LOGIN, verified against argon2 hashes.

An unknown login costs as much work as a wrong password. Failures are slowed down, and a peer
that keeps failing is told to come back later without any work being done for it. Passwords
and hashes appear in no log, error or representation.

Leaves the dialogue to `session.py` and storage to `ports.Accounts`. RFC 4954, RFC 4616,
draft-murchison-sasl-login; Argon2 as in RFC 9106. Raises `TooManyFailures`, `Rejected`.
"""

from __future__ import annotations

import asyncio
import binascii
import secrets
import time
from base64 import b64decode
from collections import OrderedDict
from typing import ClassVar, Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from smimefilter.base.errors import Status, TemporaryTrouble
from smimefilter.ports.stores import Accounts

from .syntax import Rejected

MECHANISMS: Final = ("PLAIN", "LOGIN")
ASK_LOGIN: Final = "334 VXNlcm5hbWU6"  # "Username:"
ASK_PASSWORD: Final = "334 UGFzc3dvcmQ6"  # noqa: S105 - it says "Password:"
_AT_ONCE: Final = 2  # verifications; each takes 64 MB and a core
_TOLERATED: Final = 10  # failures of a peer
_FORGOTTEN_AFTER: Final = 600.0  # seconds
_PEERS: Final = 10_000  # whose failures are remembered
_LONGEST: Final = 255  # octets of a login or password, RFC 4616 §2


class TooManyFailures(TemporaryTrouble):
    """This peer failed too often of late."""

    status: ClassVar[Status] = Status(4, "7.0")
    public: ClassVar[str] = "too many failed logins, try again later"

    @property
    def reply(self) -> str:
        """RFC 4954 §6 has a basic code of its own for it."""
        return f"454 {self.status} {self.public}"


class Credentials(NamedTuple):
    """What a client claims."""

    login: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.login!r})"


def decoded(response: str) -> bytes:
    """The octets of a base64 response. Raises `Rejected`."""
    if response == "*":
        raise Rejected("501 5.7.0 authentication cancelled")
    try:
        return b64decode(response, validate=True)
    except (binascii.Error, ValueError):
        raise Rejected("501 5.5.2 not base64") from None


def plain(response: str) -> Credentials:
    """The credentials of a PLAIN response. Raises `Rejected`."""
    parts = decoded("" if response == "=" else response).split(b"\0")
    if len(parts) != 3:
        raise Rejected("501 5.5.2 bad PLAIN response")
    acting_for, login, password = parts
    if acting_for not in {b"", login}:
        raise Rejected("535 5.7.8 acting for another login is not possible")
    return credentials(login, password)


def credentials(login: bytes, password: bytes) -> Credentials:
    """Both as text. Raises `Rejected` for what cannot be a login or password."""
    if not login or not password or max(len(login), len(password)) > _LONGEST:
        raise Rejected("535 5.7.8 wrong login or password")
    try:
        return Credentials(login.decode(), password.decode())
    except UnicodeDecodeError:
        raise Rejected("535 5.7.8 wrong login or password") from None


class Logins:
    """Verifies credentials. `pause` is the first delay after a failure, in seconds."""

    def __init__(self, accounts: Accounts, *, pause: float = 1.0) -> None:
        self._accounts = accounts
        self._pause = pause
        self._hasher = PasswordHasher()
        self._decoy = ""
        self._work = asyncio.Semaphore(_AT_ONCE)
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def verify(self, peer: str, claim: Credentials) -> bool:
        """Whether the claim is right. Raises `TooManyFailures`, `StoreTrouble`."""
        failures = self._failures_of(peer)
        if failures >= _TOLERATED:
            raise TooManyFailures
        stored = await self._accounts.password_hash(claim.login)
        async with self._work:
            right = await asyncio.to_thread(self._check, stored, claim.password)
        if right:
            self._failures.pop(peer, None)
        else:
            self._remember(peer)
            await asyncio.sleep(self._pause * 2 ** min(failures, 3))
        return right

    def _check(self, stored: str | None, password: str) -> bool:
        if not self._decoy:
            self._decoy = self._hasher.hash(secrets.token_urlsafe())
        try:
            return self._hasher.verify(stored or self._decoy, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False

    def _failures_of(self, peer: str) -> int:
        count, last = self._failures.get(peer, (0, 0.0))
        return count if time.monotonic() - last < _FORGOTTEN_AFTER else 0

    def _remember(self, peer: str) -> None:
        self._failures[peer] = (self._failures_of(peer) + 1, time.monotonic())
        self._failures.move_to_end(peer)
        while len(self._failures) > _PEERS:
            self._failures.popitem(last=False)
