"""Name constraints on mail addresses, for every address the gateway would find somebody by.

Path validation (`path.py`) applies constraints as RFC 5280 has it: to rfc822Names, and to the
subject's emailAddress only where there is no subjectAltName. The gateway finds certificates by
more than that, SmtpUTF8Mailbox (RFC 9598 §6) and emailAddress beside a subjectAltName, and it
compares local parts without regard to case: what finds a certificate has to be constrained
alike, or a constrained CA could speak for anybody.

RFC 5280 §4.2.1.10. Raises `UnreadableCertificate` for a certificate that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509

from smimefilter.base.address import BadAddress, address_key, domain_key, domain_of
from smimefilter.pki.certificate import Certificate


@dataclass(frozen=True, slots=True)
class MailConstraints:
    """What one CA may speak for: bases in their comparable form. None: no word on it."""

    permitted: tuple[str, ...] | None
    excluded: tuple[str, ...]

    def allows(self, address: str) -> bool:
        """Whether an address (a key) is within what this CA may name."""
        if any(covers_address(base, address) for base in self.excluded):
            return False
        return self.permitted is None or any(
            covers_address(base, address) for base in self.permitted
        )


def mail_constraints(certificate: Certificate) -> MailConstraints | None:
    """The constraints a CA certificate puts on mail addresses, if any.

    A base that is no address, host or domain permits nothing and excludes everything.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return None
    permitted = _bases(extension.value.permitted_subtrees or (), bad="")
    excluded = _bases(extension.value.excluded_subtrees or (), bad="*")
    return MailConstraints(permitted or None, excluded) if permitted or excluded else None


def _bases(names: Iterable[x509.GeneralName], bad: str) -> tuple[str, ...]:
    return tuple(address_base(n.value, bad) for n in names if isinstance(n, x509.RFC822Name))


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


def covers_address(base: str, address: str) -> bool:
    """Whether an address (a key) is within a base."""
    if base == "*":
        return True
    if "@" in base:
        return base == address
    domain = domain_of(address)
    return domain.endswith(base) if base.startswith(".") else domain == base
