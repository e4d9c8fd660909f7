"""Certificates and keys as files for other programs.

Certificates leave as PEM, DER or PKCS#7 (certs-only); a private key leaves under a password
alone, as PKCS#12 with its chain or as encrypted PKCS#8 PEM.

PKCS#12 is written with AES-256 and SHA-256, which every current program reads; `old=True`
writes 3DES and SHA-1 for those that do not (gpgsm, Windows before 10, Java before 8u301).
Key and certificates cost 100 000 iterations each; the MAC has the library's fixed 2048, so that
the strength of the file is that of its password.

RFC 7468, RFC 2315, RFC 7292, RFC 5958. Raises `CannotExport`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from asn1crypto import pem
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)

from .build import Identity
from .certificate import Certificate

ITERATIONS: Final = 100_000


class CannotExport(ValueError):
    """A format that cannot hold what it is asked to; says which can."""


def certificates_pem(certificates: Sequence[Certificate]) -> bytes:
    """All of them, one after the other, under their subjects as comments."""
    return b"".join(
        f"# {' '.join(one.subject.split())}\n".encode() + _pem(one)
        for one in certificates  # split: a line end in a name would start a line of the file
    )


def _pem(certificate: Certificate) -> bytes:
    """The very bytes of a certificate, which writing a parsed one anew need not give."""
    text = pem.armor("CERTIFICATE", certificate.der)
    return bytes(text)


def certificate_der(certificates: Sequence[Certificate]) -> bytes:
    """The one certificate; DER holds no second one."""
    if len(certificates) != 1:
        raise CannotExport("DER holds exactly one certificate; PEM and PKCS#7 hold several")
    return certificates[0].der


def certificates_pkcs7(certificates: Sequence[Certificate], *, pem: bool = False) -> bytes:
    """A certs-only PKCS#7 (`.p7b`, `.p7c`)."""
    if not certificates:
        raise CannotExport("there is no certificate to export")
    encoding = Encoding.PEM if pem else Encoding.DER
    return pkcs7.serialize_certificates([one.parsed for one in certificates], encoding)


def key_pkcs8(key: PrivateKeyTypes) -> bytes:
    """The key in clear, PKCS#8 DER: what is wrapped for the store, never a file."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def identity_pem(identity: Identity, password: str) -> bytes:
    """The certificate, its chain, and the key as encrypted PKCS#8."""
    key = identity.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(_needed(password))
    )
    return certificates_pem([identity.certificate, *identity.chain]) + key


def identity_pkcs12(
    identity: Identity, password: str, *, name: str = "", old: bool = False
) -> bytes:
    """The certificate with its key and chain. `name` is shown by programs that list it."""
    if not isinstance(identity.key, get_args(pkcs12.PKCS12PrivateKeyTypes)):
        raise CannotExport("PKCS#12 cannot hold this kind of key; PEM can")
    return pkcs12.serialize_key_and_certificates(
        name.encode() or None,
        identity.key,
        identity.certificate.parsed,
        [one.parsed for one in identity.chain],
        _protection(_needed(password), old),
    )


def _protection(password: bytes, old: bool) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(ITERATIONS)
    if old:
        scheme = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
        return (
            builder.key_cert_algorithm(scheme).hmac_hash(hashes.SHA1()).build(password)  # noqa: S303
        )
    scheme = pkcs12.PBES.PBESv2SHA256AndAES256CBC
    return builder.key_cert_algorithm(scheme).hmac_hash(hashes.SHA256()).build(password)


def _needed(password: str) -> bytes:
    if not password:
        raise CannotExport("a private key leaves under a password only, and none was given")
    return password.encode("utf-8", "surrogateescape")
