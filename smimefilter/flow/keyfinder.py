"""Finding the private keys that an encrypted message names, among all that are at hand.

Certificates that have expired, or that nothing is encrypted to any more, count like all others:
old mail is to be read too. Indexes are made on first use. Keys are unwrapped when they are
used. Raises `KeyTrouble` then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache, partial
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
        self._allowed: Final = lru_cache(maxsize=4096)(self._of)

    def find(
        self, identifier: Identifier, allowed: frozenset[str] | None = None
    ) -> Iterator[Found]:
        """The certificates that it names, and how to get their keys; of those alone that are
        allowed, where some are given."""
        if identifier.key_id:
            candidates = self._by_key_id.get(identifier.key_id, [])
        else:
            candidates = self._by_serial.get(identifier.serial, [])
        for certificate in candidates:
            if allowed is not None and certificate.thumbprint not in allowed:
                continue
            if identifier.names(certificate):
                yield certificate, partial(self._keys.private_key, certificate.thumbprint)

    def allowed(self, keys_for: tuple[str, ...]) -> frozenset[str] | None:
        """The thumbprints of the certificates of addresses or domains; None without any: all.
        Recipients for whom they are the same fare alike."""
        return self._allowed(keys_for) if keys_for else None

    def _of(self, keys_for: tuple[str, ...]) -> frozenset[str]:
        found: set[str] = set()
        for one in keys_for:
            found.update(self._by_name.get(one, ()))
        return frozenset(found)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Thumbprints by address, by domain as `@example.com`, and by `*.example.com`."""
        found: dict[str, list[str]] = {}
        for certificate in self._certificates:
            try:
                addresses = certificate.addresses
            except UnreadableCertificate:
                continue
            names = [name for address in addresses for name in _names(address)]
            for name in dict.fromkeys(names):
                found.setdefault(name, []).append(certificate.thumbprint)
        return found

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


def _names(address: str) -> Iterator[str]:
    """What an address may be named by."""
    domain = domain_of(address)
    yield address
    yield f"@{domain}"
    yield from (one for one in domain_chain(domain) if one.startswith("*."))
