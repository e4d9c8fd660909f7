"""Certificate signing requests: PKCS#10, made and read. RFC 2986. Raises `UnreadableCsr`."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from .build import general_name, signing_digest
from .certificate import Certificate, UnreadableCertificate


class UnreadableCsr(ValueError):
    """Bytes that are no request with a good signature; says why."""


@dataclass(frozen=True, slots=True)
class Csr:
    """What a request says, as far as it matters here."""

    der: bytes
    public_key: bytes  # SubjectPublicKeyInfo, DER

    def is_answered_by(self, certificate: Certificate) -> bool:
        """Whether a certificate is for the key of this request."""
        try:
            key = certificate.public_key
        except UnreadableCertificate:
            return False
        found = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return found == self.public_key


def make_csr(
    key: PrivateKeyTypes,
    *,
    address: str,
    common_name: str,
    organisation: str = "",
    given_name: str = "",
    surname: str = "",
    digest: str = "sha256",
) -> bytes:
    """A request for this key, DER; the address as a subject alternative name."""
    parts = (
        (NameOID.ORGANIZATION_NAME, organisation),
        (NameOID.GIVEN_NAME, given_name),
        (NameOID.SURNAME, surname),
        (NameOID.COMMON_NAME, common_name),
    )
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])
    names = x509.SubjectAlternativeName([general_name(address)])
    builder = x509.CertificateSigningRequestBuilder(subject)
    builder = builder.add_extension(names, critical=False)
    signer, algorithm = signing_digest(key, digest)
    return builder.sign(signer, algorithm).public_bytes(Encoding.DER)


def prove(key: PrivateKeyTypes, data: bytes, digest: str) -> bytes:
    """A signature over data, for a CA that wants more proof of a key than its request:
    PKCS #1 v1.5, ECDSA as DER, EdDSA. Raises `ValueError` for a key that does not sign."""
    _, algorithm = signing_digest(key, digest)
    match key:
        case rsa.RSAPrivateKey() if algorithm is not None:
            return key.sign(data, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePrivateKey() if algorithm is not None:
            return key.sign(data, ec.ECDSA(algorithm))
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            return key.sign(data)
        case _:
            raise ValueError("this kind of key does not sign here")


def read_csr(der: bytes) -> Csr:
    """A request whose signature is that of its own key. Raises `UnreadableCsr`."""
    try:
        parsed = x509.load_der_x509_csr(der)
        if not parsed.is_signature_valid:
            raise UnreadableCsr("its signature is wrong")
        key = parsed.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise UnreadableCsr(f"not a certificate request: {error}") from None
    return Csr(der, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def parsed_csr(der: bytes) -> x509.CertificateSigningRequest:
    """The same as a `cryptography` object. Raises `UnreadableCsr`."""
    read_csr(der)
    return x509.load_der_x509_csr(der)


def csr_pem(der: bytes) -> bytes:
    """The same as text."""
    return x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)
