"""OCSP as bytes: a question about one certificate, and the answer of a responder.

The question names a certificate by hashes of its issuer and its serial number, with SHA-1,
which is what responders know (RFC 5019 §2.1.1; nothing rests on its strength), and has a nonce.
The answer is taken apart, not believed: what is signed is kept as it came.

Leaves believing to `trust/ocsp.py`. RFC 6960 §4.1 and §4.2, RFC 9654 (nonce).
Raises `UnreadableOcsp`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from . import tlv
from .certificate import Certificate, UnreadableCertificate

MOST: Final = 64  # single responses, and certificates, of one answer that are looked at
_ENUMERATED: Final = 0x0A
_HASHES: Final = frozenset({"sha1", "sha256", "sha384", "sha512"})
_STATUSES: Final = {
    ocsp.OCSPCertStatus.GOOD: "good",
    ocsp.OCSPCertStatus.REVOKED: "revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "unknown",
}


_TROUBLE: Final = (
    ValueError, TypeError, OverflowError,
    UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip


class UnreadableOcsp(ValueError):
    """Bytes that are no answer with a status in it; says why."""


@dataclass(frozen=True, slots=True)
class Single:
    """What an answer says about one certificate."""

    digest: str  # name of the hash function of the next two
    name_hash: bytes
    key_hash: bytes
    serial: int
    status: str  # good, revoked or unknown
    revoked_at: datetime | None
    reason: str  # as CRLs call it; empty: not said
    this_update: datetime
    next_update: datetime | None

    def is_for(self, certificate: Certificate, issuer_key: bytes) -> bool:
        """Whether it is about this certificate. `issuer_key`: the bits of its issuer's
        subjectPublicKey. Raises `UnreadableCertificate`."""
        return (
            self.serial == certificate.serial
            and self.name_hash == hashlib.new(self.digest, certificate.issuer_der).digest()
            and self.key_hash == hashlib.new(self.digest, issuer_key).digest()
        )


@dataclass(frozen=True, slots=True, eq=False)
class OcspAnswer:
    """One answer; equal to itself only."""

    der: bytes
    singles: tuple[Single, ...]
    produced_at: datetime
    nonce: bytes | None
    certificates: tuple[Certificate, ...]
    signature_algorithm: bytes  # AlgorithmIdentifier, DER
    signature: bytes
    signed: bytes  # what the signature covers

    def __repr__(self) -> str:
        return f"<OcspAnswer of {self.produced_at:%Y-%m-%d %H:%M}>"

    def single_for(self, certificate: Certificate, issuer_key: bytes) -> Single | None:
        """What it says about a certificate; of several the one that revokes, else the newest.
        `issuer_key` as for `Single.is_for`. Raises `UnreadableCertificate`."""
        about = [one for one in self.singles if one.is_for(certificate, issuer_key)]
        return max(about, key=lambda s: (s.status == "revoked", s.this_update), default=None)

    @classmethod
    def read(cls, der: bytes) -> OcspAnswer:
        """Take an answer apart. Raises `UnreadableOcsp`."""
        try:
            found = ocsp.load_der_ocsp_response(der)
            if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                status = found.response_status.name.lower().replace("_", " ")
                raise UnreadableOcsp(f"the responder says: {status}")
            signed, algorithm, signature = _basic(der)
            return cls(
                der=der,
                singles=tuple(_singles(found)),
                produced_at=found.produced_at_utc,
                nonce=_nonce(found.extensions),
                certificates=tuple(_certificates(found)),
                signature_algorithm=algorithm,
                signature=signature,
                signed=signed,
            )
        except UnreadableOcsp:
            raise
        except _TROUBLE as error:
            raise UnreadableOcsp(f"not an OCSP answer: {error}") from None


def question(certificate: Certificate, issuer: Certificate, nonce: bytes) -> bytes:
    """A request for the status of a certificate, DER. Raises `UnreadableCertificate`."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        certificate.parsed,
        issuer.parsed,
        hashes.SHA1(),  # noqa: S303 - it names, it does not protect
    )
    asked = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    return asked.public_bytes(Encoding.DER)


def _singles(found: ocsp.OCSPResponse) -> Iterator[Single]:
    for one in islice(found.responses, MOST):
        if one.hash_algorithm.name not in _HASHES:
            continue
        reason = one.revocation_reason
        yield Single(
            digest=one.hash_algorithm.name,
            name_hash=one.issuer_name_hash,
            key_hash=one.issuer_key_hash,
            serial=one.serial_number,
            status=_STATUSES[one.certificate_status],
            revoked_at=one.revocation_time_utc,
            reason="" if reason is None else reason.value,
            this_update=one.this_update_utc,
            next_update=one.next_update_utc,
        )


def _certificates(found: ocsp.OCSPResponse) -> Iterator[Certificate]:
    for one in islice(found.certificates, MOST):
        try:
            yield Certificate.read(one.public_bytes(Encoding.DER))
        except UnreadableCertificate:
            continue


def _nonce(extensions: x509.Extensions) -> bytes | None:
    try:
        return extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def _basic(der: bytes) -> tuple[bytes, bytes, bytes]:
    """What a BasicOCSPResponse signs, with which algorithm, and the signature."""
    outer = tlv.Cursor(der, *tlv.whole(der, tlv.SEQUENCE))
    outer.take(_ENUMERATED)
    typed = tlv.Cursor(der, *tlv.expect(der, *outer.take(tlv.CONTEXT_0), tlv.SEQUENCE))
    typed.take(tlv.OID)
    start, end = typed.take(tlv.OCTET_STRING)
    basic = tlv.Cursor(der, *tlv.expect(der, start, end, tlv.SEQUENCE))
    start = basic.position
    basic.take(tlv.SEQUENCE)
    signed = der[start : basic.position]
    start = basic.position
    basic.take(tlv.SEQUENCE)
    algorithm = der[start : basic.position]
    bits, end = basic.take(tlv.BIT_STRING)
    if der[bits:end][:1] != b"\0":
        raise UnreadableOcsp("its signature is malformed")
    return signed, algorithm, der[bits + 1 : end]
