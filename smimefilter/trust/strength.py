"""Which algorithms and keys are strong enough, by the rules in force.

Strict unless a preference says otherwise: no MD5, no SHA-1, no RSA or DSA key below 2048 bits;
and never an elliptic curve below 224 bits. RFC 8551 §2.1, RFC 6194, RFC 6151, NIST SP 800-131A.
Answers are details for a reason; an empty one means strong enough.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from smimefilter.pki.certificate import Certificate

from .signature import Scheme
from .verdict import TrustRules

MINIMUM_CURVE_BITS: Final = 224


def weak_signature(scheme: Scheme | None, rules: TrustRules) -> str:
    """What is wrong with the way something is signed."""
    if scheme is None:
        return "an algorithm unknown here"
    name = scheme.digest_name
    refused = (name == "md5" and not rules.allow_md5) or (
        name == "sha1" and not rules.allow_sha1
    )
    return f"signed with {name.upper()}" if refused else ""


def weak_key(certificate: Certificate, rules: TrustRules) -> str:
    """What is wrong with the length of a key. Raises `UnreadableCertificate`."""
    key = certificate.public_key
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        least = rules.minimum_rsa_bits
    elif isinstance(key, ec.EllipticCurvePublicKey):
        least = MINIMUM_CURVE_BITS
    else:
        return ""
    kind = certificate.key_algorithm.upper()
    return f"{kind} {key.key_size} bits, at least {least} are wanted" * (key.key_size < least)
