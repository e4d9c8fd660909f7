"""Certificates with distribution points, and the CRLs that are found there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate
from tests.support.pki import NOW, YEAR, Issued, key_of

Names = list[x509.GeneralName]


def url(text: str) -> Names:
    """A URL as the names of a point."""
    return [x509.UniformResourceIdentifier(text)]


def directory(issued: Issued, *below: str) -> Names:
    """The name of a CA, or one below it, as the names of a point."""
    parts = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in below]
    subject = issued.certificate.parsed.subject
    return [x509.DirectoryName(x509.Name([*subject.rdns, *_rdns(parts)]))]


def relative(name: str) -> x509.RelativeDistinguishedName:
    """A name relative to the CRL's issuer."""
    return _rdns([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])[0]


def point(
    names: Names | x509.RelativeDistinguishedName | None = None,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    issuer: Issued | None = None,
) -> x509.DistributionPoint:
    """One distribution point of a certificate."""
    full, below = (None, names) if isinstance(names, x509.RelativeDistinguishedName) else (
        names, None,
    )  # fmt: skip
    return x509.DistributionPoint(full, below, reasons, issuer and directory(issuer))


def pointed(
    issuer: Issued,
    name: str,
    points: Iterable[x509.DistributionPoint],
    *,
    signs_crls: bool = False,
) -> Issued:
    """A certificate with these distribution points: for mail, or for a CRL signer."""
    key: Any = key_of("p256", name)
    builder = (
        x509.CertificateBuilder(issuer_name=issuer.certificate.parsed.subject)
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(_serial(name))
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
        .add_extension(_usage(signs_crls), critical=True)
        .add_extension(x509.CRLDistributionPoints(points), critical=False)
    )
    if not signs_crls:
        address = x509.RFC822Name(f"{name.lower()}@example.com")
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    signer: Any = issuer.key
    made = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)
    return Issued(Identity(Certificate(made), key, (issuer.certificate, *issuer.chain)))


def indirect_crl(
    issuer: Issued,
    entries: Iterable[tuple[Issued, Issued | None]] = (),
    *,
    flagged: bool = True,
    names: Names | None = None,
) -> bytes:
    """A CRL, DER, with entries of other issuers: pairs of a certificate and the issuer its
    entry names, None for none."""
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=issuer.certificate.parsed.subject,
        last_update=NOW - timedelta(hours=1),
        next_update=NOW + timedelta(days=7),
    )
    if flagged:
        scope = x509.IssuingDistributionPoint(names, None, False, False, None, True, False)
        builder = builder.add_extension(scope, critical=True)
    for one, of in entries:
        entry = x509.RevokedCertificateBuilder(one.certificate.serial, NOW - YEAR)
        if of is not None:
            entry = entry.add_extension(x509.CertificateIssuer(directory(of)), critical=True)
        builder = builder.add_revoked_certificate(entry.build())
    signer: Any = issuer.key
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def _serial(name: str) -> int:
    return int.from_bytes(name.encode()[:15], "big")


def _usage(crl_sign: bool) -> x509.KeyUsage:
    mail = not crl_sign
    return x509.KeyUsage(mail, False, False, False, mail, False, crl_sign, False, False)


def _rdns(
    attributes: Iterable[x509.NameAttribute[str]],
) -> list[x509.RelativeDistinguishedName]:
    return [x509.RelativeDistinguishedName([attribute]) for attribute in attributes]
