"""Finding the private keys that an encrypted message names, among all that are at hand.

Certificates that have expired, or that nothing is encrypted to any more, count like all others:
old mail is to be read too. Indexes are made on first use. Keys are unwrapped when they are
used. Raises `KeyTrouble` then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from typing import Final

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.address import domain_of
from smimefilter.cms.identifiers import Identifier, serial_of
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.policy.scopes import domain_chain
from smimefilter.ports.keys import KeyRing

Found = tuple[Certificate, Callable[[], PrivateKeyTypes]]


class KeyFinder:
    """Certificates with a private key, by what CMS names them by."""

    def __init__(self, certificates: Iterable[Certificate], keys: KeyRing) -> None:
        self._certificates: Final = tuple(certificates)
        self._keys: Final = keys

    def find(self, identifier: Identifier, keys_for: tuple[str, ...] = ()) -> Iterator[Found]:
        """The certificates that it names, and how to get their keys; those alone of addresses,
        or of domains (`@example.com`), where some are given."""
        if identifier.key_id:
            candidates = self._by_key_id.get(identifier.key_id, [])
        else:
            candidates = self._by_serial.get(identifier.serial, [])
        for certificate in candidates:
            if identifier.names(certificate) and _is_for(certificate, keys_for):
                yield certificate, partial(self._keys.private_key, certificate.thumbprint)

    @cached_property
    def _by_serial(self) -> dict[int, list[Certificate]]:
        found: dict[int, list[Certificate]] = {}
        for certificate in self._certificates:
            serial = serial_of(certificate)
            if serial is not None:
                found.setdefault(serial, []).append(certificate)
        return found

    @cached_property
    def _by_key_id(self) -> dict[bytes, list[Certificate]]:
        found: dict[bytes, list[Certificate]] = {}
        for certificate in self._certificates:
            try:
                key_id = certificate.subject_key_id
            except UnreadableCertificate:
                continue
            if key_id:
                found.setdefault(key_id, []).append(certificate)
        return found


def _is_for(certificate: Certificate, keys_for: tuple[str, ...]) -> bool:
    if not keys_for:
        return True
    try:
        addresses = certificate.addresses
    except UnreadableCertificate:
        return False
    return any(_is_of(address, one) for address in addresses for one in keys_for)


def _is_of(address: str, whose: str) -> bool:
    """Whether that is the address, or one of @domain, or of *.domain."""
    if whose.startswith("*."):
        return whose in domain_chain(domain_of(address))
    return address.endswith(whose) if whose.startswith("@") else address == whose
