"""Name constraints along a path, for every kind of name.

A name has to be within a permitted subtree of its kind, in each CA's set that has any of that
kind, and within no excluded one. A kind of name that cannot be compared here is refused where
it is constrained. What mail addresses are compared by is `constraints.py`'s.

RFC 5280 §4.2.1.10 and §6.1.3 (b), (c). Raises `UnreadableCertificate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from smimefilter.base.address import BadAddress, address_key
from smimefilter.pki.certificate import Certificate

from .constraints import address_base, covers_address
from .names import name_key

Named = tuple[str, Any]  # kind, and the name in its comparable form; None: it has none

_DIRECTORY, _MAIL, _DNS, _URI, _IP = "directory name", "mail address", "DNS name", "URI", "IP"
_MOST: Final = 20_000  # comparisons for one certificate and one CA


@dataclass(frozen=True, slots=True)
class Subtrees:
    """What one CA may name: bases by kind."""

    permitted: dict[str, list[Any]]
    excluded: dict[str, list[Any]]

    def refused(self, names: tuple[Named, ...]) -> str:
        """The kind of a name that is not allowed; empty when all are."""
        bases = max(map(len, (*self.permitted.values(), *self.excluded.values())), default=0)
        if bases * len(names) > _MOST:
            return "number of names"
        return next((kind for kind, name in names if not self._allows(kind, name)), "")

    def _allows(self, kind: str, name: Any) -> bool:
        permitted, excluded = self.permitted.get(kind), self.excluded.get(kind, ())
        if permitted is None and not excluded:
            return True
        if name is None or any(_within(kind, name, base) for base in excluded):
            return False
        return permitted is None or any(_within(kind, name, base) for base in permitted)


def subtrees_of(certificate: Certificate) -> Subtrees | None:
    """The name constraints of a CA certificate, if it has any."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
    permitted = _by_kind(_base(name, "") for name in found.permitted_subtrees or ())
    excluded = _by_kind(_base(name, "*") for name in found.excluded_subtrees or ())
    return Subtrees(permitted, excluded)


def names_of(certificate: Certificate) -> tuple[Named, ...]:
    """All names of a certificate that constraints are about."""
    subject = name_key(certificate.subject_der)
    names: list[Named] = [(_DIRECTORY, subject)] if subject else []
    try:
        alternative = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        attributes = certificate.parsed.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
        return (*names, *((_MAIL, _address(str(one.value))) for one in attributes))
    return (*names, *map(_name, alternative))


def _by_kind(bases: Iterable[Named]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for kind, base in bases:
        found.setdefault(kind, []).append(base)
    return found


def _base(name: x509.GeneralName, bad: str) -> Named:
    match name:
        case x509.RFC822Name():
            return _MAIL, address_base(name.value, bad)
        case x509.UniformResourceIdentifier():
            return _URI, name.value.lower()
        case x509.IPAddress():
            return _IP, name.value
        case _:
            return _name(name)


def _name(name: x509.GeneralName) -> Named:
    match name:
        case x509.DirectoryName():
            return _DIRECTORY, name_key(name.value.public_bytes())
        case x509.RFC822Name():
            return _MAIL, _address(name.value)
        case x509.DNSName():
            return _DNS, name.value.lower().removesuffix(".")
        case x509.UniformResourceIdentifier():
            return _URI, _host(name.value)
        case x509.IPAddress():
            return _IP, name.value
        case x509.OtherName():
            return f"other name {name.type_id.dotted_string}", None
        case _:
            return type(name).__name__, None


def _within(kind: str, name: Any, base: Any) -> bool:
    match kind:
        case "directory name":
            return bool(name[: len(base)] == base)
        case "mail address":
            return covers_address(base, name)
        case "DNS name":
            dotted = base if base.startswith(".") else f".{base}"
            return base in {"", name} or bool(name.endswith(dotted))
        case "URI":
            return bool(name.endswith(base) if base.startswith(".") else name == base)
        case "IP":
            return isinstance(base, IPv4Network | IPv6Network) and name in base
        case _:
            return False


def _address(text: str) -> str | None:
    try:
        return address_key(text)
    except BadAddress:
        return None


def _host(url: str) -> str | None:
    """The host of a URL; None where it is none that could be constrained."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    if not host:
        return None
    try:
        ip_address(host)
    except ValueError:
        return host.removesuffix(".")
    return None
