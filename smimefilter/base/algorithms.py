"""Names of the algorithms a policy may ask for; `policy/` offers them, `cms/` carries them out.

RFC 8551 §2 (what S/MIME agents support), RFC 5652, RFC 5083, RFC 8017.
"""

from __future__ import annotations

from enum import StrEnum


class SignatureAlgorithm(StrEnum):
    """Digest, and for RSA keys the padding; EC and Ed25519 keys sign in their own way."""

    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"
    SHA256_PSS = "sha256-pss"
    SHA384_PSS = "sha384-pss"
    SHA512_PSS = "sha512-pss"


class ContentCipher(StrEnum):
    """The content encryption algorithm."""

    AES_128_CBC = "aes-128-cbc"
    AES_192_CBC = "aes-192-cbc"
    AES_256_CBC = "aes-256-cbc"
    AES_128_GCM = "aes-128-gcm"
    AES_256_GCM = "aes-256-gcm"


class KeyTransport(StrEnum):
    """How the content key reaches an RSA recipient; EC recipients use ECDH always."""

    PKCS1 = "pkcs1"
    OAEP = "oaep"
