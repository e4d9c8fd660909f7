"""What a certificate may be used for, by its own words: key kind, usages, critical extensions.

Each question is answered with reasons; none means fit. Nothing here asks who issued it.

Leaves kinds of key to `keykinds.py`, trust, time and length of the key to `trust/`.
RFC 5280 §4.2 (critical extensions, key usage), RFC 8550 §4.4, RFC 8551. Certificates that
cannot be read raise `UnreadableCertificate`.
"""

from __future__ import annotations

from typing import Final

from smimefilter.base.reasons import Because, Reason

from .certificate import Certificate
from .keykinds import ENCRYPTION_USAGE, why_not_encrypt, why_not_sign

ANY_EXTENDED_KEY_USAGE: Final = "2.5.29.37.0"
EMAIL_PROTECTION: Final = "1.3.6.1.5.5.7.3.4"
_FOR_MAIL: Final = frozenset({ANY_EXTENDED_KEY_USAGE, EMAIL_PROTECTION})

_SIGNING_USAGES: Final = frozenset({"digitalSignature", "nonRepudiation"})

PROCESSED: Final = frozenset({
    "2.5.29.14",  # subjectKeyIdentifier
    "2.5.29.15",  # keyUsage
    "2.5.29.17",  # subjectAltName
    "2.5.29.19",  # basicConstraints
    "2.5.29.30",  # nameConstraints
    "2.5.29.31",  # cRLDistributionPoints
    "2.5.29.32",  # certificatePolicies
    "2.5.29.33",  # policyMappings
    "2.5.29.35",  # authorityKeyIdentifier
    "2.5.29.36",  # policyConstraints
    "2.5.29.37",  # extKeyUsage
    "2.5.29.54",  # inhibitAnyPolicy
    "1.3.6.1.5.5.7.1.1",  # authorityInfoAccess
})  # fmt: skip
"""Extensions that this gateway honours, and so may be critical."""


def for_encryption(certificate: Certificate) -> tuple[Reason, ...]:
    """Why nothing may be encrypted to this certificate; empty when it is fit."""
    problems = _common(certificate)
    unfit, usage = why_not_encrypt(certificate), certificate.key_usage
    wanted = ENCRYPTION_USAGE.get(certificate.key_algorithm, "")
    if unfit:
        problems.append(_reason(Because.KEY_TYPE, certificate, unfit))
    elif usage is not None and wanted not in usage:
        problems.append(_key_usage(certificate, wanted))
    return tuple(problems)


def for_signing(certificate: Certificate) -> tuple[Reason, ...]:
    """Why nothing may be signed with this certificate; empty when it is fit."""
    return _for_signatures(certificate, why_not_sign(certificate))


def for_verifying(certificate: Certificate) -> tuple[Reason, ...]:
    """Why a signature of this certificate does not count; empty when it does. Any kind of key
    may have made it."""
    return _for_signatures(certificate, "")


def _for_signatures(certificate: Certificate, unfit: str) -> tuple[Reason, ...]:
    problems, usage = _common(certificate), certificate.key_usage
    if unfit:
        problems.append(_reason(Because.KEY_TYPE, certificate, unfit))
    elif usage is not None and not usage & _SIGNING_USAGES:
        problems.append(_key_usage(certificate, "digitalSignature or nonRepudiation"))
    return tuple(problems)


def unprocessed_extensions(certificate: Certificate) -> tuple[Reason, ...]:
    """One reason if it has critical extensions beyond `PROCESSED` (RFC 5280 §4.2)."""
    unknown = certificate.critical_extensions - PROCESSED
    if not unknown:
        return ()
    return (_reason(Because.UNKNOWN_CRITICAL, certificate, ", ".join(sorted(unknown))),)


def not_for_mail(certificate: Certificate) -> tuple[Reason, ...]:
    """One reason if its extended key usage leaves mail out."""
    extended = certificate.extended_key_usage
    if extended is None or extended & _FOR_MAIL:
        return ()
    detail = f"it says {', '.join(sorted(extended))}, without emailProtection"
    return (_reason(Because.EXTENDED_KEY_USAGE, certificate, detail),)


def _common(certificate: Certificate) -> list[Reason]:
    return [*unprocessed_extensions(certificate), *not_for_mail(certificate)]


def _key_usage(certificate: Certificate, wanted: str) -> Reason:
    says = ", ".join(sorted(certificate.key_usage or ())) or "nothing"
    return _reason(Because.KEY_USAGE, certificate, f"it says {says}; {wanted} is needed")


def _reason(because: Because, certificate: Certificate, detail: str) -> Reason:
    return Reason(because, about=certificate.thumbprint, detail=detail)
