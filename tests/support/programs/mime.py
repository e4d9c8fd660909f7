"""MIME around CMS, for the programs that know CMS alone: what a mail program does there.

Everything is done on bytes, so that what a program signs is what is sent. RFC 8551 §3.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from smimefilter.cms import der
from smimefilter.cms.algorithms import SIGNED_DATA
from tests.support.readers import cms_of, is_clear_signed, signed_of

from .program import SIGNATURES, Kind

_BOUNDARY: Final = b"=_another_mail_program"
_BASE64: Final = b"Content-Transfer-Encoding: base64\r\n"
_ECDSA: Final = der.oid("1.2.840.10045.4.3.2")
_PSS: Final = der.oid("1.2.840.113549.1.1.10")
_EC_KEY: Final = der.oid("1.2.840.10045.2.1")
_MARKS: Final = {  # what only a CMS of that kind holds
    Kind.PSS: _PSS,
    Kind.PSS_LONG: _PSS,
    Kind.ECDSA: _ECDSA,
    Kind.AES_256_CBC: der.oid("2.16.840.1.101.3.4.1.42"),
    Kind.AES_128_CBC: der.oid("2.16.840.1.101.3.4.1.2"),
    Kind.AES_256_GCM: der.oid("2.16.840.1.101.3.4.1.46"),
    Kind.TRIPLE_DES: der.oid("1.2.840.113549.3.7"),
    Kind.RC2: der.oid("1.2.840.113549.3.2"),
    Kind.OAEP: der.oid("1.2.840.113549.1.1.7"),
    Kind.ECDH_P256: _EC_KEY,
    Kind.ECDH_P384: _EC_KEY,
    Kind.ECDH_P521: _EC_KEY,
    Kind.X25519: der.oid("1.3.101.110"),
}


def is_made_with(mail: bytes, kind: Kind) -> bool:
    """Whether a mail is of that kind indeed."""
    if kind is Kind.OPAQUE:
        return b"signed-data" in mail and SIGNED_DATA in cms_of(mail)
    if kind in SIGNATURES:
        return is_clear_signed(mail) and _MARKS.get(kind, b"") in signed_of(mail).signature
    return _MARKS[kind] in cms_of(mail)


def crlf(text: bytes) -> bytes:
    """All line ends as they go over the wire."""
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def clear_mail(headers: bytes, entity: bytes, signature: bytes, micalg: str) -> bytes:
    """A multipart/signed mail of the entity and a detached signature, DER."""
    kind = b'multipart/signed; protocol="application/pkcs7-signature"'
    parameters = b'micalg=%b; boundary="%b"' % (micalg.encode(), _BOUNDARY)
    part = b'application/pkcs7-signature; name="smime.p7s"'
    return b"".join(
        (
            headers,
            b"MIME-Version: 1.0\r\nContent-Type: %b;\r\n %b\r\n" % (kind, parameters),
            b"\r\n--%b\r\n" % _BOUNDARY,
            entity,
            b"\r\n--%b\r\nContent-Type: %b\r\n" % (_BOUNDARY, part),
            _BASE64,
            b"\r\n",
            base64_of(signature),
            b"--%b--\r\n" % _BOUNDARY,
        )
    )


def opaque_mail(headers: bytes, cms: bytes, smime_type: str) -> bytes:
    """An application/pkcs7-mime mail of CMS, DER or BER."""
    kind = b"application/pkcs7-mime; smime-type=%b" % smime_type.encode()
    fields = b'MIME-Version: 1.0\r\nContent-Type: %b; name="smime.p7m"\r\n' % kind
    return headers + fields + _BASE64 + b"\r\n" + base64_of(cms)


def base64_of(content: bytes) -> bytes:
    return crlf(base64.encodebytes(content))


def common_name(certificate: bytes) -> str:
    """That of the subject of the first certificate, PEM."""
    subject = x509.load_pem_x509_certificate(certificate).subject
    (name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)
