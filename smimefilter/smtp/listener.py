"""A listener: the socket that mail comes in by, and the sessions behind it.

It is made of its settings; anything that keeps it from being what they say (a port in use, a
certificate that cannot be read, a network that is none) is an `AdminError` at `start`.
`stop` lets transactions under way end, for a time.

Leaves what is said to `session.py` and `lmtp.py`, what happens to a mail to `accept`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import ssl
from typing import Final

from smimefilter import config
from smimefilter.base.errors import AdminError
from smimefilter.ports.stores import Accounts

from .auth import Logins
from .lmtp import LmtpSession
from .session import SmtpSession
from .terms import Abilities, Accept, Networks, OpenSessions, Terms

ROOM: Final = 512 * 1024 * 1024  # octets of large contents that may be received at once
_BACKLOG: Final = 512
_MEND: Final = {
    errno.EADDRINUSE: "stop what listens there, or choose another port",
    errno.EADDRNOTAVAIL: "choose an address that this host has",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one",
}


class MailListener:
    """Takes mail on one address. `port` is the real one once started."""

    def __init__(
        self,
        settings: config.Listener,
        *,
        hostname: str,
        accept: Accept,
        accounts: Accounts | None = None,
        abilities: Abilities = lambda: None,
        reuse_port: bool = False,
        room: int = ROOM,
    ) -> None:
        self.settings = settings
        self.port = settings.port
        self._terms = _terms(settings, hostname, accept, accounts, abilities)
        self._sessions = OpenSessions(
            settings.max_connections,
            settings.max_connections_per_client,
            max(room, settings.max_message_size),
        )
        self._reuse_port = reuse_port
        self._server: asyncio.Server | None = None

    def __str__(self) -> str:
        return f"{self.settings.protocol} on {self.settings.address}:{self.port}"

    @property
    def is_listening(self) -> bool:
        """Whether it takes mail now."""
        return self._server is not None and self._server.is_serving()

    async def start(self) -> None:
        """Listen. Raises `AdminError`."""
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's, of little use
        loop = asyncio.get_running_loop()
        session = SmtpSession if self.settings.protocol is config.Protocol.SMTP else LmtpSession
        try:
            self._server = await loop.create_server(
                lambda: session(self._terms, self._sessions, loop),
                self.settings.address,
                self.settings.port,
                reuse_port=self._reuse_port or None,
                backlog=_BACKLOG,
            )
        except OSError as error:
            raise AdminError(
                f"cannot listen for {self.settings.protocol}: {_reason(error)}",
                where=f"{self.settings.address}:{self.settings.port}",
                mend=_MEND.get(error.errno or 0, "check the listener's address"),
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace: float = 30.0) -> None:
        """Take no more mail; end within about `grace` seconds. May be said twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._sessions.stopping = True
        for session in self._sessions.each():
            session.wind_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._sessions.none_left.wait()
        for session in self._sessions.each():
            session.abort()
        await self._sessions.none_left.wait()


def _terms(
    settings: config.Listener,
    hostname: str,
    accept: Accept,
    accounts: Accounts | None,
    abilities: Abilities,
) -> Terms:
    if settings.auth and (settings.tls is None or accounts is None):
        raise AdminError(
            "logins are taken over TLS only, and this listener has no certificate",
            where=f"listener {settings.address}:{settings.port}",
            mend="set `tls: {certificate: …, key: …}`, or `auth: false`",
        )
    return Terms(
        hostname=hostname,
        accept=accept,
        clients=_networks(settings, "clients", settings.clients),
        xforward_clients=_networks(settings, "xforward-clients", settings.xforward_clients),
        max_message_size=settings.max_message_size,
        max_recipients=settings.max_recipients,
        timeout=settings.timeout,
        originating=settings.originating,
        tls=_server_context(settings.tls) if settings.tls else None,
        logins=Logins(accounts) if settings.auth and accounts is not None else None,
        abilities=abilities,
    )


def _networks(settings: config.Listener, name: str, texts: tuple[str, ...]) -> Networks:
    try:
        return Networks(texts)
    except ValueError as error:
        raise AdminError(
            f"`{name}`: {error}",
            where=f"listener {settings.address}:{settings.port}",
            mend="write networks such as 192.0.2.0/24 or 2001:db8::/32",
        ) from None


def _server_context(tls: config.ServerTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except ssl.SSLError as error:
        raise AdminError(
            f"certificate and key cannot be used: {error.reason or 'not PEM'}",
            where=f"{tls.certificate}, {tls.key}",
            mend="give a PEM chain and the unencrypted PEM key of its first certificate",
        ) from None
    except OSError as error:
        raise AdminError(
            f"cannot be read: {error.strerror}",
            where=f"{tls.certificate}, {tls.key}",
            mend="check both paths and that the daemon may read them",
        ) from None
    return context


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
