"""CRLs that are special in some way: deltas, parts, critical extensions, weak digests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.pki import NOW, Issued

UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"), b"\x05\x00")


def special_crl(
    issuer: Issued,
    revoked: Iterable[Issued | int] = (),
    *,
    reason: x509.ReasonFlags | None = None,
    date: datetime | None = None,
    this_update: datetime = NOW - timedelta(hours=1),
    next_update: datetime = NOW + timedelta(days=7),
    number: int | None = 1,
    delta_of: int | None = None,
    scope: dict[str, Any] | None = None,
    unknown: bool = False,
    unknown_in_entry: bool = False,
    name: str = "",
    key: Any = None,
) -> bytes:
    """A CRL, DER. `scope`: fields of the issuingDistributionPoint; `name`, `key`: not the
    issuer's own."""
    subject = issuer.certificate.parsed.subject
    if name:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=subject, last_update=this_update, next_update=next_update
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if delta_of is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(delta_of), critical=True)
    if scope is not None:
        builder = builder.add_extension(_scope(**scope), critical=True)
    if unknown:
        builder = builder.add_extension(UNKNOWN, critical=True)
    for one in revoked:
        serial = one if isinstance(one, int) else one.certificate.serial
        entry = x509.RevokedCertificateBuilder(serial, date or this_update)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        if unknown_in_entry:
            entry = entry.add_extension(UNKNOWN, critical=True)
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(key or issuer.key, hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


def _scope(**fields: Any) -> x509.IssuingDistributionPoint:
    url = fields.pop("url", None)
    names = [x509.UniformResourceIdentifier(url)] if url else None
    usual: dict[str, Any] = {
        "full_name": names,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(usual | fields))
