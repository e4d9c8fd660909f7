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
from typing import Final

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


@dataclass(frozen=True, slots=True)
class SignerTemplate:
    """Everything of a signer's SignedData that does not change from mail to mail, DER."""

    scheme: Scheme = field(repr=False)
    attributes: tuple[bytes, ...]  # the signed attributes that are always the same
    before_content: bytes  # version and digestAlgorithms of SignedData
    certificates: bytes
    signer: bytes  # version, sid and digestAlgorithm of SignerInfo

    @classmethod
    def of(cls, signer: Signer, algorithm: SignatureAlgorithm) -> SignerTemplate:
        """The template of a signer. A root at the end of the chain is left out: who does not
        have it already cannot trust it. Raises `CannotSign` for a key that does not sign, or
        is not the certificate's.
        """
        certificate = signer.certificate
        scheme = scheme_of(algorithm, signer.key)
        try:
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
            before_content=_VERSION_1 + der.tlv(der.SET, digest),
            certificates=der.set_of(der.CONTEXT_0, (one.der for one in sent)),
            signer=_VERSION_1 + name + digest,
        )

    @property
    def micalg(self) -> str:
        """The `micalg` parameter of a multipart/signed with this signer."""
        return self.scheme.digest.micalg


def detached(content: Iterable[Chunk], template: SignerTemplate, at: datetime) -> bytes:
    """A signature without its content: DER of ContentInfo."""
    body = (
        template.before_content
        + der.tlv(der.SEQUENCE, DATA)
        + template.certificates
        + _signer_infos(content, template, at)
    )
    signed_data = der.tlv(der.SEQUENCE, body)
    return der.tlv(der.SEQUENCE, SIGNED_DATA, der.tlv(der.CONTEXT_0, signed_data))


def encapsulated(
    content: Sequence[Chunk], template: SignerTemplate, at: datetime
) -> list[Chunk]:
    """A signature that carries its content: DER of ContentInfo, in chunks; the content's
    own chunks are among them, not copied."""
    after = template.certificates + _signer_infos(content, template, at)
    size = sum(map(len, content))
    octets = der.header(der.OCTET_STRING, size)
    explicit = der.header(der.CONTEXT_0, len(octets) + size) + octets
    content_info = der.header(der.SEQUENCE, len(DATA) + len(explicit) + size) + DATA + explicit
    inner = template.before_content + content_info
    head = der.header(der.SEQUENCE, len(inner) + size + len(after)) + inner
    head = der.header(der.CONTEXT_0, len(head) + size + len(after)) + head
    head = SIGNED_DATA + head
    return [der.header(der.SEQUENCE, len(head) + size + len(after)) + head, *content, after]


def _signer_infos(content: Iterable[Chunk], template: SignerTemplate, at: datetime) -> bytes:
    digest = hashlib.new(template.scheme.digest.name)
    for chunk in content:
        digest.update(chunk)
    attributes = b"".join(
        sorted(
            (
                *template.attributes,
                _attribute(_MESSAGE_DIGEST, der.tlv(der.OCTET_STRING, digest.digest())),
                _attribute(_SIGNING_TIME, _time(at.replace(microsecond=0))),
            )
        )
    )
    # What is signed has the tag of a SET, what is sent the implicit one; RFC 5652 §5.4.
    signature = template.scheme.sign(der.tlv(der.SET, attributes))
    signer_info = der.tlv(
        der.SEQUENCE,
        template.signer,
        der.tlv(der.CONTEXT_0, attributes),
        template.scheme.identifier,
        der.tlv(der.OCTET_STRING, signature),
    )
    return der.tlv(der.SET, signer_info)


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


@lru_cache(maxsize=8)
def _time(at: datetime) -> bytes:
    """Signing time: UTCTime until 2049, GeneralizedTime from then on; RFC 5652 §11.3."""
    utc = at.astimezone(UTC)
    if utc.year <= _LAST_UTC_TIME:
        return der.tlv(der.UTC_TIME, utc.strftime("%y%m%d%H%M%SZ").encode())
    return der.tlv(der.GENERALIZED_TIME, utc.strftime("%Y%m%d%H%M%SZ").encode())
