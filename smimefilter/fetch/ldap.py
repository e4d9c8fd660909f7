"""Values of a directory by LDAP and LDAPS, with an anonymous bind.

bonsai and libldap do the talking (`directory.py`), behind a `Bridge`: the connection itself is
made here, to an address that the guard permits, and its certificate is checked like that of any
HTTPS server. Referrals are not followed. Several values are no order of preference (a directory
keeps none), so none is chosen: they come as one PEM file, which is read like any other.

RFC 4511, RFC 4516 (`ldapurl.py`), RFC 4523 (the attributes). Raises `FetchFailed`.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import Any, Final

from smimefilter.config import Fetch
from smimefilter.ports.net import Fetched, FetchFailed, Request

from .bridge import Bridge, Streams
from .failures import octets, seconds, unreachable
from .guard import EVERYWHERE, Guard, IpAddress
from .ldapurl import LdapServer, Scope, parse_ldap_url
from .resolve import Resolver

_ENTRIES: Final = 32  # that one URL may lead to
_ENVELOPE: Final = 65536  # octets of protocol around the values
_SCOPES: Final = {Scope.BASE: 0, Scope.ONE: 1, Scope.SUB: 2}  # RFC 4511 §4.5.1.2
_PEM_LABELS: Final = {
    "certificaterevocationlist": b"X509 CRL",
    "authorityrevocationlist": b"X509 CRL",
    "deltarevocationlist": b"X509 CRL",
    "cacertificate": b"CERTIFICATE",
    "usercertificate": b"CERTIFICATE",
}
_NEEDS_LOGIN: Final = "the directory wants a login"
_RESULTS: Final = {  # RFC 4511 appendix A.2; negative: libldap's own
    -7: "not an LDAP URL: no such filter",
    -1: "the directory closed the connection without an answer",
    1: "the directory refuses, as Active Directory does where it wants a login",
    3: "the directory ran out of time",
    4: "the LDAP URL leads to too many entries",
    8: _NEEDS_LOGIN,
    32: "the directory has no such entry",
    48: _NEEDS_LOGIN,
    49: _NEEDS_LOGIN,
    50: _NEEDS_LOGIN,
    51: "the directory is busy",
    52: "the directory is unavailable",
}


class LdapClient:
    """Fetches; holds nothing open."""

    def __init__(
        self, settings: Fetch, guard: Guard, resolver: Resolver, context: ssl.SSLContext
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._resolver = resolver
        self._context = context

    async def fetch(self, request: Request) -> Fetched:
        """The value or values behind an LDAP URL. Raises `FetchFailed`."""
        url = parse_ldap_url(request.url)
        if request.body is not None:
            raise FetchFailed("nothing can be posted by LDAP")
        server, guard = self._server(url.server)
        try:
            from .directory import DirectoryTrouble, search  # noqa: PLC0415 - may be missing
        except ImportError:
            raise FetchFailed("LDAP needs the extra: pip install smimefilter[ldap]") from None
        remote = await self._connect(server, guard)
        patience = self._settings.timeout
        async with Bridge(remote, most=request.most + _ENVELOPE, patience=patience) as bridge:
            try:
                entries = await search(
                    bridge.path,
                    url.base,
                    _SCOPES[url.scope],
                    url.filter,
                    url.attributes,
                    _ENTRIES,
                )
            except DirectoryTrouble as trouble:
                raise FetchFailed(self._words(trouble.code, bridge, request)) from None
        content = _content(entries, url.attributes)
        if len(content) > request.most:
            raise FetchFailed(f"larger than {octets(request.most)}")
        return Fetched(content)

    def _server(self, named: LdapServer) -> tuple[LdapServer, Guard]:
        """Where to ask; the server of the settings may be anywhere."""
        if named.host:
            return named, self._guard
        if self._settings.ldap_server is None:
            raise FetchFailed("the LDAP URL names no server, nor does `ldap-server` in `fetch`")
        return parse_ldap_url(self._settings.ldap_server).server, EVERYWHERE

    async def _connect(self, server: LdapServer, guard: Guard) -> Streams:
        patience = self._settings.connect_timeout
        try:
            async with asyncio.timeout(patience):
                addresses = await self._resolver.permitted(server.host, guard)
                return await self._first(addresses, server)
        except TimeoutError:
            raise FetchFailed(f"no connection in {seconds(patience)}") from None
        except OSError as error:
            raise FetchFailed(unreachable(error)) from None

    async def _first(self, addresses: list[IpAddress], server: LdapServer) -> Streams:
        """A connection to the first address that takes one. Raises what the last one said."""
        *others, last = addresses
        for address in others:
            try:
                return await self._opened(address, server)
            except OSError:
                continue
        return await self._opened(last, server)

    async def _opened(self, address: IpAddress, server: LdapServer) -> Streams:
        tls: dict[str, Any] = {}
        if server.tls:
            tls = {"ssl": self._context, "server_hostname": server.host}
        return await asyncio.open_connection(str(address), server.port, **tls)

    def _words(self, code: int, bridge: Bridge, request: Request) -> str:
        if bridge.overrun:
            return f"larger than {octets(request.most)}"
        if bridge.silent:
            return f"no answer in {seconds(self._settings.timeout)}"
        return _RESULTS.get(code, f"the directory refuses: LDAP result {code}")


def _content(entries: list[dict[str, list[Any]]], attributes: tuple[str, ...]) -> bytes:
    wanted = {name.partition(";")[0].lower() for name in attributes}
    values: dict[bytes, str] = {}  # without repetitions, to the attribute they are of
    for entry in entries:
        for name, found in entry.items():
            bare = name.partition(";")[0].lower()
            if bare in wanted:
                values |= {value: bare for value in found if isinstance(value, bytes)}
    if not entries:
        raise FetchFailed(_RESULTS[32])
    if not values:
        raise FetchFailed(f"the entry has no {', '.join(attributes)}")
    if len(values) == 1:
        return next(iter(values))
    if not wanted <= _PEM_LABELS.keys():
        raise FetchFailed("several values, and no saying which one is meant")
    return b"".join(_pem(_PEM_LABELS[bare], value) for value, bare in values.items())


def _pem(label: bytes, der: bytes) -> bytes:
    text = base64.encodebytes(der)
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, text, label)
