"""What can be told of a certificate from its outline, without parsing it.

For indexing a whole store when the knowledge changes, where an object per certificate would
cost seconds. RFC 5280 §4.1.
"""

from __future__ import annotations

from typing import Final

from smimefilter.pki import tlv

CRL_POINTS: Final = bytes.fromhex("551d1f")
FRESHEST_CRL: Final = bytes.fromhex("551d2e")
AUTHORITY_KEY: Final = bytes.fromhex("551d23")
_BASIC_CONSTRAINTS: Final = bytes.fromhex("0603551d13")
_EMPTY: Final = (bytes.fromhex("04023000"), bytes.fromhex("0101ff04023000"))
_KEY_USAGE: Final = bytes.fromhex("0603551d0f")
_EXTENSIONS: Final = 0xA3
_CRL_SIGN: Final = 0x02  # in the first octet of the bits


def may_be_ca(certificate: bytes) -> bool:
    """Whether it has basicConstraints that are not empty; says yes too often rather than not
    often enough."""
    at = certificate.find(_BASIC_CONSTRAINTS)
    return at >= 0 and not certificate.startswith(_EMPTY, at + len(_BASIC_CONSTRAINTS))


def may_sign_crls(certificate: bytes) -> bool:
    """Whether its keyUsage has cRLSign; says yes too often rather than not often enough."""
    at = certificate.find(_KEY_USAGE)
    if at < 0:
        return False
    at += len(_KEY_USAGE)
    if certificate.startswith(b"\1\1", at):  # critical
        at += 3
    # OCTET STRING, its length, BIT STRING, its length, unused bits, the bits
    bits = certificate[at + 5 : at + 6]
    return certificate[at : at + 1] != b"\4" or not bits or bool(bits[0] & _CRL_SIGN)


def extension_of(certificate: bytes, oid: bytes) -> bytes | None:
    """The value of the first extension with this OID (content octets). Raises `BadDer`."""
    signed = _signed_part(certificate)
    for _ in ("signature algorithm", "issuer", "validity", "subject", "public key"):
        signed.take(tlv.SEQUENCE)
    for tag in (0x81, 0x82, 0xA1, 0xA2):  # unique identifiers
        if signed.at(tag):
            signed.take(tag)
    if not signed.at(_EXTENSIONS):
        return None
    start, end = signed.take(_EXTENSIONS)
    extensions = tlv.expect(certificate, start, end, tlv.SEQUENCE)
    for _, at, stop in tlv.elements(certificate, *extensions):
        name, value = tlv.expect(certificate, at, stop, tlv.OID)
        if certificate[name:value] == oid:
            rest = tlv.Cursor(certificate, value, stop)
            if rest.at(tlv.BOOLEAN):
                rest.take(tlv.BOOLEAN)
            return certificate[slice(*rest.take(tlv.OCTET_STRING))]
    return None


def issuer_of(certificate: bytes) -> bytes:
    """The issuer, DER. Raises `BadDer`."""
    signed = _signed_part(certificate)
    signed.take(tlv.SEQUENCE)  # signature algorithm
    start = signed.position
    signed.take(tlv.SEQUENCE)
    return certificate[start : signed.position]


def subject_of(certificate: bytes) -> bytes:
    """The subject, DER. Raises `BadDer`."""
    signed = _signed_part(certificate)
    for _ in ("signature algorithm", "issuer", "validity"):
        signed.take(tlv.SEQUENCE)
    start = signed.position
    signed.take(tlv.SEQUENCE)
    return certificate[start : signed.position]


def public_key_of(certificate: bytes) -> bytes:
    """The content of the BIT STRING that is its public key. Raises `BadDer`."""
    signed = _signed_part(certificate)
    for _ in ("signature algorithm", "issuer", "validity", "subject"):
        signed.take(tlv.SEQUENCE)
    key = tlv.Cursor(certificate, *signed.take(tlv.SEQUENCE))
    key.take(tlv.SEQUENCE)
    start, end = key.take(tlv.BIT_STRING)
    return certificate[start + 1 : end]


def signed_part(certificate: bytes) -> bytes:
    """The bytes its signature covers. Raises `BadDer`."""
    start, _ = tlv.whole(certificate, tlv.SEQUENCE)
    _, end = tlv.expect(certificate, start, len(certificate), tlv.SEQUENCE)
    return certificate[start:end]


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
