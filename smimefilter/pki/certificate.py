"""A certificate as the gateway sees it: its DER bytes and the facts read from them.

Parsing is lazy: a store of 100 000 certificates costs memory for their bytes, and the facts of
those that mail needs. `Certificate(der)` does not parse; `Certificate.read(der)` does, and
raises `UnreadableCertificate` for what is not a certificate this gateway can work with.

Leaves usage rules to `usage.py`, trust to `trust/`, file formats to `keyfile.py`.
RFC 5280 §4.1-4.2, RFC 8398 (SmtpUTF8Mailbox), RFC 8550 §3 (addresses in certificates).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cached_property
from typing import Final, TypeVar

from asn1crypto import algos, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.thumbprint import (
    thumbprint_of as thumbprint_of,  # noqa: PLC0414 - spelt so to be a re-export
)

from .twins import twins_of

_E = TypeVar("_E", bound=x509.ExtensionType)

LARGEST: Final = 1 << 16  # octets; what is larger is meant to be a burden

SMTP_UTF8_MAILBOX: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")

KEY_USAGES: Final = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
_DSA_BARE: Final = bytes.fromhex("3009 0607 2a8648ce380401 03")  # a key without parameters
_DSA_STAND_IN: Final = bytes.fromhex("3009 0607 2a8648ce38047f 03")  # an unassigned OID
_PSS_OID: Final = x509.ObjectIdentifier("1.2.840.113549.1.1.10")
_STAND_IN_OID: Final = x509.ObjectIdentifier("1.2.840.10040.4.127")
_KEY_ALGORITHMS: Final = {
    rsa.RSAPublicKey: "rsa",
    ec.EllipticCurvePublicKey: "ec",
    ed25519.Ed25519PublicKey: "ed25519",
    ed448.Ed448PublicKey: "ed448",
    x25519.X25519PublicKey: "x25519",
    x448.X448PublicKey: "x448",
    dsa.DSAPublicKey: "dsa",
}


class UnreadableCertificate(ValueError):
    """Bytes that are no certificate, or one whose parts cannot be read; says which."""


class Certificate:
    """One X.509 certificate; equal and hashable by its bytes.

    Every property may raise `UnreadableCertificate` when made by `Certificate(der)` from bytes
    that were never checked; the store only holds checked ones.
    """

    def __init__(self, der: bytes) -> None:
        self.der: Final = der

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """A certificate whose parts have all been read once.

        Raises `UnreadableCertificate`.
        """
        certificate = cls(der)
        _ = (
            certificate.extensions, certificate.subject, certificate.issuer,
            certificate.serial, certificate.not_before, certificate.not_after,
            certificate.key_algorithm, certificate.addresses, certificate.crl_urls,
        )  # fmt: skip
        return certificate

    @classmethod
    def known(cls, der: bytes, **facts: object) -> Certificate:
        """A certificate with facts that were read from it before, by attribute name.

        For the store, which keeps them beside the bytes so that loading parses nothing.
        """
        certificate = cls(der)
        certificate.__dict__.update(facts)
        return certificate

    # identity

    @cached_property
    def thumbprint(self) -> str:
        """SHA-512 of the DER bytes, 128 lower-case hex digits: the name used everywhere."""
        return hashlib.sha512(self.der).hexdigest()

    @property
    def sha256(self) -> str:
        """SHA-256 of the DER bytes, lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def twins(self) -> tuple[str, ...]:
        """Thumbprints of its other forms, that anybody could make (`twins.py`)."""
        return tuple(twins_of(self.der))

    @property
    def sha1(self) -> str:
        """SHA-1 of the DER bytes, lower-case hex; for display, as other programs name it."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate {self.thumbprint[:16]}>"

    # the parsed certificate

    @cached_property
    def parsed(self) -> x509.Certificate:
        """The same certificate as a `cryptography` object."""
        if len(self.der) > LARGEST:
            raise UnreadableCertificate(f"larger than {LARGEST // 1024} KiB")
        try:
            return x509.load_der_x509_certificate(self.der)
        except (ValueError, TypeError, x509.InvalidVersion) as error:
            if _DSA_BARE in self.der:
                return self._parsed_without_key()
            raise UnreadableCertificate(f"not a certificate: {error}") from None

    def _parsed_without_key(self) -> x509.Certificate:
        """`cryptography` reads no DSA key that inherits its issuer's parameters (RFC 3279
        §2.3.2). Everything else it reads, with the key as one of a kind unknown to it."""
        try:
            return x509.load_der_x509_certificate(self.der.replace(_DSA_BARE, _DSA_STAND_IN, 1))
        except (ValueError, TypeError, x509.InvalidVersion) as error:
            raise UnreadableCertificate(f"not a certificate: {error}") from None

    @cached_property
    def extensions(self) -> x509.Extensions:
        """All extensions; a duplicate or malformed one makes the certificate unreadable."""
        parsed = self.parsed
        try:
            return parsed.extensions
        except (
            ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
        ) as error:  # fmt: skip
            raise UnreadableCertificate(f"an extension cannot be read: {error}") from None

    # names

    @cached_property
    def subject(self) -> str:
        """The subject, RFC 4514 string."""
        return _text(_name(self.parsed, "subject"))

    @cached_property
    def issuer(self) -> str:
        """The issuer, RFC 4514 string."""
        return _text(_name(self.parsed, "issuer"))

    @cached_property
    def subject_der(self) -> bytes:
        """The subject name, DER."""
        return _name(self.parsed, "subject").public_bytes()

    @cached_property
    def issuer_der(self) -> bytes:
        """The issuer name, DER."""
        return _name(self.parsed, "issuer").public_bytes()

    @cached_property
    def common_name(self) -> str:
        """The first subject commonName, or an empty text."""
        values = _name(self.parsed, "subject").get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(values[0].value) if values else ""

    @cached_property
    def serial(self) -> int:
        """The serial number."""
        return self.parsed.serial_number

    @property
    def serial_hex(self) -> str:
        """The serial number as lower-case hex digits."""
        return f"{self.serial:x}"

    @property
    def is_self_issued(self) -> bool:
        """Subject and issuer are the same name (RFC 5280 §6.1)."""
        return self.subject_der == self.issuer_der

    # addresses

    @cached_property
    def alternative_addresses(self) -> tuple[str, ...]:
        """Keys of the addresses in the subjectAltName: rfc822Name, then SmtpUTF8Mailbox."""
        names = self._alternative_names
        if names is None:
            return ()
        found: list[str] = list(names.get_values_for_type(x509.RFC822Name))
        for other in names.get_values_for_type(x509.OtherName):
            if other.type_id == SMTP_UTF8_MAILBOX:
                found.append(_utf8_string(other.value))
        return _address_keys(found)

    @cached_property
    def subject_addresses(self) -> tuple[str, ...]:
        """Keys of the emailAddress attributes in the subject (old certificates)."""
        values = _name(self.parsed, "subject").get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
        return _address_keys([str(value.value) for value in values])

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Keys of every address it names, those of the subjectAltName first, none twice."""
        return tuple(dict.fromkeys(self.alternative_addresses + self.subject_addresses))

    @property
    def alternative_names(self) -> tuple[x509.GeneralName, ...]:
        """All names of the subjectAltName, as they stand."""
        return tuple(self._alternative_names or ())

    @cached_property
    def _alternative_names(self) -> x509.SubjectAlternativeName | None:
        return self._extension(x509.SubjectAlternativeName)

    # validity

    @property
    def not_before(self) -> datetime:
        """Start of validity, UTC."""
        return self.validity[0]

    @property
    def not_after(self) -> datetime:
        """End of validity, UTC."""
        return self.validity[1]

    @cached_property
    def validity(self) -> tuple[datetime, datetime]:
        """Start and end of validity, UTC."""
        try:
            return self.parsed.not_valid_before_utc, self.parsed.not_valid_after_utc
        except ValueError as error:
            raise UnreadableCertificate(f"the validity cannot be read: {error}") from None

    # key

    @cached_property
    def public_key(self) -> CertificatePublicKeyTypes:
        """The public key as a `cryptography` object."""
        try:
            return self.parsed.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UnreadableCertificate(f"the public key cannot be read: {error}") from None

    @cached_property
    def key_algorithm(self) -> str:
        """`rsa`, `ec`, `ed25519`, `ed448`, `x25519`, `x448` or `dsa`."""
        if self.inherits_parameters:
            return "dsa"
        key = self.public_key
        for kind, name in _KEY_ALGORITHMS.items():
            if isinstance(key, kind):
                return name
        raise UnreadableCertificate("the public key is of an unknown kind")

    @property
    def inherits_parameters(self) -> bool:
        """It has a DSA key with the parameters of its issuer's (RFC 3279 §2.3.2); the public
        key cannot be read then."""
        if _DSA_BARE not in self.der:
            return False
        return self.parsed.public_key_algorithm_oid == _STAND_IN_OID

    @cached_property
    def pss_digest(self) -> str | None:
        """The digest that its key signs with, where that is an RSA key for PSS alone (RFC 4055
        §1.2); empty where any will do. None for every other key."""
        if self.parsed.public_key_algorithm_oid != _PSS_OID:
            return None
        try:
            algorithm = asn1_x509.Certificate.load(self.der).public_key["algorithm"]
            parameters = algorithm["parameters"]
            if not isinstance(parameters, algos.RSASSAPSSParams):
                return ""
            return str(parameters["hash_algorithm"]["algorithm"].native)
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableCertificate(f"the parameters of its key: {error}") from None

    @cached_property
    def key_size(self) -> int:
        """Bits of the key (RSA modulus, curve order); 0 where the algorithm fixes it."""
        return int(getattr(self.public_key, "key_size", 0))

    @cached_property
    def curve(self) -> str:
        """The curve of an EC key (`secp256r1`), or an empty text."""
        key = self.public_key
        return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""

    @cached_property
    def signature_algorithm(self) -> str:
        """Dotted OID of the algorithm the issuer signed with."""
        return self.parsed.signature_algorithm_oid.dotted_string

    # extensions

    @cached_property
    def key_usage(self) -> frozenset[str] | None:
        """Names as in RFC 5280 (`digitalSignature` …); None when the extension is absent."""
        usage = self._extension(x509.KeyUsage)
        if usage is None:
            return None
        return frozenset(name for field, name in KEY_USAGES.items() if getattr(usage, field))

    @cached_property
    def extended_key_usage(self) -> frozenset[str] | None:
        """Dotted OIDs; None when the extension is absent."""
        usage = self._extension(x509.ExtendedKeyUsage)
        return None if usage is None else frozenset(oid.dotted_string for oid in usage)

    @cached_property
    def is_ca(self) -> bool:
        """basicConstraints says CA, or it is a self-signed version 1 certificate (old root)."""
        constraints = self._extension(x509.BasicConstraints)
        if constraints is not None:
            return constraints.ca
        return self.parsed.version == x509.Version.v1 and self.is_self_issued

    @cached_property
    def subject_key_id(self) -> bytes | None:
        """subjectKeyIdentifier, or None."""
        found = self._extension(x509.SubjectKeyIdentifier)
        return None if found is None else found.digest

    @cached_property
    def authority_key_id(self) -> bytes | None:
        """keyIdentifier of authorityKeyIdentifier, or None."""
        found = self._extension(x509.AuthorityKeyIdentifier)
        return None if found is None else found.key_identifier

    @cached_property
    def crl_urls(self) -> tuple[str, ...]:
        """The URLs of all CRL distribution points, in order."""
        points = self._extension(x509.CRLDistributionPoints)
        return tuple(
            name.value
            for point in points or ()
            for name in point.full_name or ()
            if isinstance(name, x509.UniformResourceIdentifier)
        )

    @cached_property
    def authority_information(self) -> tuple[tuple[str, str], ...]:
        """authorityInfoAccess as pairs of `caIssuers` or `ocsp` (or an OID) and a URL."""
        found = self._extension(x509.AuthorityInformationAccess)
        names = {
            AuthorityInformationAccessOID.CA_ISSUERS: "caIssuers",
            AuthorityInformationAccessOID.OCSP: "ocsp",
        }
        return tuple(
            (names.get(access.access_method, access.access_method.dotted_string), url.value)
            for access in found or ()
            if isinstance(url := access.access_location, x509.UniformResourceIdentifier)
        )

    @cached_property
    def critical_extensions(self) -> frozenset[str]:
        """Dotted OIDs of all critical extensions."""
        return frozenset(e.oid.dotted_string for e in self.extensions if e.critical)

    def _extension(self, kind: type[_E]) -> _E | None:
        try:
            value = self.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None
        assert isinstance(value, kind)
        return value


def _name(certificate: x509.Certificate, which: str) -> x509.Name:
    try:
        name = getattr(certificate, which)
    except (ValueError, TypeError) as error:  # TypeError: a commonName as BIT STRING
        raise UnreadableCertificate(f"the {which} cannot be read: {error}") from None
    assert isinstance(name, x509.Name)
    return name


_SHORT: Final = {NameOID.SURNAME: "SN", NameOID.GIVEN_NAME: "GN", NameOID.EMAIL_ADDRESS: "E"}


def _text(name: x509.Name) -> str:
    return name.rfc4514_string(attr_name_overrides=_SHORT)


def _address_keys(addresses: list[str]) -> tuple[str, ...]:
    keys = []
    for address in addresses:
        try:
            keys.append(address_key(address.strip()))
        except BadAddress:
            continue  # a name that is no address matches nobody
    return tuple(dict.fromkeys(keys))


def _utf8_string(der: bytes) -> str:
    try:
        return str(core.UTF8String.load(der, strict=True).native)
    except (ValueError, TypeError):
        return ""


def is_ca(certificate: Certificate) -> bool:
    """Whether it is that of a CA; one that cannot be read is not."""
    try:
        return certificate.is_ca
    except UnreadableCertificate:
        return False
