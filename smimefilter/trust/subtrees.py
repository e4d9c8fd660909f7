"""Name constraints along a path, for every kind of name.

A name has to be within a permitted subtree of its kind, in each CA's set that has any of that
kind, and within no excluded one. A kind of name that cannot be compared here is refused where
it is constrained. What mail addresses are compared by is `constraints.py`'s; as there, bases
are looked up, not gone through.

RFC 5280 §4.2.1.10 and §6.1.3 (b), (c). Raises `UnreadableCertificate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from smimefilter.base.address import BadAddress, address_key
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.names import NameKey, name_key

from .constraints import EVERYTHING, MOST, address_base, bases_of, dotted_ends, name_constraints

Based = tuple[str, Any]  # kind, and a base in its comparable form; None: nothing is within it
Named = tuple[str, frozenset[Any] | None]  # kind, and all bases a name is within; None: it
# cannot be compared

_DIRECTORY, _MAIL, _DNS, _URI, _IP = "directory name", "mail address", "DNS name", "URI", "IP"
_LONGEST: Final = 255  # characters of a host; RFC 1035 §2.3.4
_DEEPEST: Final = 64  # parts of a directory name


@dataclass(frozen=True, slots=True)
class Subtrees:
    """What one CA may name: bases by kind."""

    permitted: dict[str, set[Any]]
    excluded: dict[str, set[Any]]

    def refused(self, names: tuple[Named, ...]) -> str:
        """The kind of a name that is not allowed; empty when all are."""
        return next((kind for kind, bases in names if not self._allows(kind, bases)), "")

    def _allows(self, kind: str, bases: frozenset[Any] | None) -> bool:
        permitted, excluded = self.permitted.get(kind), self.excluded.get(kind, set())
        if permitted is None and not excluded:
            return True
        if bases is None or not bases.isdisjoint(excluded):
            return False
        return permitted is None or not bases.isdisjoint(permitted)


def subtrees_of(certificate: Certificate) -> Subtrees | None:
    """The name constraints of a CA certificate, if it has any."""
    found = name_constraints(certificate)
    if found is None:
        return None
    permitted = _by_kind(_base(name, "") for name in found.permitted_subtrees or ())
    excluded = _by_kind(_base(name, EVERYTHING) for name in found.excluded_subtrees or ())
    return Subtrees(permitted, excluded)


def names_of(certificate: Certificate) -> tuple[Named, ...]:
    """All names of a certificate that constraints are about; too many are not read."""
    subject = name_key(certificate.subject_der)
    names: list[Named] = [(_DIRECTORY, _directory(subject))] if subject else []
    try:
        alternative = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        attributes = certificate.parsed.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
        return (*names, *((_MAIL, _address(str(one.value))) for one in attributes))
    every = (*names, *map(_name, islice(alternative, MOST)))
    if len(every) > MOST:
        raise UnreadableCertificate(f"it has {MOST} names or more")
    return every


def _by_kind(bases: Iterable[Based]) -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = {}
    for kind, base in bases:
        found.setdefault(kind, set()).add(base)
    return found


def _base(name: x509.GeneralName, bad: str) -> Based:
    match name:
        case x509.DirectoryName():
            return _DIRECTORY, name_key(name.value.public_bytes())
        case x509.RFC822Name():
            return _MAIL, address_base(name.value, bad)
        case x509.DNSName():
            return _DNS, name.value.lower().removesuffix(".")
        case x509.UniformResourceIdentifier():
            return _URI, name.value.lower()
        case x509.IPAddress():
            return _IP, _network(name.value)
        case _:
            return _name(name)


def _name(name: x509.GeneralName) -> Named:
    match name:
        case x509.DirectoryName():
            return _DIRECTORY, _directory(name_key(name.value.public_bytes()))
        case x509.RFC822Name():
            return _MAIL, _address(name.value)
        case x509.DNSName():
            return _DNS, _domain(name.value.lower().removesuffix("."))
        case x509.UniformResourceIdentifier():
            return _URI, _host(name.value)
        case x509.IPAddress():
            return _IP, _networks(name.value)
        case x509.OtherName():
            return f"other name {name.type_id.dotted_string}", None
        case _:
            return type(name).__name__, None


# the bases that a name of each kind is within


def _directory(key: NameKey) -> frozenset[Any] | None:
    if len(key) > _DEEPEST:
        return None
    return frozenset(key[:end] for end in range(len(key) + 1))


def _domain(name: str) -> frozenset[Any] | None:
    if len(name) > _LONGEST:
        return None
    ends = dotted_ends(name)
    return frozenset(("", name, *ends, *(end[1:] for end in ends)))


def _network(base: Any) -> tuple[int, ...] | None:
    if not isinstance(base, IPv4Network | IPv6Network):
        return None
    bits = int(base.network_address) >> base.max_prefixlen - base.prefixlen
    return base.version, base.prefixlen, bits


def _networks(address: Any) -> frozenset[Any] | None:
    if not isinstance(address, IPv4Address | IPv6Address):
        return None
    longest, bits = address.max_prefixlen, int(address)
    return frozenset(
        (address.version, length, bits >> longest - length) for length in range(longest + 1)
    )


def _address(text: str) -> frozenset[Any] | None:
    try:
        return bases_of(address_key(text)) or None
    except BadAddress:
        return None


def _host(url: str) -> frozenset[Any] | None:
    """Of the host of a URL; None where it is none that could be constrained."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    if not host or len(host) > _LONGEST:
        return None
    try:
        ip_address(host)
    except ValueError:
        host = host.removesuffix(".")
        return frozenset((host, *dotted_ends(host)))
    return None
