"""How CMS names a certificate: issuer and serial number, as its own bytes have them.

The name is sliced, not encoded anew: a reader compares bytes, and old certificates hold
strings of kinds that an encoder would change. RFC 5652 §10.2.4. Raises
`UnreadableCertificate`.
"""

from __future__ import annotations

from asn1crypto import x509

from smimefilter.pki.certificate import Certificate, UnreadableCertificate

from . import der


def issuer_and_serial(certificate: Certificate) -> bytes:
    """IssuerAndSerialNumber of a certificate, DER."""
    try:
        body = x509.Certificate.load(certificate.der)["tbs_certificate"]
        return der.tlv(der.SEQUENCE, body["issuer"].dump(), body["serial_number"].dump())
    except (ValueError, TypeError) as error:
        raise UnreadableCertificate(f"issuer and serial cannot be read: {error}") from None
