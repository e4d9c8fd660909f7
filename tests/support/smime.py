"""Mails that are signed, encrypted or compressed, in any order."""

from __future__ import annotations

import zlib
from datetime import datetime
from itertools import count
from typing import Final

from asn1crypto import cms

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from smimefilter.cms.envelope import envelop
from smimefilter.cms.sign import Signer, SignerTemplate, detached, encapsulated
from smimefilter.message.clear import cleared
from smimefilter.message.entity import Entity, canonical, outer
from smimefilter.message.lines import base64_lines
from smimefilter.message.wire import Message
from smimefilter.message.wrap import SmimeType, multipart_signed, pkcs7_mime
from tests.support.pki import NOW, Issued

_NUMBERS: Final = count(1)
_COMPRESSED: Final = (
    b"Content-Type: application/pkcs7-mime; smime-type=compressed-data; name=smime.p7z\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
)


def clear_signed(
    mail: bytes,
    who: Issued,
    *,
    algorithm: SignatureAlgorithm = SignatureAlgorithm.SHA256,
    at: datetime = NOW,
    chain: bool = False,
) -> bytes:
    """The mail, multipart/signed."""
    message = Message(mail)
    entity = cleared(message)
    template = _template(who, algorithm, chain=chain)
    signature = detached(entity.chunks, template, at)
    return _around(
        message, multipart_signed(entity, signature, template.micalg, f"{next(_NUMBERS):026}")
    )


def opaque_signed(
    mail: bytes,
    who: Issued,
    *,
    algorithm: SignatureAlgorithm = SignatureAlgorithm.SHA256,
    at: datetime = NOW,
    chain: bool = False,
) -> bytes:
    """The mail, signed within application/pkcs7-mime."""
    message = Message(mail)
    template = _template(who, algorithm, chain=chain)
    pieces = encapsulated(canonical(message).chunks, template, at)
    return _around(message, pkcs7_mime(SmimeType.SIGNED, pieces))


def encrypted(
    mail: bytes,
    *people: Issued,
    cipher: ContentCipher = ContentCipher.AES_256_CBC,
    transport: KeyTransport = KeyTransport.PKCS1,
) -> bytes:
    """The mail, encrypted."""
    content = b"".join(canonical(Message(mail)).chunks)
    return encrypted_as(mail, content, *people, cipher=cipher, transport=transport)


def encrypted_as(
    mail: bytes,
    content: bytes,
    *people: Issued,
    cipher: ContentCipher = ContentCipher.AES_256_CBC,
    transport: KeyTransport = KeyTransport.PKCS1,
) -> bytes:
    """The mail with `content`, whatever that is, encrypted in the place of its own."""
    gcm = cipher.value.endswith("gcm")
    kind = SmimeType.AUTH_ENVELOPED if gcm else SmimeType.ENVELOPED
    certificates = [who.certificate for who in people]
    pieces = envelop([content], certificates, cipher, transport)
    return _around(Message(mail), pkcs7_mime(kind, pieces))


def compressed(mail: bytes) -> bytes:
    """The mail, compressed."""
    message = Message(mail)
    der = compressed_data(zlib.compress(b"".join(canonical(message).chunks)))
    return _around(message, Entity(_COMPRESSED, list(base64_lines([der]))))


def compressed_data(octets: bytes) -> bytes:
    """A CompressedData around `octets`."""
    data = {
        "version": "v0",
        "compression_algorithm": {"algorithm": "zlib"},
        "encap_content_info": {"content_type": "data", "content": octets},
    }
    return bytes(cms.ContentInfo({"content_type": "compressed_data", "content": data}).dump())


def _template(who: Issued, algorithm: SignatureAlgorithm, *, chain: bool) -> SignerTemplate:
    along = who.chain[:-1] if chain else ()
    return SignerTemplate.of(Signer(who.certificate, along, who.key), algorithm)


def _around(message: Message, entity: Entity) -> bytes:
    return b"".join(outer(message).around(entity))
