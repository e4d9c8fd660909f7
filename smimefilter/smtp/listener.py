"""A listener: the socket that mail comes in by, and the sessions behind it.

It is made of its settings; anything that keeps it from being what they say (a port in use, a
certificate that cannot be read, a network that is none) is an `AdminError` at `start`.
`stop` lets transactions under way end, for a time; `retire` lets clients go by themselves.

Leaves what is said to `session.py` and `lmtp.py`, what happens to a mail to `accept`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Sequence

from smimefilter import config
from smimefilter.base.errors import AdminError
from smimefilter.ports.stores import Accounts

from .accepting import Accepting, Board
from .admission import Admission
from .auth import Logins
from .lmtp import LmtpSession
from .session import SmtpSession
from .sockets import BACKLOG, listening
from .terms import Abilities, Accept, Networks, OpenSessions, Terms, Told


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
        admission: Admission | None = None,
        board: Board | None = None,
        told: Told = lambda _id, _heard: None,
    ) -> None:
        """`admission`: to the places for mail that all listeners share. `board`: where there
        are other processes that listen on the same sockets."""
        self._board = board
        self.settings = settings
        self.port = settings.port
        admission = admission or Admission()
        self._terms = _terms(settings, hostname, accept, accounts, abilities, admission, told)
        self._sessions = OpenSessions(
            settings.max_connections,
            settings.max_connections_per_client,
            *([board.change] if board else []),
        )
        self._servers: list[asyncio.Server | Accepting] = []

    def __str__(self) -> str:
        return f"{self.settings.protocol} on {self.settings.address}:{self.port}"

    @property
    def is_listening(self) -> bool:
        """Whether it takes mail now."""
        return bool(self._servers)

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen, on these sockets if there are any. Raises `AdminError`."""
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's, of little use
        loop = asyncio.get_running_loop()
        settings = self.settings
        session = SmtpSession if settings.protocol is config.Protocol.SMTP else LmtpSession
        sockets = sockets or listening(settings.address, settings.port, settings.protocol)
        self.port = sockets[0].getsockname()[1]

        def begin() -> SmtpSession:
            return session(self._terms, self._sessions, loop)

        for one in sockets:
            if self._board is not None:
                self._servers.append(Accepting(one, begin, self._board))
            else:
                server = await loop.create_server(begin, sock=one, backlog=BACKLOG)
                self._servers.append(server)

    async def retire(self, grace: float) -> None:
        """Take no more clients, and wait about `grace` seconds for those there are to go."""
        self._close()
        self._sessions.retiring = True
        for session in self._sessions.each():
            session.wind_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._sessions.none_left.wait()

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []

    async def stop(self, grace: float = 30.0) -> None:
        """Take no more mail; end within about `grace` seconds. May be said twice."""
        self._close()
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
    admission: Admission,
    told: Told,
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
        admission=admission,
        originating=settings.originating,
        tls=_server_context(settings.tls) if settings.tls else None,
        logins=Logins(accounts) if settings.auth and accounts is not None else None,
        abilities=abilities,
        told=told,
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
