"""All that a certificate says, for people: pairs of a label and a value, in reading order.

A label comes once for each value it has. What cannot be read is said so in its place: showing
a broken certificate is how its trouble is found.

Leaves verdicts to `trust/`, layout to the faces. RFC 5280 §4.1-4.2. Raises nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from .certificate import KEY_USAGES, Certificate, UnreadableCertificate
from .points import ALL_REASONS, Scope

_EXTENDED_USAGES: Final = {
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
    ExtendedKeyUsageOID.SMARTCARD_LOGON: "smartcardLogon",
    ExtendedKeyUsageOID.IPSEC_IKE: "ipsecIKE",
}
EXTENDED_KEY_USAGES: Final = {oid.dotted_string: name for oid, name in _EXTENDED_USAGES.items()}

SIGNATURE_ALGORITHMS: Final = {
    SignatureAlgorithmOID.RSA_WITH_MD5.dotted_string: "RSA with MD5",
    SignatureAlgorithmOID.RSA_WITH_SHA1.dotted_string: "RSA with SHA-1",
    SignatureAlgorithmOID.RSA_WITH_SHA224.dotted_string: "RSA with SHA-224",
    SignatureAlgorithmOID.RSA_WITH_SHA256.dotted_string: "RSA with SHA-256",
    SignatureAlgorithmOID.RSA_WITH_SHA384.dotted_string: "RSA with SHA-384",
    SignatureAlgorithmOID.RSA_WITH_SHA512.dotted_string: "RSA with SHA-512",
    SignatureAlgorithmOID.RSASSA_PSS.dotted_string: "RSA-PSS",
    SignatureAlgorithmOID.ECDSA_WITH_SHA1.dotted_string: "ECDSA with SHA-1",
    SignatureAlgorithmOID.ECDSA_WITH_SHA224.dotted_string: "ECDSA with SHA-224",
    SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string: "ECDSA with SHA-256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384.dotted_string: "ECDSA with SHA-384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512.dotted_string: "ECDSA with SHA-512",
    SignatureAlgorithmOID.DSA_WITH_SHA1.dotted_string: "DSA with SHA-1",
    SignatureAlgorithmOID.DSA_WITH_SHA256.dotted_string: "DSA with SHA-256",
    SignatureAlgorithmOID.ED25519.dotted_string: "Ed25519",
    SignatureAlgorithmOID.ED448.dotted_string: "Ed448",
}

_Reader = Callable[[Certificate], Iterable[str]]


def details(certificate: Certificate) -> list[tuple[str, str]]:
    """Label and value of everything in feature table C1."""
    shown: list[tuple[str, str]] = []
    for label, read in _ROWS:
        try:
            values = list(read(certificate))
        except UnreadableCertificate as error:
            values = [f"unreadable: {error}"]
        shown.extend((label, value) for value in values)
    return shown


def key_text(certificate: Certificate) -> str:
    """The key in two words: `RSA 2048 bits`, `EC secp256r1`, `Ed25519`."""
    algorithm = certificate.key_algorithm
    if algorithm == "ec":
        return f"EC {certificate.curve}"
    if algorithm in {"rsa", "dsa"}:
        return f"{algorithm.upper()} {certificate.key_size} bits"
    return algorithm.capitalize()


def crl_issuer(der: bytes) -> str:
    """The issuer of a CRL, RFC 4514 string, or that it cannot be read."""
    try:
        return x509.load_der_x509_crl(der).issuer.rfc4514_string()
    except ValueError:
        return "an unreadable issuer"


def scope_text(scope: Scope | None) -> str:
    """Which certificates a CRL is for."""
    if scope is None:
        return "all certificates of its issuer"
    words = [
        word
        for word, holds in (
            ("end-user certificates only", scope.users_only),
            ("CA certificates only", scope.authorities_only),
            ("attribute certificates only", scope.attributes_only),
            ("some reasons only", scope.reasons != ALL_REASONS),
            ("certificates of other issuers too", scope.indirect),
            ("one distribution point", scope.point is not None),
        )
        if holds
    ]
    return ", ".join(words) or "all certificates of its issuer"


def _key_usage(certificate: Certificate) -> list[str]:
    usage = certificate.key_usage
    if usage is None:
        return ["any (not restricted)"]
    return [", ".join(name for name in KEY_USAGES.values() if name in usage) or "none"]


def _extended_key_usage(certificate: Certificate) -> list[str]:
    usage = certificate.extended_key_usage
    if usage is None:
        return ["any (not restricted)"]
    return [", ".join(sorted(EXTENDED_KEY_USAGES.get(oid, oid) for oid in usage))]


def signature_text(certificate: Certificate) -> str:
    """How a certificate is signed, in words: `RSA with SHA-256`."""
    oid = certificate.signature_algorithm
    return SIGNATURE_ALGORITHMS.get(oid, oid)


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


_ROWS: Final[tuple[tuple[str, _Reader], ...]] = (
    ("subject", lambda c: [c.subject]),
    ("address", lambda c: c.addresses),
    ("issuer", lambda c: [c.issuer]),
    ("serial", lambda c: [c.serial_hex]),
    ("valid from", lambda c: [_date(c.not_before)]),
    ("valid until", lambda c: [_date(c.not_after)]),
    ("CA", lambda c: ["yes" if c.is_ca else "no"]),
    ("key", lambda c: [key_text(c)]),
    ("key usage", _key_usage),
    ("extended key usage", _extended_key_usage),
    ("signature", lambda c: [signature_text(c)]),
    ("SHA-1", lambda c: [c.sha1]),
    ("SHA-256", lambda c: [c.sha256]),
    ("SHA-512", lambda c: [c.thumbprint]),
    ("CRL distribution point", lambda c: c.crl_urls),
    ("authority information", lambda c: [" ".join(pair) for pair in c.authority_information]),
)
