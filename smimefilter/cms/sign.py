"""Signing: SignedData with one signer, from a template that holds all that never changes.

A template is made once per certificate, key and algorithm; a signature then costs a digest,
the private key operation and a few joins. Content stays outside (`detached`, for
multipart/signed) or goes in (`encapsulated`, for application/pkcs7-mime).

Content is signed as it is: bringing MIME into canonical form is `message/`'s. Time is an
argument. RFC 5652 §5 and §11, RFC 5035 (signingCertificateV2), RFC 8551 §2.5 (attributes).
Raises `CannotSign`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.algorithms import SignatureAlgorithm
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.keykinds import why_not_encrypt, why_not_sign

from . import der
from .algorithms import CAPABILITIES, DATA, SIGNED_DATA, CannotSign, Scheme, scheme_of
from .identifiers import issuer_and_serial

Chunk = bytes | memoryview

_VERSION_1: Final = der.integer(1)
_MESSAGE_DIGEST: Final = der.oid("1.2.840.113549.1.9.4")
_SIGNING_TIME: Final = der.oid("1.2.840.113549.1.9.5")
_CONTENT_TYPE: Final = der.oid("1.2.840.113549.1.9.3")
_SMIME_CAPABILITIES: Final = der.oid("1.2.840.113549.1.9.15")
_ENCRYPTION_KEY_PREFERENCE: Final = der.oid("1.2.840.113549.1.9.16.2.11")
_SIGNING_CERTIFICATE_V2: Final = der.oid("1.2.840.113549.1.9.16.2.47")
_ENCRYPTING_USAGES: Final = frozenset({"keyEncipherment", "keyAgreement"})
_LAST_UTC_TIME: Final = 2049


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: the certificate, those that lead to its root, and the private key."""

    certificate: Certificate
    chain: tuple[Certificate, ...]  # nearest first
    key: PrivateKeyTypes = field(repr=False)


class Public(NamedTuple):
    """What is the same in every SignedData of a signer and stands around the rest, DER."""

    before_content: bytes  # version and digestAlgorithms of SignedData
    certificates: bytes
    signer: bytes  # version, sid and digestAlgorithm of SignerInfo
    algorithm: bytes  # signatureAlgorithm


@dataclass(frozen=True, slots=True)
class SignerTemplate:
    """Everything of a signer's SignedData that does not change from mail to mail."""

    scheme: Scheme = field(repr=False)
    attributes: tuple[bytes, ...]  # the signed attributes that are always the same, DER
    public: Public

    @classmethod
    def of(cls, signer: Signer, algorithm: SignatureAlgorithm) -> SignerTemplate:
        """The template of a signer. A root at the end of the chain is left out: who does not
        have it already cannot trust it. Raises `CannotSign` for a key that does not sign, or
        is not the certificate's.
        """
        certificate = signer.certificate
        try:
            scheme = scheme_of(_allowed(algorithm, certificate), signer.key)
            if unfit := why_not_sign(certificate):
                raise CannotSign(unfit)
            if certificate.public_key != signer.key.public_key():
                raise CannotSign("the private key is not that of the certificate")
            chain = _without_root(signer.chain)
            name = issuer_and_serial(certificate)
            attributes = _fixed_attributes(certificate, name)
        except UnreadableCertificate as error:
            raise CannotSign(str(error)) from None
        sent = dict.fromkeys((certificate, *chain))
        digest = scheme.digest.identifier
        return cls(
            scheme=scheme,
            attributes=attributes,
            public=Public(
                before_content=_VERSION_1 + der.tlv(der.SET, digest),
                certificates=der.set_of(der.CONTEXT_0, (one.der for one in sent)),
                signer=_VERSION_1 + name + digest,
                algorithm=scheme.identifier,
            ),
        )

    @property
    def micalg(self) -> str:
        """The `micalg` parameter of a multipart/signed with this signer."""
        return self.scheme.digest.micalg


def detached(content: Iterable[Chunk], template: SignerTemplate, at: datetime) -> bytes:
    """A signature without its content: DER of ContentInfo."""
    attributes, signature = _signature(content, template, at)
    head, middle = _detached_frame(template.public, len(attributes), len(signature))
    return b"".join((head, attributes, middle, signature))


def encapsulated(
    content: Sequence[Chunk], template: SignerTemplate, at: datetime
) -> list[Chunk]:
    """A signature that carries its content: DER of ContentInfo, in chunks; the content's
    own chunks are among them, not copied."""
    attributes, signature = _signature(content, template, at)
    before, middle = _frame(template.public, len(attributes), len(signature))
    after = b"".join((before, attributes, middle, signature))
    size = sum(map(len, content))
    octets = der.header(der.OCTET_STRING, size)
    explicit = der.header(der.CONTEXT_0, len(octets) + size) + octets
    content_info = der.header(der.SEQUENCE, len(DATA) + len(explicit) + size) + DATA + explicit
    head = _around(template.public.before_content + content_info, size + len(after))
    return [head, *content, after]


def _signature(
    content: Iterable[Chunk], template: SignerTemplate, at: datetime
) -> tuple[bytes, bytes]:
    """The signed attributes, without a tag, and the signature over them."""
    digest = hashlib.new(template.scheme.digest.name)
    for chunk in content:
        digest.update(chunk)
    changing = (_message_digest(digest.digest()), _signing_time(at.replace(microsecond=0)))
    attributes = b"".join(sorted((*template.attributes, *changing)))
    # What is signed has the tag of a SET, what is sent the implicit one; RFC 5652 §5.4.
    return attributes, template.scheme.sign(der.header(der.SET, len(attributes)) + attributes)


# What stands around attributes and signature depends on their lengths alone, of which a signer
# has few: a mail costs one join.


@lru_cache(maxsize=4096)
def _frame(public: Public, attributes: int, signature: int) -> tuple[bytes, bytes]:
    """From the certificates up to the attributes, and from there to the signature that ends
    it, for attributes and a signature of these lengths."""
    signed = public.signer + der.header(der.CONTEXT_0, attributes)
    middle = public.algorithm + der.header(der.OCTET_STRING, signature)
    size = len(signed) + attributes + len(middle) + signature
    signer_info = der.header(der.SEQUENCE, size)
    signer_infos = der.header(der.SET, len(signer_info) + size) + signer_info
    return public.certificates + signer_infos + signed, middle


@lru_cache(maxsize=4096)
def _detached_frame(public: Public, attributes: int, signature: int) -> tuple[bytes, bytes]:
    """The same from the very beginning, for a SignedData without content."""
    before, middle = _frame(public, attributes, signature)
    inner = public.before_content + der.tlv(der.SEQUENCE, DATA) + before
    return _around(inner, attributes + len(middle) + signature), middle


def _around(inner: bytes, more: int) -> bytes:
    """ContentInfo and SignedData up to and with `inner`; `more` bytes follow."""
    head = der.header(der.SEQUENCE, len(inner) + more) + inner
    head = SIGNED_DATA + der.header(der.CONTEXT_0, len(head) + more) + head
    return der.header(der.SEQUENCE, len(head) + more) + head


def _allowed(algorithm: SignatureAlgorithm, certificate: Certificate) -> SignatureAlgorithm:
    """The algorithm, or what a key for PSS alone allows in its place: PSS, and where it says so
    with one digest only. RFC 4055 §3.1. Raises `CannotSign`."""
    digest = certificate.pss_digest
    if digest is None:
        return algorithm
    name = f"{digest or algorithm.value.removesuffix('-pss')}-pss"
    try:
        return SignatureAlgorithm(name)
    except ValueError:
        raise CannotSign(f"its key signs with {digest.upper()} only") from None


def _without_root(chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    return chain[:-1] if chain and chain[-1].is_self_issued else chain


def _fixed_attributes(certificate: Certificate, name: bytes) -> tuple[bytes, ...]:
    capabilities = [der.tlv(der.SEQUENCE, cipher.oid) for cipher in CAPABILITIES]
    # ESSCertIDv2 with its default digest, SHA-256; the issuer stands in the sid already.
    cert_id = der.tlv(
        der.SEQUENCE, der.tlv(der.OCTET_STRING, hashlib.sha256(certificate.der).digest())
    )
    signing_certificate = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, cert_id))
    attributes = [
        _attribute(_CONTENT_TYPE, DATA),
        _attribute(_SMIME_CAPABILITIES, der.tlv(der.SEQUENCE, *capabilities)),
        _attribute(_SIGNING_CERTIFICATE_V2, signing_certificate),
    ]
    usage = certificate.key_usage
    able = usage is None or usage & _ENCRYPTING_USAGES
    if able and not why_not_encrypt(certificate):
        # Some clients only learn a correspondent's certificate when told to, RFC 8551 §2.5.3.
        preferred = der.tlv(der.CONTEXT_0, name[_header_size(name) :])
        attributes.append(_attribute(_ENCRYPTION_KEY_PREFERENCE, preferred))
    return tuple(attributes)


def _attribute(kind: bytes, value: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, kind, der.tlv(der.SET, value))


def _header_size(value: bytes) -> int:
    return 2 if value[1] < 0x80 else 2 + (value[1] & 0x7F)


def _message_digest(digest: bytes) -> bytes:
    return _digest_head(len(digest)) + digest


@lru_cache(maxsize=8)
def _digest_head(size: int) -> bytes:
    """The messageDigest attribute up to the digest, which ends it."""
    return _attribute(_MESSAGE_DIGEST, der.tlv(der.OCTET_STRING, bytes(size)))[:-size]


@lru_cache(maxsize=8)
def _signing_time(at: datetime) -> bytes:
    """UTCTime until 2049, GeneralizedTime from then on; RFC 5652 §11.3."""
    utc = at.astimezone(UTC)
    if utc.year <= _LAST_UTC_TIME:
        time = der.tlv(der.UTC_TIME, utc.strftime("%y%m%d%H%M%SZ").encode())
    else:
        time = der.tlv(der.GENERALIZED_TIME, utc.strftime("%Y%m%d%H%M%SZ").encode())
    return _attribute(_SIGNING_TIME, time)
