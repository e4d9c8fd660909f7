"""LDAP URLs: which server, which entries, which attributes.

RFC 4516, and what CAs write beside it: a filter without parentheses, no server at all.
RFC 5280 §4.2.1.13 and §4.2.2.1 say which attributes hold CRLs and certificates; a URL that
names none is taken to mean the CRL. Raises `FetchFailed`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from smimefilter.ports.net import FetchFailed

_PORTS: Final = {"ldap": 389, "ldaps": 636}
_URL: Final = re.compile(
    r"(?P<scheme>ldaps?)://(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[^\[\]@:/?#\s]*))"
    r"(?::(?P<port>\d{1,5}))?(?:/(?P<rest>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE: Final = re.compile(r"[A-Za-z0-9.][A-Za-z0-9.;-]*")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DEFAULT_ATTRIBUTE: Final = "certificateRevocationList;binary"
_DEFAULT_FILTER: Final = "(objectClass=*)"


class Scope(StrEnum):
    """Which entries below the base are searched."""

    BASE = "base"
    ONE = "one"
    SUB = "sub"


@dataclass(frozen=True, slots=True)
class LdapServer:
    """Where to ask. An empty host: the URL names none."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class LdapUrl:
    """What to ask for."""

    server: LdapServer
    base: str  # DN, RFC 4514
    attributes: tuple[str, ...]
    scope: Scope
    filter: str  # RFC 4515


def parse_ldap_url(url: str) -> LdapUrl:
    """Take a URL apart. Raises `FetchFailed`."""
    found = _URL.fullmatch(url)
    if found is None:
        raise FetchFailed("not an LDAP URL")
    parts = (found["rest"] or "").split("?")
    if len(parts) > 5:
        raise FetchFailed("not an LDAP URL: too many question marks")
    base, attributes, scope, search, extensions = parts + [""] * (5 - len(parts))
    if any(_decoded(one).startswith("!") for one in extensions.split(",")):
        raise FetchFailed("the LDAP URL asks for an extension that is not known here")
    return LdapUrl(
        _server(found),
        _decoded(base),
        _attributes(_decoded(attributes)),
        _scope(_decoded(scope)),
        _filter(_decoded(search)),
    )


def _server(found: re.Match[str]) -> LdapServer:
    scheme = found["scheme"].lower()
    port = int(found["port"] or _PORTS[scheme])
    if port > 65535:
        raise FetchFailed("not an LDAP URL: no such port")
    return LdapServer(_decoded(found["six"] or found["host"] or ""), port, scheme == "ldaps")


def _decoded(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise FetchFailed("not an LDAP URL: broken % escape")
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise FetchFailed("not an LDAP URL: not UTF-8") from None
    if "\0" in plain:
        raise FetchFailed("not an LDAP URL: a NUL in it")
    return plain


def _attributes(text: str) -> tuple[str, ...]:
    named = tuple(text.split(",")) if text else (_DEFAULT_ATTRIBUTE,)
    if not all(map(_ATTRIBUTE.fullmatch, named)):
        raise FetchFailed("not an LDAP URL: no such attribute")
    return named


def _scope(text: str) -> Scope:
    try:
        return Scope(text.lower() or "base")
    except ValueError:
        raise FetchFailed("not an LDAP URL: no such scope") from None


def _filter(text: str) -> str:
    if not text:
        return _DEFAULT_FILTER
    return text if text.startswith("(") else f"({text})"
