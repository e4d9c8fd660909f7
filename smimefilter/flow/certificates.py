"""The certificates in the store: finding, searching, removing and exporting them.

Leaves importing to `imports.py`, verdicts to `trust/`, file formats to `pki/export.py`.
Raises `AdminError`, `StoreTrouble`, and `KeyTrouble` where a private key is exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError
from smimefilter.base.thumbprint import thumbprint_of
from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.export import (
    CannotExport,
    certificate_der,
    certificates_pem,
    certificates_pkcs7,
    identity_pem,
    identity_pkcs12,
)
from smimefilter.ports.keys import KeyRing
from smimefilter.ports.stores import CertificateEntry, Certificates, Shelf

SHORTEST_PREFIX: Final = 8  # hex digits of a thumbprint
LONGEST_CHAIN: Final = 10
_LISTED_WITH: Final = {
    Shelf.CERTIFICATES: "list them with: smimefilter certificate list",
    Shelf.ROOTS: "list them with: smimefilter root list",
}


class Validity(StrEnum):
    """Which certificates a search looks at."""

    ALL = "all"
    UNEXPIRED = "unexpired"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; empty means anything. Texts are found anywhere and in any case."""

    address: str = ""  # a whole address, or a part such as a domain
    subject: str = ""
    issuer: str = ""
    serial: str = ""  # hex digits, as other programs print them
    thumbprint: str = ""  # SHA-512, its beginning
    validity: Validity = Validity.ALL
    with_key: bool = False
    origin: str = ""  # how it came: a part of it


class Form(StrEnum):
    """File formats of an export, by their usual name endings."""

    PEM = "pem"
    DER = "der"
    PKCS7 = "p7b"
    PKCS12 = "p12"
    PKCS12_OLD = "p12-old"  # 3DES and SHA-1, for programs that know no better


async def search(
    store: Certificates, shelf: Shelf, query: Query, now: datetime
) -> list[CertificateEntry]:
    """The certificates of a shelf that a query asks for, oldest entry first."""
    wanted = _Wanted(query, now)
    return [entry for entry in await store.all(shelf) if wanted.matches(entry)]


async def find(
    store: Certificates, thumbprint: str, shelf: Shelf | None = None
) -> CertificateEntry:
    """The one certificate with this SHA-512 thumbprint, or a unique beginning of it.

    Looks on both shelves when none is named. Raises `AdminError` for fewer than 8 digits, for
    none and for several.
    """
    digits = _hex(thumbprint)
    if len(digits) < SHORTEST_PREFIX:
        raise AdminError(
            f"'{thumbprint}' is not enough of a SHA-512 thumbprint",
            mend=f"write its first {SHORTEST_PREFIX} hex digits or more",
        )
    found = {
        entry.certificate.thumbprint: entry
        for one in ([shelf] if shelf else reversed(Shelf))
        for entry in await store.all(one)
        if entry.certificate.thumbprint.startswith(digits)
    }
    if not found:
        mend = _LISTED_WITH[shelf or Shelf.CERTIFICATES]
        raise AdminError(f"no certificate has the thumbprint {thumbprint}", mend=mend)
    if len(found) > 1:
        raise _several(len(found), thumbprint)
    return found.popitem()[1]


async def whole_thumbprint(store: Certificates, text: str, others: Iterable[str] = ()) -> str:
    """A SHA-512 thumbprint, of whatever certificate; or the one of the store, or of `others`,
    that begins so. Raises `AdminError`."""
    try:
        return thumbprint_of(text)
    except ValueError as error:
        refusal = AdminError(str(error))
    digits = _hex(text)
    found = set()
    if len(digits) >= SHORTEST_PREFIX:
        stored = [entry for shelf in Shelf for entry in await store.all(shelf)]
        known = {*(entry.certificate.thumbprint for entry in stored), *others}
        found = {one for one in known if one.startswith(digits)}
    if len(found) > 1:
        raise _several(len(found), text)
    if not found:
        raise refusal
    return found.pop()


async def remove(
    store: Certificates, thumbprint: str, shelf: Shelf, *, with_key: bool = False
) -> CertificateEntry:
    """Take a certificate out of a shelf; what it was. Its private key goes with it, which
    has to be asked for.

    `thumbprint` as for `find`. Raises `AdminError`.
    """
    entry = await find(store, thumbprint, shelf)
    if entry.has_key and not with_key:
        raise AdminError(
            "its private key would be gone as well",
            where=entry.certificate.subject,
            mend="write it to a file with `key export` first, then say --with-key; a key in "
            "the token stays there",
        )
    await store.remove(entry.certificate.thumbprint, shelf)
    return entry


def export_certificates(certificates: Sequence[Certificate], form: Form) -> bytes:
    """Certificates as a file. Raises `AdminError`."""
    try:
        match form:
            case Form.PEM:
                return certificates_pem(certificates)
            case Form.DER:
                return certificate_der(certificates)
            case Form.PKCS7:
                return certificates_pkcs7(certificates)
            case Form.PKCS12 | Form.PKCS12_OLD:
                raise CannotExport("PKCS#12 is for private keys: export the key instead")
    except CannotExport as error:
        raise AdminError(str(error), mend="choose another format") from None


async def export_key(
    store: Certificates, keys: KeyRing, certificate: Certificate, password: str, form: Form
) -> bytes:
    """A certificate with its private key and the chain the store knows, under a password.

    Raises `AdminError`, and `KeyTrouble` when the key cannot be unwrapped.
    """
    if not keys.has(certificate.thumbprint):
        raise AdminError(
            "there is no private key of this certificate",
            where=certificate.thumbprint[:16],
            mend="list those there are with: smimefilter key list",
        )
    refuse_if_in_token(keys, certificate)
    key = keys.private_key(certificate.thumbprint)
    identity = Identity(certificate, key, await chain_of(store, certificate))
    try:
        match form:
            case Form.PEM:
                return identity_pem(identity, password)
            case Form.PKCS12 | Form.PKCS12_OLD:
                name = certificate.common_name
                return identity_pkcs12(
                    identity, password, name=name, old=form is Form.PKCS12_OLD
                )
            case Form.DER | Form.PKCS7:
                raise CannotExport("this format holds no private key")
    except CannotExport as error:
        raise AdminError(str(error), mend="choose another format or password") from None


def refuse_if_in_token(keys: KeyRing, certificate: Certificate) -> None:
    """Raises `AdminError` for a private key that cannot be had."""
    if keys.in_token(certificate.thumbprint):
        raise AdminError(
            "its private key is in the token, and does not leave it",
            where=certificate.subject,
            mend="make copies as the maker of the token says",
        )


async def chain_of(store: Certificates, certificate: Certificate) -> tuple[Certificate, ...]:
    """The certificates above, nearest first, as far as the store has them.

    By name and signature alone: what belongs into a file, not what is trusted.
    """
    entries = [entry for shelf in Shelf for entry in await store.all(shelf)]
    authorities = [entry.certificate for entry in entries if entry.certificate.is_ca]
    chain: list[Certificate] = []
    last = certificate
    while not last.is_self_issued and len(chain) < LONGEST_CHAIN:
        above = next((one for one in authorities if issued_by(last, one)), None)
        if above is None or above in chain:
            break
        chain.append(above)
        last = above
    return tuple(chain)


def issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether it is so by name and signature."""
    if issuer.subject_der != certificate.issuer_der:
        return False
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


class _Wanted:
    """A query made ready to be compared with many entries."""

    def __init__(self, query: Query, now: datetime) -> None:
        self._query: Final = query
        self._now: Final = now
        self._address: Final = query.address.casefold()
        self._whole_address: Final = _key(query.address)
        self._subject: Final = query.subject.casefold()
        self._issuer: Final = query.issuer.casefold()
        self._serial: Final = _hex(query.serial).removeprefix("0x").lstrip("0")
        self._thumbprint: Final = _hex(query.thumbprint)
        self._origin: Final = query.origin.casefold()

    def matches(self, entry: CertificateEntry) -> bool:
        """Whether the entry is asked for; one that cannot be read never is."""
        try:
            return (
                (entry.has_key or not self._query.with_key)
                and self._origin in entry.origin.casefold()
                and self._named(entry.addresses)
                and entry.certificate.thumbprint.startswith(self._thumbprint)
                and self._subject in entry.certificate.subject.casefold()
                and self._issuer in entry.certificate.issuer.casefold()
                and (not self._serial or entry.certificate.serial_hex == self._serial)
                and self._in_time(entry.certificate)
            )
        except UnreadableCertificate:
            return False

    def _named(self, addresses: Iterable[str]) -> bool:
        if self._whole_address:
            return self._whole_address in addresses
        return not self._address or any(self._address in address for address in addresses)

    def _in_time(self, certificate: Certificate) -> bool:
        if self._query.validity is Validity.ALL:
            return True
        expired = certificate.not_after < self._now
        return expired == (self._query.validity is Validity.EXPIRED)


def _key(address: str) -> str:
    try:
        return address_key(address)
    except BadAddress:
        return ""


def _several(count: int, beginning: str) -> AdminError:
    return AdminError(
        f"{count} certificates have a thumbprint that begins with {beginning}",
        mend="write more of it",
    )


def _hex(text: str) -> str:
    """Hex digits as people paste them: without colons, spaces and capitals."""
    digits = text.lower().removeprefix("sha512:")
    return "".join(digits.replace(":", "").split())
