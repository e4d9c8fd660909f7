"""Verifying the signers of a SignedData: what each signed, and with which certificate.

A signature is good when the digest of the content is the one that was signed, and the key of
the certificate that the signer names made it. Whether that certificate is worth anything is
for `trust/` to say, whose mail it is for `flow/opening.py`. Content is taken as it came; the
caller may offer other forms of it that a mailer may have signed.

What was signed without signed attributes could be the attributes of another signature; such
content is refused (RFC 8933 §1 tells of the confusion). RFC 5652 §5.4 and §5.6, RFC 4055, RFC
4056 (PSS), RFC 5754, RFC 8419 (EdDSA), RFC 5035 (signing certificate). Raises nothing for what
came: each signer gets a flaw.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from smimefilter.pki.certificate import Certificate, UnreadableCertificate

from . import ber, der
from .algorithms import DATA, MGF1
from .ber import BadCms
from .identifiers import Identifier
from .signed import (
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
    SMIME_CAPABILITIES,
    SignedData,
    SignerInfo,
    read_algorithm,
)

Chunk = bytes | memoryview
Content = Sequence[Chunk]

MOST_KEYS: Final = 8  # certificates that one signer's signature is tried with

_HASHES: Final[dict[bytes, tuple[str, hashes.HashAlgorithm]]] = {
    der.oid("1.2.840.113549.2.5"): ("md5", hashes.MD5()),  # noqa: S303 - so that it can be refused by its name
    der.oid("1.3.14.3.2.26"): ("sha1", hashes.SHA1()),  # noqa: S303 - whether it counts is policy
    der.oid("2.16.840.1.101.3.4.2.4"): ("sha224", hashes.SHA224()),
    der.oid("2.16.840.1.101.3.4.2.1"): ("sha256", hashes.SHA256()),
    der.oid("2.16.840.1.101.3.4.2.2"): ("sha384", hashes.SHA384()),
    der.oid("2.16.840.1.101.3.4.2.3"): ("sha512", hashes.SHA512()),
    der.oid("2.16.840.1.101.3.4.2.8"): ("sha3_256", hashes.SHA3_256()),
    der.oid("2.16.840.1.101.3.4.2.9"): ("sha3_384", hashes.SHA3_384()),
    der.oid("2.16.840.1.101.3.4.2.10"): ("sha3_512", hashes.SHA3_512()),
}
_BY_NAME: Final = dict(_HASHES.values())
_ALONE: Final = ""  # a signature algorithm that leaves the digest to digestAlgorithm
_RSA: Final = {
    "1.2.840.113549.1.1.1": _ALONE, "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1", "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256", "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512", "2.16.840.1.101.3.4.3.14": "sha3_256",
    "2.16.840.1.101.3.4.3.15": "sha3_384", "2.16.840.1.101.3.4.3.16": "sha3_512",
}  # fmt: skip
_EC: Final = {
    "1.2.840.10045.2.1": _ALONE, "1.2.840.10045.4.1": "sha1", "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256", "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}  # fmt: skip
_DSA: Final = {
    "1.2.840.10040.4.1": _ALONE, "1.2.840.10040.4.3": "sha1",
    "2.16.840.1.101.3.4.3.1": "sha224", "2.16.840.1.101.3.4.3.2": "sha256",
}  # fmt: skip
_PSS: Final = der.oid("1.2.840.113549.1.1.10")
_ED25519: Final = der.oid("1.3.101.112")
_ED448: Final = der.oid("1.3.101.113")
_KINDS: Final = {
    der.oid(dotted): (kind, digest)
    for kind, table in (("rsa", _RSA), ("ec", _EC), ("dsa", _DSA))
    for dotted, digest in table.items()
}
_MGF1: Final = der.oid(MGF1)
_DEFAULT_SALT: Final = 20  # RFC 4055 §3.1
_SET_BYTE: Final = 0x31
_BROKEN: Final = frozenset({"md5"})


class Flaw(StrEnum):
    """What is wrong with a signature."""

    CONTENT_CHANGED = "content-changed"  # after it was signed
    WRONG_KEY = "signature-wrong"  # that key did not make it
    NO_CERTIFICATE = "no-certificate"  # of the signer at hand
    ALGORITHM = "algorithm-not-supported"
    BROKEN_DIGEST = "digest-broken"  # anybody can make another content with the same digest
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Checked:
    """One signer, and what its signature is worth by itself."""

    signer: Identifier
    flaw: Flaw | None
    certificate: Certificate | None  # that made the signature; else the one it names
    digest: str  # "sha256"; empty for one that is not known
    signing_time: datetime | None = None
    capabilities: bytes | None = None  # SMIMECapabilities, as signed


@dataclass(frozen=True, slots=True)
class _Scheme:
    kind: str  # of key
    digest: str
    salt: int | None = None  # of PSS, bytes
    mask_digest: str = ""


def verify(
    data: SignedData,
    forms: Sequence[Content],
    along: Sequence[Certificate],
    find: Callable[[Identifier], Iterable[Certificate]],
) -> tuple[Checked, ...]:
    """What each signature is worth. `forms`: the content, as it came and as it may have been;
    `along`: the certificates in the message; `find`: others at hand."""
    digests = _Digests(forms)
    return tuple(_checked(data, info, digests, along, find) for info in data.signers)


class _Digests:
    """Digests of the forms, each made once."""

    def __init__(self, forms: Sequence[Content]) -> None:
        self.forms = forms
        self._made: dict[str, list[bytes]] = {}

    def by(self, name: str) -> list[bytes]:
        if name not in self._made:
            self._made[name] = [_digest(name, form) for form in self.forms]
        return self._made[name]


def _digest(name: str, content: Content) -> bytes:
    made = hashlib.new(name, usedforsecurity=False)
    for chunk in content:
        made.update(chunk)
    return made.digest()


def _checked(
    data: SignedData,
    info: SignerInfo,
    digests: _Digests,
    along: Sequence[Certificate],
    find: Callable[[Identifier], Iterable[Certificate]],
) -> Checked:
    digest = _HASHES.get(info.digest.oid, ("", None))[0]
    named = [one for one in along if info.signer.names(one)]
    named += [one for one in find(info.signer) if one not in named]
    named = [one for one in named if _is_meant(info, one)][:MOST_KEYS]
    certificate: Certificate | None = named[0] if named else None
    try:
        flaw, made_by = _flaw(data, info, digest, digests, named)
        certificate = made_by or certificate
    except BadCms:
        flaw = Flaw.MALFORMED
    capabilities = info.attributes.first(SMIME_CAPABILITIES) if info.attributes else None
    if info.attributes is None and (scheme := _scheme(info, digest)):
        digest = scheme.digest  # the one there is; what digestAlgorithm says is not used
    return Checked(info.signer, flaw, certificate, digest, info.signing_time, capabilities)


def _flaw(
    data: SignedData,
    info: SignerInfo,
    digest: str,
    digests: _Digests,
    named: list[Certificate],
) -> tuple[Flaw | None, Certificate | None]:
    scheme = _scheme(info, digest)
    if scheme is None or not digest:
        return Flaw.ALGORITHM, None
    if digest in _BROKEN or scheme.digest in _BROKEN:
        return Flaw.BROKEN_DIGEST, None
    signed: list[Content]
    if info.attributes is None:
        if data.content_type != DATA or any(_is_set(form) for form in digests.forms):
            return Flaw.MALFORMED, None
        signed = list(digests.forms)
    else:
        if info.attributes.one(CONTENT_TYPE) != data.content_type:
            return Flaw.MALFORMED, None
        wanted = _octet_string(info.attributes.one(MESSAGE_DIGEST))
        if not any(hmac.compare_digest(wanted, made) for made in digests.by(digest)):
            return Flaw.CONTENT_CHANGED, None
        signed = [(der.tlv(der.SET, info.attributes.content),)]
    if not named:
        return Flaw.NO_CERTIFICATE, None
    for certificate in named:
        if any(_made_by(certificate, scheme, info.signature, one) for one in signed):
            return None, certificate
    return (Flaw.WRONG_KEY if info.attributes else Flaw.CONTENT_CHANGED), None


def _is_set(form: Content) -> bool:
    first = next((chunk for chunk in form if len(chunk)), b"")
    return first[:1] == bytes([_SET_BYTE])


def _octet_string(value: bytes) -> bytes:
    return bytes(ber.Fields(memoryview(value), ber.Effort(2)).take(ber.OCTET_STRING).content)


def _scheme(info: SignerInfo, digest: str) -> _Scheme | None:
    """How the signature was made; None for what is not known, or does not fit together."""
    algorithm = info.algorithm
    if algorithm.oid == _PSS:
        return _pss(algorithm.parameters, digest)
    if algorithm.oid in {_ED25519, _ED448}:
        return _Scheme("ed25519" if algorithm.oid == _ED25519 else "ed448", digest)
    kind, fixed = _KINDS.get(algorithm.oid, ("", ""))
    if not kind or not digest or (fixed and info.attributes and fixed != digest):
        return None
    return _Scheme(kind, fixed or digest)


def _pss(parameters: bytes, digest: str) -> _Scheme | None:
    """RSASSA-PSS-params, RFC 4055 §3.1."""
    name, mask, salt = "sha1", "sha1", _DEFAULT_SALT
    effort = ber.Effort(64)
    if parameters:
        fields = ber.Fields(memoryview(parameters), effort).inside(ber.SEQUENCE)
        if found := fields.maybe(0xA0):
            name = _HASHES.get(read_algorithm(fields.of(found)).oid, ("", None))[0]
        if found := fields.maybe(0xA1):
            generator = read_algorithm(fields.of(found))
            if generator.oid != _MGF1:
                return None
            within = ber.Fields(memoryview(generator.parameters), effort)
            mask = _HASHES.get(read_algorithm(within).oid, ("", None))[0]
        if found := fields.maybe(0xA2):
            salt = ber.integer(fields.of(found).take(ber.INTEGER))
    if not name or not mask or name != digest or not 0 <= salt <= 512:
        return None
    return _Scheme("rsa", name, salt, mask)


def _made_by(
    certificate: Certificate,
    scheme: _Scheme,
    signature: bytes,
    content: Content,
) -> bool:
    try:
        key = certificate.public_key
    except UnreadableCertificate:
        return False
    algorithm = _BY_NAME.get(scheme.digest)
    data = content[0] if len(content) == 1 else b"".join(content)
    try:
        match key:
            case rsa.RSAPublicKey() if scheme.kind == "rsa" and algorithm:
                key.verify(signature, bytes(data), _padding(scheme), algorithm)
            case ec.EllipticCurvePublicKey() if scheme.kind == "ec" and algorithm:
                key.verify(signature, bytes(data), ec.ECDSA(algorithm))
            case dsa.DSAPublicKey() if scheme.kind == "dsa" and algorithm:
                key.verify(signature, bytes(data), algorithm)
            case ed25519.Ed25519PublicKey() if scheme.kind == "ed25519":
                key.verify(signature, bytes(data))
            case ed448.Ed448PublicKey() if scheme.kind == "ed448":
                key.verify(signature, bytes(data))
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _padding(scheme: _Scheme) -> padding.AsymmetricPadding:
    if scheme.salt is None:
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(_BY_NAME[scheme.mask_digest]), scheme.salt)


def _is_meant(info: SignerInfo, certificate: Certificate) -> bool:
    """Whether the signer did not say that it means another certificate of that name."""
    if info.attributes is None:
        return True
    try:
        for kind in (SIGNING_CERTIFICATE_V2, SIGNING_CERTIFICATE):
            value = info.attributes.first(kind)
            if value is not None and not _is_hash_of(certificate, value, kind):
                return False
    except BadCms:
        return False
    return True


def _is_hash_of(certificate: Certificate, value: bytes, kind: bytes) -> bool:
    """SigningCertificate(V2): the first ESSCertID is that of the signer, RFC 5035 §3."""
    fields = ber.Fields(memoryview(value), ber.Effort(1000)).inside(ber.SEQUENCE)
    first = fields.inside(ber.SEQUENCE).inside(ber.SEQUENCE)
    name = "sha1" if kind == SIGNING_CERTIFICATE else "sha256"
    if first.tag == ber.SEQUENCE:
        name = _HASHES.get(read_algorithm(first).oid, ("", None))[0]
    wanted = bytes(first.take(ber.OCTET_STRING).content)
    return bool(name) and hmac.compare_digest(wanted, _digest(name, (certificate.der,)))
