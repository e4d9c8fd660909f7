"""Which kinds of key mail is encrypted to and signed with here: one table for all.

`usage.py` calls a certificate with any other key unsuitable, and `cms/` takes these and no
others: a key that passes here can be used, so that no mail gets stuck halfway.

RSA, the NIST curves, X25519 and Ed25519 are what RFC 8551 §2 and its readers know. A key that
cannot carry a content key (a modulus too short, too long or even, a point of small order) is
told from one that can by trying. Leaves the length that is wanted of keys to `trust/`.
RFC 4055 §1.2 (keys for PSS alone), RFC 5753, RFC 8418, RFC 8419. Raises
`UnreadableCertificate` for keys that cannot be read.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA256

from .certificate import Certificate

_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
ENCRYPTION_USAGE: Final = {
    "rsa": "keyEncipherment",
    "ec": "keyAgreement",
    "x25519": "keyAgreement",
}
"""Kinds of key that encrypt, and the key usage that says so."""

_SIGNING: Final = frozenset({"rsa", "ec", "ed25519"})
_CONTENT_KEY: Final = bytes(32)  # as long as one can be
_PADDINGS: Final = (
    padding.PKCS1v15(),
    padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=None),
)
_SCALAR: Final = x25519.X25519PrivateKey.from_private_bytes(b"\x01" * 32)


def why_not_encrypt(certificate: Certificate) -> str:
    """What keeps its key from being encrypted to; empty when nothing does."""
    kind = certificate.key_algorithm
    if kind not in ENCRYPTION_USAGE:
        return f"{kind} does not encrypt"
    if certificate.pss_digest is not None:
        return "an RSA key that only signs"
    return _unknown_curve(certificate) or _flaw(certificate)


def why_not_sign(certificate: Certificate) -> str:
    """What keeps its key from signing mail; empty when nothing does."""
    kind = certificate.key_algorithm
    return _unknown_curve(certificate) if kind in _SIGNING else f"{kind} does not sign mail"


def _unknown_curve(certificate: Certificate) -> str:
    if certificate.key_algorithm != "ec" or certificate.curve in _CURVES:
        return ""
    return f"the curve {certificate.curve} is not used for mail"


def _flaw(certificate: Certificate) -> str:
    """What keeps this very key, of a kind that encrypts, from doing so: it is tried."""
    key = certificate.public_key
    try:
        if isinstance(key, rsa.RSAPublicKey):
            for one in _PADDINGS:
                key.encrypt(_CONTENT_KEY, one)
        elif isinstance(key, x25519.X25519PublicKey):
            # A point of small order: as all private keys are multiples of eight, it fails
            # with each as with this one, and everybody knows the secret (RFC 7748 §6.1).
            _SCALAR.exchange(key)
    except ValueError:
        return "a flawed key"
    return ""
