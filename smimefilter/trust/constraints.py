"""Name constraints on mail addresses, for every address the gateway would find somebody by.

Path validation (`path.py`) applies constraints as RFC 5280 has it: to rfc822Names, and to the
subject's emailAddress only where there is no subjectAltName. The gateway finds certificates by
more than that, SmtpUTF8Mailbox (RFC 9598 §6) and emailAddress beside a subjectAltName, and it
compares local parts without regard to case: what finds a certificate has to be constrained
alike, or a constrained CA could speak for anybody.

The few bases that an address is within are looked up among those of a CA, so that what many
addresses below many constraints cost does not multiply.

RFC 5280 §4.2.1.10. Raises `UnreadableCertificate` for a certificate that cannot be read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509

from smimefilter.base.address import BadAddress, address_key, domain_key, domain_of
from smimefilter.pki.certificate import Certificate, UnreadableCertificate

MOST: Final = 1000  # names of one certificate below constraints; constraints of one CA
EVERYTHING: Final = "*"  # the base that everything is within
_LONGEST: Final = 255  # characters of a domain; RFC 5321 §4.5.3.1.2


@dataclass(frozen=True, slots=True)
class MailConstraints:
    """What one CA may speak for: bases in their comparable form. None: no word on it."""

    permitted: Collection[str] | None
    excluded: Collection[str]

    def refused(self, addresses: Collection[str]) -> str:
        """The first address that this CA may not name; empty when it may name all."""
        if len(addresses) > MOST:
            return f"{len(addresses)} addresses in one certificate"
        return next((address for address in addresses if not self.allows(address)), "")

    def allows(self, address: str) -> bool:
        """Whether an address (a key) is within what this CA may name."""
        bases = bases_of(address)
        if not bases or any(base in self.excluded for base in bases):
            return False
        return self.permitted is None or any(base in self.permitted for base in bases)


def mail_constraints(certificate: Certificate) -> MailConstraints | None:
    """The constraints a CA certificate puts on mail addresses, if any.

    A base that is no address, host or domain permits nothing and excludes everything.
    """
    found = name_constraints(certificate)
    if found is None:
        return None
    permitted = _bases(found.permitted_subtrees or (), bad="")
    excluded = _bases(found.excluded_subtrees or (), bad=EVERYTHING)
    return MailConstraints(permitted or None, excluded) if permitted or excluded else None


def name_constraints(certificate: Certificate) -> x509.NameConstraints | None:
    """The extension of a CA certificate; more constraints than anybody has are not read."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
    if len(found.permitted_subtrees or ()) + len(found.excluded_subtrees or ()) > MOST:
        raise UnreadableCertificate(f"it has more than {MOST} name constraints")
    return found


def _bases(names: Iterable[x509.GeneralName], bad: str) -> frozenset[str]:
    return frozenset(
        address_base(name.value, bad) for name in names if isinstance(name, x509.RFC822Name)
    )


def address_base(text: str, bad: str) -> str:
    """`user@host`, `host` or `.domain`, comparable; `bad` where it is none of them."""
    try:
        if text.rpartition("@")[0]:
            return address_key(text)
        host = text.removeprefix("@")
        dot = "." if host.startswith(".") else ""
        return dot + domain_key(host.removeprefix("."))
    except BadAddress:
        return bad


@lru_cache(maxsize=16384)
def bases_of(address: str) -> frozenset[str]:
    """All bases that an address (a key) is within; none when its domain is too long for one."""
    domain = domain_of(address)
    if len(domain) > _LONGEST:
        return frozenset()
    return frozenset((EVERYTHING, address, domain, *dotted_ends(domain)))


def dotted_ends(host: str) -> list[str]:
    """What a host ends with, from each of its dots on."""
    return [host[at:] for at, letter in enumerate(host) if letter == "."]
