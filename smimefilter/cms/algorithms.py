"""Object identifiers and parameters of what the gateway writes: one table a kind.

Names of algorithms for policies are `base/algorithms.py`; here is what they mean in CMS.
RFC 5652, RFC 5083 and 5084 (AES-GCM), RFC 3565 (AES-CBC), RFC 5754 (SHA-2), RFC 4055 and 4056
(PSS, OAEP), RFC 5753 (ECDH, ECDSA), RFC 8418 (X25519), RFC 8419 (Ed25519). Raises `CannotSign`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.algorithms import ContentCipher, SignatureAlgorithm
from smimefilter.base.errors import MailError, Status

from . import der

DATA: Final = der.oid("1.2.840.113549.1.7.1")
SIGNED_DATA: Final = der.oid("1.2.840.113549.1.7.2")
ENVELOPED_DATA: Final = der.oid("1.2.840.113549.1.7.3")
AUTH_ENVELOPED_DATA: Final = der.oid("1.2.840.113549.1.9.16.1.23")
COMPRESSED_DATA: Final = der.oid("1.2.840.113549.1.9.16.1.9")  # RFC 3274; only read


class CannotSign(MailError):
    """A key that this gateway cannot sign with: its kind, or not that of the certificate."""

    status: ClassVar[Status] = Status(4, "7.5")
    public: ClassVar[str] = "signing key not usable, try again later"


class CannotEncrypt(MailError):
    """A certificate that nothing can be encrypted to; the text says which and why."""

    status: ClassVar[Status] = Status(4, "7.5")
    public: ClassVar[str] = "an encryption certificate cannot be used, try again later"


# signatures


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest: how hashlib, `cryptography`, MIME (RFC 8551 §3.5.3.2) and CMS call it."""

    name: str
    micalg: str
    hash: hashes.SHA256 | hashes.SHA384 | hashes.SHA512
    oid: str
    ecdsa: str  # OID of ECDSA with this digest

    @property
    def identifier(self) -> bytes:
        """AlgorithmIdentifier of a digest; RFC 5754 §2: parameters absent."""
        return der.algorithm(self.oid)

    @property
    def padding_identifier(self) -> bytes:
        """AlgorithmIdentifier within PSS and OAEP; RFC 4055 §2.1: parameters NULL."""
        return der.algorithm(self.oid, der.NULL)


SHA256: Final = Digest(
    "sha256", "sha-256", hashes.SHA256(), "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
)
SHA384: Final = Digest(
    "sha384", "sha-384", hashes.SHA384(), "2.16.840.1.101.3.4.2.2", "1.2.840.10045.4.3.3"
)
SHA512: Final = Digest(
    "sha512", "sha-512", hashes.SHA512(), "2.16.840.1.101.3.4.2.3", "1.2.840.10045.4.3.4"
)
_DIGESTS: Final = {
    SignatureAlgorithm.SHA256: SHA256,
    SignatureAlgorithm.SHA384: SHA384,
    SignatureAlgorithm.SHA512: SHA512,
    SignatureAlgorithm.SHA256_PSS: SHA256,
    SignatureAlgorithm.SHA384_PSS: SHA384,
    SignatureAlgorithm.SHA512_PSS: SHA512,
}
_PSS: Final = frozenset(
    {
        SignatureAlgorithm.SHA256_PSS,
        SignatureAlgorithm.SHA384_PSS,
        SignatureAlgorithm.SHA512_PSS,
    }
)
MGF1: Final = "1.2.840.113549.1.1.8"
# The bare key algorithm: what PKCS #1 v1.5 signatures in CMS are called, RFC 3370 §3.2, and
# the one name that readers of any age take.
RSA: Final = der.algorithm("1.2.840.113549.1.1.1", der.NULL)
_ED25519: Final = der.algorithm("1.3.101.112")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one key signs."""

    digest: Digest
    identifier: bytes  # signatureAlgorithm, DER
    sign: Callable[[bytes], bytes]


def scheme_of(algorithm: SignatureAlgorithm, key: PrivateKeyTypes) -> Scheme:
    """What `algorithm` means for this kind of key: EC keys know no padding and want a digest
    as long as the curve (some readers refuse a shorter one), and Ed25519 brings its own
    (SHA-512, RFC 8419 §3). Raises `CannotSign`."""
    digest = _DIGESTS[algorithm]
    if isinstance(key, rsa.RSAPrivateKey):
        return _pss(digest, key) if algorithm in _PSS else _pkcs1(digest, key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digest = max(digest, _of_curve(key.key_size), key=lambda one: one.hash.digest_size)
        ecdsa = ec.ECDSA(digest.hash)
        return Scheme(digest, der.algorithm(digest.ecdsa), lambda data: key.sign(data, ecdsa))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Scheme(SHA512, _ED25519, key.sign)
    raise CannotSign("this kind of key does not sign mail")


def _of_curve(bits: int) -> Digest:
    return SHA256 if bits <= 256 else SHA384 if bits <= 384 else SHA512


def _pkcs1(digest: Digest, key: rsa.RSAPrivateKey) -> Scheme:
    pkcs1 = padding.PKCS1v15()
    return Scheme(digest, RSA, lambda data: key.sign(data, pkcs1, digest.hash))


def _pss(digest: Digest, key: rsa.RSAPrivateKey) -> Scheme:
    # As long as the digest, RFC 8017 §9.1; a 1024-bit key has not the room for all of 512.
    room = padding.calculate_max_pss_salt_length(key, digest.hash)
    salt = min(digest.hash.digest_size, room)
    pss = padding.PSS(padding.MGF1(digest.hash), salt)
    parameters = der.tlv(
        der.SEQUENCE,
        der.tlv(der.CONTEXT_0, digest.padding_identifier),
        der.tlv(der.CONTEXT_1, der.algorithm(MGF1, digest.padding_identifier)),
        der.tlv(der.CONTEXT_2, der.integer(salt)),
    )
    identifier = der.algorithm("1.2.840.113549.1.1.10", parameters)
    return Scheme(digest, identifier, lambda data: key.sign(data, pss, digest.hash))


# content encryption


@dataclass(frozen=True, slots=True)
class Content:
    """A content cipher: AES of a key length, with CBC or GCM."""

    oid: bytes  # DER
    key_bytes: int
    authenticated: bool = False


_AES_128_CBC: Final = Content(der.oid("2.16.840.1.101.3.4.1.2"), 16)
_AES_192_CBC: Final = Content(der.oid("2.16.840.1.101.3.4.1.22"), 24)
_AES_256_CBC: Final = Content(der.oid("2.16.840.1.101.3.4.1.42"), 32)
_AES_128_GCM: Final = Content(der.oid("2.16.840.1.101.3.4.1.6"), 16, authenticated=True)
_AES_256_GCM: Final = Content(der.oid("2.16.840.1.101.3.4.1.46"), 32, authenticated=True)
CONTENT: Final = {
    ContentCipher.AES_128_CBC: _AES_128_CBC,
    ContentCipher.AES_192_CBC: _AES_192_CBC,
    ContentCipher.AES_256_CBC: _AES_256_CBC,
    ContentCipher.AES_128_GCM: _AES_128_GCM,
    ContentCipher.AES_256_GCM: _AES_256_GCM,
}
# What answers may be encrypted with, preferred first, RFC 8551 §2.5.2. CBC stands before GCM
# because a correspondent takes the first it knows, and our users' own clients may not know GCM.
CAPABILITIES: Final = (_AES_256_CBC, _AES_192_CBC, _AES_128_CBC, _AES_256_GCM, _AES_128_GCM)

# keys of recipients

OAEP_SHA256: Final = der.algorithm(
    "1.2.840.113549.1.1.7",
    der.tlv(
        der.SEQUENCE,
        der.tlv(der.CONTEXT_0, SHA256.padding_identifier),
        der.tlv(der.CONTEXT_1, der.algorithm(MGF1, SHA256.padding_identifier)),
    ),
)
AES_256_WRAP: Final = der.algorithm("2.16.840.1.101.3.4.1.45")
ECDH_SHA256_KDF: Final = der.algorithm("1.3.132.1.11.1", AES_256_WRAP)
ECDH_HKDF_SHA256: Final = der.algorithm("1.2.840.113549.1.9.16.3.19", AES_256_WRAP)
# Without its curve, as RFC 5753 §3.1.1 recommends: it is that of the recipient's key.
EC_PUBLIC_KEY: Final = der.algorithm("1.2.840.10045.2.1")
X25519: Final = der.algorithm("1.3.101.110")
