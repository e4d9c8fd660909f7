"""Opening a connection to a next hop: TCP, greeting, EHLO, and TLS as its settings ask.

`tls: may` goes on without TLS where it is not offered or fails, `encrypt` and `verify` do not.
Leaves the connection itself to `client.py`. RFC 5321 §3.1, RFC 3207, RFC 7435 (`may`).
Raises `NoDelivery` for trouble on the way, `AdminError` for settings that cannot work.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from smimefilter.base.envelope import Deferred
from smimefilter.base.errors import AdminError, Status
from smimefilter.config import NextHop, Tls

from .client import Connection, NoDelivery, TlsFailed


async def connect(hop: NextHop, hostname: str, context: ssl.SSLContext | None) -> Connection:
    """A connection to `hop`, greeted; `context` for its `tls` setting. Raises `NoDelivery`."""
    try:
        return await _connect(hop, hostname, context)
    except TlsFailed:
        if hop.tls is not Tls.MAY:
            raise
    return await _connect(hop, hostname, None)


async def _connect(hop: NextHop, hostname: str, context: ssl.SSLContext | None) -> Connection:
    connection = await _opened(hop)
    try:
        await connection.greet(hostname)
        if context is not None and "STARTTLS" in connection.extensions:
            await connection.start_tls(context)
            await connection.say_hello(hostname)
        elif context is not None and hop.tls is not Tls.MAY:
            raise TlsFailed("not offered")
    except BaseException:
        connection.close()
        raise
    return connection


async def _opened(hop: NextHop) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(hop.connect_timeout):
            _, connection = await loop.create_connection(
                lambda: Connection(hop), hop.host, hop.port
            )
    except TimeoutError:
        raise NoDelivery(_unreachable("no answer")) from None
    except OSError as error:
        raise NoDelivery(_unreachable(_first_line(error))) from None
    return connection


def _first_line(error: OSError) -> str:
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return "no such host" if isinstance(error, socket.gaierror) else "connection failed"


def _unreachable(why: str) -> Deferred:
    return Deferred(Status(4, "4.1"), f"next hop not available: {why}")


def client_context(hop: NextHop) -> ssl.SSLContext | None:
    """What `hop.tls` asks for, None for no TLS. Raises `AdminError`."""
    if hop.tls is Tls.NONE:
        return None
    try:
        context = ssl.create_default_context(cafile=hop.ca_file)
    except (OSError, ssl.SSLError):
        raise AdminError(
            "roots for `tls: verify` cannot be read",
            where=str(hop.ca_file),
            mend="give a file of PEM certificates that the daemon may read",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if hop.tls is not Tls.VERIFY:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Probe:
    """What a next hop said of itself."""

    banner: str
    extensions: Mapping[str, str]  # EHLO keywords → their parameters, after STARTTLS if any


async def probe(hop: NextHop, hostname: str) -> Probe:
    """Connect as for a mail, and take leave. Raises `AdminError` with the reason."""
    try:
        connection = await connect(hop, hostname, client_context(hop))
    except NoDelivery as trouble:
        raise AdminError(
            trouble.fate.text,
            where=f"next hop {hop.host}:{hop.port}",
            mend="check that it runs, and `host`, `port` and `tls` of the next hop",
        ) from None
    connection.close()
    return Probe(connection.banner, connection.extensions)
