"""Answers of OCSP as responders give them, and as they should not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.support.pki import NOW, Issued

SIGNING = frozenset({x509.ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string})
HOUR = timedelta(hours=1)
_STATUSES = {
    "good": ocsp.OCSPCertStatus.GOOD,
    "revoked": ocsp.OCSPCertStatus.REVOKED,
    "unknown": ocsp.OCSPCertStatus.UNKNOWN,
}


def ocsp_answer(
    about: Issued,
    issuer: Issued,
    status: str = "good",
    *,
    by: Issued | None = None,
    this_update: datetime = NOW - HOUR,
    next_update: datetime | None = NOW + HOUR,
    nonce: bytes | None = None,
    certificates: tuple[Issued, ...] | None = None,
    digest: Any = None,
    names: Any = None,
) -> bytes:
    """An answer, DER, signed by the issuer or by somebody else. `certificates`: what comes
    along, by default the signer's if that is not the issuer."""
    signer = by or issuer
    revoked = status == "revoked"
    builder = ocsp.OCSPResponseBuilder().add_response(
        about.certificate.parsed,
        issuer.certificate.parsed,
        names or hashes.SHA1(),  # noqa: S303 - as responders do
        _STATUSES[status],
        this_update,
        next_update,
        NOW - 5 * HOUR if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, signer.certificate.parsed)
    along = certificates if certificates is not None else ((by,) if by else ())
    if along:
        builder = builder.certificates([one.certificate.parsed for one in along])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    key: Any = signer.key
    signed = builder.sign(key, digest or hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


def refusal() -> bytes:
    """A responder that does not answer now."""
    status = ocsp.OCSPResponseStatus.TRY_LATER
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
