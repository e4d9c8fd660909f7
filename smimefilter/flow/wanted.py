"""A certificate that is asked for, and whether what came is that one. Pure.

`Wanted` says no to what no CA could make before anybody is asked; `flaw` says what is wrong
with an answer: the key, the address and no other name, the use, the time. `above` takes of what
came along only what leads up from the certificate. Names as long as RFC 5280 Appendix A allows.
Raises `AdminError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError
from smimefilter.pki.build import KEY_KINDS
from smimefilter.pki.certificate import Certificate, UnreadableCertificate, is_ca
from smimefilter.pki.privatekey import belongs_together
from smimefilter.policy.kinds import URL

from .certificates import LONGEST_CHAIN, issued_by
from .new_authority import LONGEST_NAME, weakness

SKEW: Final = timedelta(hours=24)  # certificates may begin a little later
LONGEST_DAYS: Final = 36_500
_USES: Final = frozenset({"1.3.6.1.5.5.7.3.4", "2.5.29.37.0"})  # emailProtection, any
_NAMES: Final = ("common_name", "organisation", "given_name", "surname")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A certificate that somebody asks for, and what to do with it."""

    address: str
    common_name: str
    organisation: str = ""
    given_name: str = ""
    surname: str = ""
    days: int = 730
    key: str = "rsa3072"
    digest: str = "sha256"
    crl_url: str = ""  # template
    issuer_url: str = ""  # likewise
    add_user: bool = False
    send: bool = False  # the key file, by mail
    send_to: str = ""  # where that is another address
    legacy: bool = False  # a key file for old programs
    sms: bool = False
    store_password: bool = False

    def checked(self) -> Wanted:
        """The same with its address as a key. Raises `AdminError` for what makes no sense."""
        try:
            address = address_key(self.address)
        except BadAddress as error:
            raise AdminError(str(error), where=self.address) from None
        for mistake in self._mistakes():
            raise AdminError(mistake, where=self.address)
        return replace(self, address=address)

    def _mistakes(self) -> Iterator[str]:
        if not self.common_name.strip():
            yield "a certificate needs a common name"
        for name in _NAMES:
            value = getattr(self, name)
            if len(value) > LONGEST_NAME or not value.isprintable():
                what = name.replace("_", " ")
                yield f"the {what} of a certificate takes {LONGEST_NAME} printable characters"
        if self.key not in KEY_KINDS:
            yield f"no such kind of key: {self.key}; one of {', '.join(KEY_KINDS)}"
        if weak := weakness(self.key, self.digest):
            yield weak
        if not 1 <= self.days <= LONGEST_DAYS:
            yield f"a certificate is valid for 1 to {LONGEST_DAYS} days, not {self.days}"
        for url in filter(None, (self.crl_url, self.issuer_url)):
            try:
                URL.read(url)
            except ValueError as error:
                yield f"'{url[:60]}' is no URL that a certificate can name: it {error}"


def flaw(certificate: Certificate, wanted: Wanted, key: PrivateKeyTypes, now: datetime) -> str:
    """Why a certificate is not the one that was wanted; empty when it is."""
    try:
        return next(_flaws(certificate, wanted, key, now), "")
    except UnreadableCertificate as error:
        return f"it cannot be read: {error}"


def _flaws(
    certificate: Certificate, wanted: Wanted, key: PrivateKeyTypes, now: datetime
) -> Iterator[str]:
    begins, ends = certificate.validity
    if not belongs_together(certificate, key):
        yield "it is for another key"
    if certificate.is_ca:
        yield "it is that of a CA"
    if wanted.address not in certificate.addresses:
        named = ", ".join(certificate.addresses) or "no address"
        yield f"it names {named}, not {wanted.address}"
    if others := [one for one in dict.fromkeys(_names(certificate)) if one != wanted.address]:
        yield f"it names others too: {', '.join(map(repr, others[:5]))}"
    uses = certificate.extended_key_usage
    if uses is not None and not uses & _USES:
        yield "it is not for mail (emailProtection)"
    if ends <= now:
        yield f"it has expired, on {ends:%Y-%m-%d}"
    if begins > now + SKEW:
        yield f"it is not valid before {begins:%Y-%m-%d}"


def _names(certificate: Certificate) -> Iterator[str]:
    """Whom and what it is for, as keys where they are addresses and else as they stand; what
    directories know a person by (UPN, distinguished names) is left aside."""
    yield from certificate.addresses
    for name in certificate.alternative_names:
        if isinstance(name, x509.RFC822Name):
            yield _key_of(name.value)
        elif isinstance(name, x509.DNSName | x509.UniformResourceIdentifier | x509.IPAddress):
            yield str(name.value)


def _key_of(address: str) -> str:
    try:
        return address_key(address)
    except BadAddress:
        return address


def above(certificate: Certificate, came: Sequence[Certificate]) -> list[Certificate]:
    """Of what came along the CAs that lead up from a certificate, nearest first."""
    authorities = [one for one in came if is_ca(one)]
    found: list[Certificate] = []
    last = certificate
    while len(found) < LONGEST_CHAIN:
        up = (one for one in authorities if one not in found and issued_by(last, one))
        nearest = next(up, None)
        if nearest is None:
            break
        found.append(nearest)
        last = nearest
    return found
