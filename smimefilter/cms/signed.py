"""A SignedData as it came, taken apart: content, certificates, and who signed how.

Nothing is verified here, that is `verify.py`'s. Values are views into the message or short
copies. Counter-signatures and other unsigned attributes are left alone.

RFC 5652 §5 and §11, RFC 5035 (signing certificate), RFC 8551 §2.5. Raises `BadCms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asn1crypto import core

from . import der
from .algorithms import SIGNED_DATA
from .ber import (
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    BadCms,
    Effort,
    Element,
    Fields,
    joined,
    octets,
    only,
)
from .identifiers import Identifier, identifier

MOST_SIGNERS: Final = 16
MOST_CERTIFICATES: Final = 64
MOST_ATTRIBUTES: Final = 64

CONTENT_TYPE: Final = der.oid("1.2.840.113549.1.9.3")
MESSAGE_DIGEST: Final = der.oid("1.2.840.113549.1.9.4")
SIGNING_TIME: Final = der.oid("1.2.840.113549.1.9.5")
SMIME_CAPABILITIES: Final = der.oid("1.2.840.113549.1.9.15")
SIGNING_CERTIFICATE: Final = der.oid("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2: Final = der.oid("1.2.840.113549.1.9.16.2.47")

_CONTEXT_0: Final = 0xA0
_CONTEXT_1: Final = 0xA1
_KEY_ID: Final = (0x80, 0xA0)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An AlgorithmIdentifier."""

    oid: bytes  # DER
    parameters: bytes = b""  # as they came; empty when absent
    whole: bytes = b""  # as it came


@dataclass(frozen=True, slots=True)
class SignedAttributes:
    """The signed attributes: their bytes as they came, and their values by type."""

    content: bytes  # of the SET
    values: Mapping[bytes, Sequence[bytes]]  # type, DER → values, as they came

    def one(self, kind: bytes) -> bytes:
        """The one value of an attribute that has to be there once. Raises `BadCms`."""
        found = self.values.get(kind, ())
        if len(found) != 1:
            raise BadCms("a signed attribute that has to be there once is not")
        return found[0]

    def first(self, kind: bytes) -> bytes | None:
        """The first value, or None."""
        found = self.values.get(kind)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signer."""

    signer: Identifier
    digest: Algorithm
    algorithm: Algorithm
    attributes: SignedAttributes | None
    signature: bytes

    @property
    def signing_time(self) -> datetime | None:
        """When the signer says to have signed; anything may stand there."""
        value = self.attributes.first(SIGNING_TIME) if self.attributes else None
        return None if value is None else _time(value)


@dataclass(frozen=True, slots=True)
class SignedData:
    """Content and signers."""

    content_type: bytes  # DER
    content: Sequence[memoryview] | None  # None: it stands outside
    certificates: tuple[bytes, ...]  # DER, as many as are looked at
    signers: tuple[SignerInfo, ...]


def read_signed(body: memoryview, effort: Effort) -> SignedData:
    """The SignedData that a ContentInfo holds. Raises `BadCms`."""
    info = only(body, SEQUENCE, effort)
    if info.take(OID).der != SIGNED_DATA:
        raise BadCms("not signed")
    data = info.inside(_CONTEXT_0).inside(SEQUENCE)
    data.take(INTEGER)
    data.take(SET)  # digestAlgorithms: each signer names its own
    content_type, content = _content(data.inside(SEQUENCE), effort)
    certificates = data.maybe(_CONTEXT_0)
    data.maybe(_CONTEXT_1)
    signers: list[SignerInfo] = []
    for found in data.inside(SET).rest(SEQUENCE):
        if len(signers) == MOST_SIGNERS:
            raise BadCms("too many signers")
        signers.append(_signer(data.of(found), effort))
    data.end()
    held = _certificates(data.of(certificates)) if certificates else ()
    return SignedData(content_type, content, held, tuple(signers))


def read_algorithm(fields: Fields) -> Algorithm:
    """The AlgorithmIdentifier that comes next. Raises `BadCms`."""
    found = fields.take(SEQUENCE)
    inner = fields.of(found)
    kind = inner.take(OID).der
    parameters = inner.take().der if inner.tag >= 0 else b""
    inner.end()
    return Algorithm(kind, parameters, found.der)


def _content(fields: Fields, effort: Effort) -> tuple[bytes, Sequence[memoryview] | None]:
    content_type = fields.take(OID).der
    around = fields.maybe(_CONTEXT_0)
    fields.end()
    if around is None:
        return content_type, None
    within = fields.of(around)
    content = within.take()
    within.end()
    if content.tag & 0x1F != OCTET_STRING:  # PKCS #7 had content of any type here
        raise BadCms("content that is no octet string")
    return content_type, octets(content, effort)


def _certificates(fields: Fields) -> tuple[bytes, ...]:
    """X.509 certificates, none twice; the obsolete and other kinds are passed over."""
    found: dict[bytes, None] = {}
    for element in fields.rest():
        if element.tag == SEQUENCE and len(found) < MOST_CERTIFICATES:
            found[element.der] = None
    return tuple(found)


def _signer(fields: Fields, effort: Effort) -> SignerInfo:
    fields.take(INTEGER)
    signer = identifier(fields.take(SEQUENCE, *_KEY_ID), effort)
    digest = read_algorithm(fields)
    signed = fields.maybe(_CONTEXT_0)
    algorithm = read_algorithm(fields)
    signature = joined(fields.take(OCTET_STRING, OCTET_STRING | 0x20), effort)
    fields.maybe(_CONTEXT_1)
    fields.end()
    attributes = None if signed is None else _attributes(signed, fields)
    return SignerInfo(signer, digest, algorithm, attributes, signature)


def _attributes(element: Element, fields: Fields) -> SignedAttributes:
    values: dict[bytes, list[bytes]] = {}
    for number, attribute in enumerate(fields.of(element).rest(SEQUENCE)):
        if number == MOST_ATTRIBUTES:
            raise BadCms("too many signed attributes")
        inner = fields.of(attribute)
        kind = inner.take(OID).der
        if kind in values:
            raise BadCms("a signed attribute that is there twice")
        values[kind] = [value.der for value in inner.inside(SET).rest()]
        inner.end()
    return SignedAttributes(bytes(element.content), values)


def _time(value: bytes) -> datetime | None:
    try:
        if value[:1] == bytes([UTC_TIME]):
            found = core.UTCTime.load(value).native
        elif value[:1] == bytes([GENERALIZED_TIME]):
            found = core.GeneralizedTime.load(value).native
        else:
            return None
        return found.astimezone(UTC) if isinstance(found, datetime) else None
    except (ValueError, TypeError, OverflowError):  # of the year 1, say
        return None
