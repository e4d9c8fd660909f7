"""An encrypted CMS message as it came, taken apart: for whom, how, and the octets.

EnvelopedData and AuthEnvelopedData. Nothing is decrypted here, that is `decrypt.py`'s.
Password and key-encryption-key recipients are counted and passed over: a gateway has no such
secrets. RFC 5652 §6, RFC 5083, RFC 5753. Raises `BadCms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from . import der
from .algorithms import AUTH_ENVELOPED_DATA, ENVELOPED_DATA
from .ber import (
    BIT_STRING,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    BadCms,
    Effort,
    Element,
    Fields,
    joined,
    octets,
    only,
)
from .identifiers import Identifier, identifier
from .signed import Algorithm, read_algorithm

MOST_RECIPIENTS: Final = 10_000  # that are looked at

_CONTEXT_0: Final = 0xA0
_CONTEXT_1: Final = 0xA1
_CONTEXT_2: Final = 0xA2
_IMPLICIT_0: Final = (0x80, 0xA0)
_OTHERS: Final = (0xA2, 0xA3, 0xA4)
_CONSTRUCTED_OCTETS: Final = OCTET_STRING | 0x20


@dataclass(frozen=True, slots=True)
class Transported:
    """A content key that an RSA key decrypts."""

    recipient: Identifier
    algorithm: Algorithm
    encrypted_key: bytes


@dataclass(frozen=True, slots=True)
class Agreed:
    """A content key wrapped under a key that both sides compute."""

    recipient: Identifier
    algorithm: Algorithm  # key derivation; its parameters are the wrap algorithm
    originator: Algorithm
    public: bytes  # the originator's ephemeral key
    user_material: bytes | None
    encrypted_key: bytes


Recipient = Transported | Agreed


@dataclass(frozen=True, slots=True)
class Enveloped:
    """An encrypted message."""

    recipients: tuple[Recipient, ...]
    cipher: Algorithm
    content: Sequence[memoryview]
    authenticated: bool  # AuthEnvelopedData
    attributes: bytes = b""  # authAttrs as SET, DER: they are authenticated too
    mac: bytes = b""


def read_enveloped(body: memoryview, effort: Effort) -> Enveloped:
    """The EnvelopedData or AuthEnvelopedData that a ContentInfo holds. Raises `BadCms`."""
    info = only(body, SEQUENCE, effort)
    kind = info.take(OID).der
    if kind not in {ENVELOPED_DATA, AUTH_ENVELOPED_DATA}:
        raise BadCms("not encrypted")
    data = info.inside(_CONTEXT_0).inside(SEQUENCE)
    data.take(INTEGER)
    data.maybe(_CONTEXT_0)  # originatorInfo
    recipients = _recipients(data.inside(SET), effort)
    encrypted = data.inside(SEQUENCE)
    encrypted.take(OID)
    cipher = read_algorithm(encrypted)
    content = octets(encrypted.take(*_IMPLICIT_0), effort)
    encrypted.end()
    if kind == ENVELOPED_DATA:
        data.maybe(_CONTEXT_1)
        data.end()
        return Enveloped(recipients, cipher, content, authenticated=False)
    attributes = data.maybe(_CONTEXT_1)
    mac = joined(data.take(OCTET_STRING, _CONSTRUCTED_OCTETS), effort)
    data.maybe(_CONTEXT_2)
    data.end()
    authenticated = der.tlv(der.SET, bytes(attributes.content)) if attributes else b""
    return Enveloped(
        recipients, cipher, content, authenticated=True, attributes=authenticated, mac=mac
    )


def _recipients(fields: Fields, effort: Effort) -> tuple[Recipient, ...]:
    found: list[Recipient] = []
    for element in fields.rest(SEQUENCE, _CONTEXT_1, *_OTHERS):
        if element.tag == SEQUENCE:
            found.append(_transported(fields.of(element), effort))
        elif element.tag == _CONTEXT_1:
            found += _agreed(fields.of(element), effort)
        if len(found) > MOST_RECIPIENTS:
            raise BadCms("too many recipients")
    return tuple(found)


def _transported(fields: Fields, effort: Effort) -> Transported:
    fields.take(INTEGER)
    recipient = identifier(fields.take(SEQUENCE, *_IMPLICIT_0), effort)
    algorithm = read_algorithm(fields)
    key = joined(fields.take(OCTET_STRING, _CONSTRUCTED_OCTETS), effort)
    fields.end()
    return Transported(recipient, algorithm, key)


def _agreed(fields: Fields, effort: Effort) -> list[Agreed]:
    """One for each recipient; none where the originator's key is not ephemeral."""
    fields.take(INTEGER)
    originator = fields.inside(_CONTEXT_0).take()
    material = fields.maybe(_CONTEXT_1)
    algorithm = read_algorithm(fields)
    keys = fields.inside(SEQUENCE)
    fields.end()
    if originator.tag != _CONTEXT_1:
        return []
    within = fields.of(originator)
    kind = read_algorithm(within)
    public = within.take(BIT_STRING).content
    user_material = None
    if material is not None:
        user_material = joined(fields.of(material).take(OCTET_STRING), effort)
    return [
        Agreed(recipient, algorithm, kind, bytes(public[1:]), user_material, key)
        for recipient, key in (_encrypted_key(keys.of(one), effort) for one in keys.rest())
    ]


def _encrypted_key(fields: Fields, effort: Effort) -> tuple[Identifier, bytes]:
    found = fields.take(SEQUENCE, _CONTEXT_0)
    key = joined(fields.take(OCTET_STRING, _CONSTRUCTED_OCTETS), effort)
    fields.end()
    return _recipient(found, effort), key


def _recipient(element: Element, effort: Effort) -> Identifier:
    """Issuer and serial, or RecipientKeyIdentifier, of which the key identifier counts."""
    if element.tag == SEQUENCE:
        return identifier(element, effort)
    fields = Fields(element.content, effort)
    return Identifier(key_id=joined(fields.take(OCTET_STRING), effort))
