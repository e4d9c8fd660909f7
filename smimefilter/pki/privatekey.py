"""Private keys in the encodings they are kept in, and which certificate one belongs to.

PKCS#8 in clear and encrypted, PKCS#1, SEC1, and OpenSSL's encrypted PEM of before PKCS#8. A key
is taken if it is of a kind that certificates for mail have, and consistent in itself.

RFC 5958, RFC 8017 §A.1.2, RFC 5915, RFC 1421 §4.6 (the old PEM).
Raises `UnreadableKeyFile`, `PasswordNeeded`, `WrongPassword`.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from .certificate import Certificate, UnreadableCertificate
from .pbe import Effort, PasswordNeeded, UnreadableKeyFile, WrongPassword
from .pkcs12 import open_encrypted_key

_UsableKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey | x25519.X25519PrivateKey | x448.X448PrivateKey
)  # fmt: skip
_NOT_USABLE: Final = "not a private key that can be used"


def load_key(der: bytes) -> PrivateKeyTypes:
    """PKCS#8, PKCS#1 or SEC1, in clear."""
    try:
        key = load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnreadableKeyFile(_NOT_USABLE) from None
    return _usable(key)


def load_encrypted_key(der: bytes, password: str | None, effort: Effort) -> PrivateKeyTypes:
    """Encrypted PKCS#8."""
    return load_key(open_encrypted_key(der, password, effort))


def load_old_pem(label: str, block: bytes, password: str | None) -> PrivateKeyTypes:
    """The inside of an armoured block with `Proc-Type: 4,ENCRYPTED`."""
    if password is None:
        raise PasswordNeeded("a private key in it is protected by a password")
    begin, end = f"-----BEGIN {label}-----".encode(), f"-----END {label}-----".encode()
    pem = b"\n".join([begin, *block.strip().splitlines(), end, b""])
    try:
        key = load_pem_private_key(pem, password.encode("utf-8", "surrogateescape"))
    except UnsupportedAlgorithm:
        raise UnreadableKeyFile(_NOT_USABLE) from None
    except (ValueError, TypeError):  # of what, is not told
        raise WrongPassword("the password is wrong, or a private key is damaged") from None
    return _usable(key)


def belongs_together(certificate: Certificate, key: PrivateKeyTypes) -> bool:
    """Whether a private key is the one of a certificate; cheap for all that it is not of."""
    public = _public_octets(key.public_key())
    if public is None or public not in certificate.der:
        return False
    try:
        return _public_octets(certificate.public_key) == public
    except UnreadableCertificate:
        return False


def _usable(key: PrivateKeyTypes) -> PrivateKeyTypes:
    if not isinstance(key, _UsableKey):
        raise UnreadableKeyFile("a kind of key that mail does not use")
    return key


def _public_octets(key: PublicKeyTypes) -> bytes | None:
    """What the subjectPublicKey of a certificate with this key contains, byte for byte."""
    match key:
        case rsa.RSAPublicKey():
            return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        case ec.EllipticCurvePublicKey():
            return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        case (
            ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()
            | x25519.X25519PublicKey() | x448.X448PublicKey()
        ):  # fmt: skip
            return key.public_bytes_raw()
        case _:
            return None
