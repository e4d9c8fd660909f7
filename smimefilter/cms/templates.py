"""One recipient's part of an encrypted message: the content key, for one certificate.

What a RecipientInfo says besides the key is encoded once per certificate and kept. RSA keys
get key transport (PKCS #1 v1.5 or OAEP with SHA-256), EC and X25519 keys ephemeral-static
ECDH with AES-256 key wrap. Whether a certificate may be used is settled before (`trust/`),
which keys can be is `pki/keykinds.py`.

Ephemeral keys are drawn from the system's random source, an input of its own kind.
RFC 5652 §6.2, RFC 8017, RFC 5753 §3.1 (EC), RFC 8418 §2 (X25519). Raises `CannotEncrypt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smimefilter.base.algorithms import KeyTransport
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.keykinds import why_not_encrypt

from . import der
from .algorithms import (
    AES_256_WRAP,
    EC_PUBLIC_KEY,
    ECDH_HKDF_SHA256,
    ECDH_SHA256_KDF,
    OAEP_SHA256,
    RSA,
    SHA256,
    X25519,
    CannotEncrypt,
)
from .identifiers import issuer_and_serial

KEPT: Final = 4096

_VERSION_0: Final = der.integer(0)
_VERSION_3: Final = der.integer(3)
_WRAPPING_KEY_BYTES: Final = 32
_OAEP: Final = padding.OAEP(padding.MGF1(SHA256.hash), SHA256.hash, label=None)
_PKCS1: Final = padding.PKCS1v15()
# ECC-CMS-SharedInfo, RFC 5753 §7.2: the wrap algorithm and its key length in bits.
_SHARED_INFO: Final = der.tlv(
    der.SEQUENCE,
    AES_256_WRAP,
    der.tlv(
        der.CONTEXT_2, der.tlv(der.OCTET_STRING, (8 * _WRAPPING_KEY_BYTES).to_bytes(4, "big"))
    ),
)


class RecipientTemplate(Protocol):
    """One certificate's RecipientInfo but for the key."""

    @property
    def version(self) -> int:
        """CMSVersion of the RecipientInfo: 0 for key transport, 3 for key agreement."""

    def info(self, content_key: bytes) -> bytes:
        """The RecipientInfo that carries `content_key`, DER."""


@lru_cache(maxsize=KEPT)
def recipient_of(certificate: Certificate, transport: KeyTransport) -> RecipientTemplate:
    """The template of a certificate, kept for the next mail. `transport` is for RSA keys.

    Raises `CannotEncrypt`.
    """
    try:
        unfit = why_not_encrypt(certificate)
        key = certificate.public_key
        name = issuer_and_serial(certificate)
    except UnreadableCertificate as error:
        raise _cannot(certificate, str(error)) from None
    if not unfit:
        match key:
            case rsa.RSAPublicKey():
                return _Transport.of(name, key, transport)
            case x25519.X25519PublicKey():
                return _X25519Agreement(name, key)
            case ec.EllipticCurvePublicKey():
                return _CurveAgreement(name, key)
    raise _cannot(certificate, unfit or "its kind of key does not encrypt mail")


@dataclass(frozen=True, slots=True)
class _Transport:
    """KeyTransRecipientInfo. An RSA result is as long as the key: all before it is fixed."""

    key: rsa.RSAPublicKey
    padding: padding.AsymmetricPadding
    head: bytes
    version: int = 0

    @classmethod
    def of(cls, name: bytes, key: rsa.RSAPublicKey, transport: KeyTransport) -> _Transport:
        oaep = transport is KeyTransport.OAEP
        size = (key.key_size + 7) // 8
        inner = _VERSION_0 + name + (OAEP_SHA256 if oaep else RSA)
        inner += der.header(der.OCTET_STRING, size)
        head = der.header(der.SEQUENCE, len(inner) + size) + inner
        return cls(key, _OAEP if oaep else _PKCS1, head)

    def info(self, content_key: bytes) -> bytes:
        return self.head + self.key.encrypt(content_key, self.padding)


@dataclass(frozen=True, slots=True)
class _CurveAgreement:
    """KeyAgreeRecipientInfo for a key on a NIST curve."""

    name: bytes
    key: ec.EllipticCurvePublicKey
    version: int = 3

    def info(self, content_key: bytes) -> bytes:
        ephemeral = ec.generate_private_key(self.key.curve)
        point = ephemeral.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        secret = ephemeral.exchange(ec.ECDH(), self.key)
        wrapping_key = X963KDF(SHA256.hash, _WRAPPING_KEY_BYTES, _SHARED_INFO).derive(secret)
        return _agreed(
            self.name, EC_PUBLIC_KEY, point, ECDH_SHA256_KDF, wrapping_key, content_key
        )


@dataclass(frozen=True, slots=True)
class _X25519Agreement:
    """KeyAgreeRecipientInfo for an X25519 key."""

    name: bytes
    key: x25519.X25519PublicKey
    version: int = 3

    def info(self, content_key: bytes) -> bytes:
        ephemeral = x25519.X25519PrivateKey.generate()
        secret = ephemeral.exchange(self.key)
        derive = HKDF(SHA256.hash, _WRAPPING_KEY_BYTES, salt=None, info=_SHARED_INFO)
        return _agreed(
            self.name,
            X25519,
            ephemeral.public_key().public_bytes_raw(),
            ECDH_HKDF_SHA256,
            derive.derive(secret),
            content_key,
        )


def _agreed(
    name: bytes,
    originator: bytes,
    public: bytes,
    agreement: bytes,
    wrapping_key: bytes,
    content_key: bytes,
) -> bytes:
    public_key = der.tlv(der.CONTEXT_1, originator, der.tlv(der.BIT_STRING, b"\x00", public))
    wrapped = der.tlv(der.OCTET_STRING, aes_key_wrap(wrapping_key, content_key))
    return der.tlv(
        der.CONTEXT_1,
        _VERSION_3,
        der.tlv(der.CONTEXT_0, public_key),
        agreement,
        der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, name, wrapped)),
    )


def _cannot(certificate: Certificate, why: str) -> CannotEncrypt:
    return CannotEncrypt(f"cannot encrypt to {certificate.thumbprint[:16]}: {why}")
