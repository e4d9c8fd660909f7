"""What can be told of a certificate from its outline, without parsing it.

For indexing a whole store when the knowledge changes, where an object per certificate would
cost seconds. RFC 5280 §4.1.
"""

from __future__ import annotations

from typing import Final

from smimefilter.pki import tlv

_BASIC_CONSTRAINTS: Final = bytes.fromhex("0603551d13")
_EMPTY: Final = (bytes.fromhex("04023000"), bytes.fromhex("0101ff04023000"))


def may_be_ca(certificate: bytes) -> bool:
    """Whether it has basicConstraints that are not empty; says yes too often rather than not
    often enough."""
    at = certificate.find(_BASIC_CONSTRAINTS)
    return at >= 0 and not certificate.startswith(_EMPTY, at + len(_BASIC_CONSTRAINTS))


def subject_of(certificate: bytes) -> bytes:
    """The subject, DER. Raises `BadDer`."""
    signed = _signed_part(certificate)
    for _ in ("signature algorithm", "issuer", "validity"):
        signed.take(tlv.SEQUENCE)
    start = signed.position
    signed.take(tlv.SEQUENCE)
    return certificate[start : signed.position]


def signature_algorithm(certificate: bytes) -> bytes:
    """The AlgorithmIdentifier of its signature, DER.

    Empty when the signed part names another one (RFC 5280 §4.1.1.2), or it cannot be read.
    """
    try:
        signed = _signed_part(certificate)
        start = signed.position
        signed.take(tlv.SEQUENCE)
        outer = tlv.Cursor(certificate, *tlv.whole(certificate, tlv.SEQUENCE))
        outer.take(tlv.SEQUENCE)
    except tlv.BadDer:
        return b""
    algorithm = certificate[start : signed.position]
    return algorithm if certificate.startswith(algorithm, outer.position) else b""


def _signed_part(certificate: bytes) -> tlv.Cursor:
    """Stands at the signature algorithm within the signed part."""
    outer = tlv.Cursor(certificate, *tlv.whole(certificate, tlv.SEQUENCE))
    signed = tlv.Cursor(certificate, *outer.take(tlv.SEQUENCE))
    if signed.at(tlv.CONTEXT_0):
        signed.take(tlv.CONTEXT_0)  # version
    signed.take(tlv.INTEGER)  # serial number
    return signed
