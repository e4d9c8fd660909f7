"""Private keys in the PKCS#11 token and the certificates they belong to, by public key.

A certificate is linked to its key once, by a sealed reference in the place of a key. From then
on it counts as one whose key we hold, whether the token is there or not: mail that needs an
absent token waits, and is neither sent unsigned nor passed on closed.

Leaves asking the token to `keys/`. Raises `StoreTrouble`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.ports.keys import PRIVATE_KEY, HeldKey, Sealer
from smimefilter.ports.stores import CertificateEntry, Certificates, Shelf, WrappedKey

_KINDS: Final = frozenset({"rsa", "ec"})


@dataclass(frozen=True, slots=True)
class Belonging:
    """A key in the token, and the certificates of the store with the same public key."""

    key: HeldKey
    entries: tuple[CertificateEntry, ...]


async def belongings(store: Certificates, keys: Sequence[HeldKey]) -> list[Belonging]:
    """What each key in the token belongs to."""
    entries = [entry for shelf in Shelf for entry in await store.all(shelf)]
    wanted = {one.key.public for one in keys if one.key is not None}
    found: dict[bytes, dict[str, CertificateEntry]] = {}
    for entry in entries if wanted else ():
        public = _public(entry.certificate)
        if public in wanted:
            found.setdefault(public, {})[entry.certificate.thumbprint] = entry
    return [
        Belonging(one, tuple(found.get(one.key.public, {}).values() if one.key else ()))
        for one in keys
    ]


async def link(
    store: Certificates, sealer: Sealer, keys: Sequence[HeldKey]
) -> list[CertificateEntry]:
    """Link every certificate to its key in the token, where we hold none of it yet; those that
    are linked now."""
    new = [
        (entry, one.key.key)
        for one in await belongings(store, keys)
        for entry in one.entries
        if one.key.key is not None and not entry.has_key
    ]
    links = {
        entry.certificate.thumbprint: WrappedKey(
            entry.certificate.thumbprint,
            sealer.seal(PRIVATE_KEY, entry.certificate.thumbprint, key.reference),
        )
        for entry, key in new
    }
    if links:
        await store.add_with_keys((), list(links.values()), "in the token")
    return _once(entry for entry, _ in new)


def _once(entries: Iterable[CertificateEntry]) -> list[CertificateEntry]:
    return list({entry.certificate.thumbprint: entry for entry in entries}.values())


def _public(certificate: Certificate) -> bytes:
    """SubjectPublicKeyInfo; empty for keys that are in no token."""
    try:
        if certificate.key_algorithm not in _KINDS:
            return b""
        form = PublicFormat.SubjectPublicKeyInfo
        return certificate.public_key.public_bytes(Encoding.DER, form)
    except UnreadableCertificate:
        return b""
