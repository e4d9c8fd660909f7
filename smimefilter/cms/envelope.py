"""Encrypting: EnvelopedData with AES-CBC, AuthEnvelopedData with AES-GCM.

The content is encrypted once for all recipients, in one pass and piece by piece: what comes
back is an iterator that encrypts as it is read, so that a large mail is not held once more.
Content key, nonce and initialisation vector come from the system's random source, and are new
with every call.

Content is encrypted as it is: bringing MIME into canonical form is `message/`'s, choosing
recipients `plan/`'s. RFC 5652 §6, RFC 5083, RFC 5084 §3.2, RFC 3565 §2.3. Raises
`CannotEncrypt`, and before the first byte.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, GCM

from smimefilter.base.algorithms import ContentCipher, KeyTransport
from smimefilter.pki.certificate import Certificate

from . import der
from .algorithms import (
    AUTH_ENVELOPED_DATA,
    CONTENT,
    DATA,
    ENVELOPED_DATA,
    CannotEncrypt,
    Content,
)
from .templates import RecipientTemplate, recipient_of

Chunk = bytes | memoryview

PIECE: Final = 1 << 18  # bytes encrypted at a time
_BLOCK: Final = 16
_NONCE: Final = 12
_TAG: Final = 16
_PADDINGS: Final = tuple(bytes([n]) * n for n in range(_BLOCK + 1))


def envelop(
    content: Sequence[Chunk],
    recipients: Iterable[Certificate],
    cipher: ContentCipher,
    transport: KeyTransport,
) -> Iterator[bytes]:
    """DER of ContentInfo in pieces: `content` for each recipient, none named twice.

    Raises `CannotEncrypt` for the first certificate whose key does not encrypt, and when
    there is none at all.
    """
    templates = [recipient_of(one, transport) for one in dict.fromkeys(recipients)]
    if not templates:
        raise CannotEncrypt("no certificate to encrypt to")
    spec = CONTENT[cipher]
    key = secrets.token_bytes(spec.key_bytes)
    infos = der.set_of(der.SET, (template.info(key) for template in templates))
    if spec.authenticated:
        return _authenticated(content, spec, key, infos)
    return _padded(content, spec, key, _version(templates) + infos)


def _version(templates: list[RecipientTemplate]) -> bytes:
    """CMSVersion of EnvelopedData, RFC 5652 §6.1, for what is written here."""
    return der.integer(2 if any(template.version for template in templates) else 0)


def _padded(
    content: Sequence[Chunk], spec: Content, key: bytes, head: bytes
) -> Iterator[bytes]:
    size = sum(map(len, content))
    padding = _PADDINGS[_BLOCK - size % _BLOCK]
    vector = secrets.token_bytes(_BLOCK)
    parameters = der.tlv(der.OCTET_STRING, vector)
    encryptor = Cipher(AES(key), CBC(vector)).encryptor()
    size += len(padding)
    before = _head(
        ENVELOPED_DATA, head, der.tlv(der.SEQUENCE, spec.oid, parameters), size, after=0
    )
    return _pieces(before, encryptor, (*content, padding), size)


def _authenticated(
    content: Sequence[Chunk], spec: Content, key: bytes, infos: bytes
) -> Iterator[bytes]:
    size = sum(map(len, content))
    nonce = secrets.token_bytes(_NONCE)
    parameters = der.tlv(der.SEQUENCE, der.tlv(der.OCTET_STRING, nonce), der.integer(_TAG))
    encryptor = Cipher(AES(key), GCM(nonce)).encryptor()
    tag = der.header(der.OCTET_STRING, _TAG)
    algorithm = der.tlv(der.SEQUENCE, spec.oid, parameters)
    before = _head(
        AUTH_ENVELOPED_DATA, der.integer(0) + infos, algorithm, size, after=len(tag) + _TAG
    )
    return _sealed(_pieces(before, encryptor, content, size), encryptor, tag)


def _head(kind: bytes, start: bytes, algorithm: bytes, size: int, *, after: int) -> bytes:
    """Everything before `size` bytes of encrypted content; `after` bytes follow them."""
    octets = der.header(der.CONTEXT_0_PRIMITIVE, size)
    inner = DATA + algorithm + octets
    inner = start + der.header(der.SEQUENCE, len(inner) + size) + inner
    inner = der.header(der.SEQUENCE, len(inner) + size + after) + inner
    inner = kind + der.header(der.CONTEXT_0, len(inner) + size + after) + inner
    return der.header(der.SEQUENCE, len(inner) + size + after) + inner


def _pieces(
    before: bytes, encryptor: CipherContext, content: Sequence[Chunk], size: int
) -> Iterator[bytes]:
    if size <= PIECE:
        yield before + encryptor.update(b"".join(content)) + encryptor.finalize()
        return
    yield before
    for chunk in content:
        view = memoryview(chunk)
        for start in range(0, len(view), PIECE):
            yield encryptor.update(view[start : start + PIECE])
    yield encryptor.finalize()


def _sealed(
    pieces: Iterator[bytes], encryptor: AEADEncryptionContext, tag: bytes
) -> Iterator[bytes]:
    yield from pieces
    yield tag + encryptor.tag
