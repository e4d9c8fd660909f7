"""The content key of an encrypted message, by the private key of one recipient.

RSA (PKCS #1 v1.5, or OAEP with any hash and label), ECDH on the NIST curves, X25519 and X448.
Why there is none is told to nobody: None is all that comes of a wrong padding, a wrong wrap and
parameters that are not known. RFC 4055 §4, RFC 8017 §7, RFC 5753 §3.1 and §7, RFC 8418 §2,
RFC 3394. Raises nothing.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from . import ber, der
from .algorithms import MGF1
from .ber import BadCms
from .enveloped import Agreed, Recipient, Transported
from .signed import Algorithm, read_algorithm

_HASHES: Final[dict[bytes, hashes.HashAlgorithm]] = {
    der.oid("1.3.14.3.2.26"): hashes.SHA1(),  # noqa: S303 - within OAEP it is sound
    der.oid("2.16.840.1.101.3.4.2.4"): hashes.SHA224(),
    der.oid("2.16.840.1.101.3.4.2.1"): hashes.SHA256(),
    der.oid("2.16.840.1.101.3.4.2.2"): hashes.SHA384(),
    der.oid("2.16.840.1.101.3.4.2.3"): hashes.SHA512(),
}
_RSA: Final = der.oid("1.2.840.113549.1.1.1")
_OAEP: Final = der.oid("1.2.840.113549.1.1.7")
_P_SPECIFIED: Final = der.oid("1.2.840.113549.1.1.9")
_MGF1: Final = der.oid(MGF1)
_WRAPS: Final = {
    der.oid(f"2.16.840.1.101.3.4.1.{arc}"): size for arc, size in ((5, 16), (25, 24), (45, 32))
}
_X963: Final[dict[bytes, hashes.HashAlgorithm]] = {  # standard and cofactor, RFC 5753 §7.1.4
    der.oid("1.3.133.16.840.63.0.2"): hashes.SHA1(),  # noqa: S303 - within the KDF it is sound
    der.oid("1.3.133.16.840.63.0.3"): hashes.SHA1(),  # noqa: S303
} | {
    der.oid(f"1.3.132.1.{arc}.{number}"): algorithm
    for arc in (11, 14)
    for number, algorithm in enumerate(
        (hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
    )
}
_HKDF: Final[dict[bytes, hashes.HashAlgorithm]] = {
    der.oid("1.2.840.113549.1.9.16.3.19"): hashes.SHA256(),
    der.oid("1.2.840.113549.1.9.16.3.20"): hashes.SHA384(),
    der.oid("1.2.840.113549.1.9.16.3.21"): hashes.SHA512(),
}


def way_of(recipient: Recipient) -> str:
    """How the key comes to this recipient, in a word."""
    if isinstance(recipient, Agreed):
        return "ecdh"
    return "rsa-oaep" if recipient.algorithm.oid == _OAEP else "rsa-pkcs1"


def content_key(recipient: Recipient, key: PrivateKeyTypes) -> bytes | None:
    """The content key, or what a wrong padding left of it; None where there is none."""
    try:
        if isinstance(recipient, Transported):
            if not isinstance(key, rsa.RSAPrivateKey):
                return None
            return key.decrypt(recipient.encrypted_key, _padding(recipient.algorithm))
        return _unwrapped(recipient, key)
    except (BadCms, KeyError, ValueError, TypeError, InvalidUnwrap, UnsupportedAlgorithm):
        return None


def _padding(algorithm: Algorithm) -> padding.AsymmetricPadding:
    if algorithm.oid == _RSA:
        return padding.PKCS1v15()
    if algorithm.oid != _OAEP:
        raise BadCms("a key transport that is not known")
    digest: hashes.HashAlgorithm = hashes.SHA1()  # noqa: S303 - the default, RFC 4055 §4.1
    mask: hashes.HashAlgorithm = digest
    label: bytes | None = None
    if algorithm.parameters:
        fields = _fields(algorithm.parameters).inside(ber.SEQUENCE)
        if found := fields.maybe(0xA0):
            digest = _HASHES[read_algorithm(fields.of(found)).oid]
        if found := fields.maybe(0xA1):
            generator = read_algorithm(fields.of(found))
            if generator.oid != _MGF1:
                raise BadCms("a mask that is not known")
            mask = _HASHES[read_algorithm(_fields(generator.parameters)).oid]
        if found := fields.maybe(0xA2):
            source = read_algorithm(fields.of(found))
            if source.oid == _P_SPECIFIED:
                label = bytes(_fields(source.parameters).take(ber.OCTET_STRING).content)
    return padding.OAEP(padding.MGF1(mask), digest, label or None)


def _unwrapped(recipient: Agreed, key: PrivateKeyTypes) -> bytes:
    wrap = read_algorithm(_fields(recipient.algorithm.parameters))
    size = _WRAPS.get(wrap.oid, 0)
    if not size:
        raise BadCms("a key wrap that is not known")
    secret = _secret(recipient, key)
    info = _shared_info(wrap, recipient.user_material, size)
    oid = recipient.algorithm.oid
    if oid in _X963:
        wrapping_key = X963KDF(_X963[oid], size, info).derive(secret)
    elif oid in _HKDF:
        wrapping_key = HKDF(_HKDF[oid], size, salt=None, info=info).derive(secret)
    else:
        raise BadCms("a key agreement that is not known")
    return aes_key_unwrap(wrapping_key, recipient.encrypted_key)


def _secret(recipient: Agreed, key: PrivateKeyTypes) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey():
            public = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, recipient.public)
            return key.exchange(ec.ECDH(), public)
        case x25519.X25519PrivateKey():
            return key.exchange(x25519.X25519PublicKey.from_public_bytes(recipient.public))
        case x448.X448PrivateKey():
            return key.exchange(x448.X448PublicKey.from_public_bytes(recipient.public))
    raise BadCms("not a key for key agreement")


def _shared_info(wrap: Algorithm, material: bytes | None, size: int) -> bytes:
    """ECC-CMS-SharedInfo, RFC 5753 §7.2, with the wrap algorithm as it came."""
    user = b""
    if material is not None:
        user = der.tlv(der.CONTEXT_0, der.tlv(der.OCTET_STRING, material))
    bits = der.tlv(der.OCTET_STRING, (8 * size).to_bytes(4, "big"))
    return der.tlv(der.SEQUENCE, wrap.whole, user, der.tlv(der.CONTEXT_2, bits))


def _fields(value: bytes) -> ber.Fields:
    return ber.Fields(memoryview(value), ber.Effort(100))
