"""Building certificates and CRLs: what a CA puts its signature under.

`issue` makes root, intermediate and end-user certificates from a `Profile`; `build_crl` makes
a full CRL. Randomness (serials, keys) comes from the system; time is an argument.

Leaves asking for, storing and sending certificates to `flow/`. RFC 5280 §4 and §5, key usage
of end users by algorithm as RFC 8551 and the S/MIME baseline requirements have it.
Raises `ValueError` for a profile that makes no sense.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast, get_args

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    padding,
    rsa,
    x448,
    x25519,
)
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
    PrivateKeyTypes,
)
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from smimefilter.base.address import address_key, domain_of

from . import tlv
from .certificate import KEY_USAGES, SMTP_UTF8_MAILBOX, Certificate

KEY_KINDS: Final[dict[str, Callable[[], PrivateKeyTypes]]] = {
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - made to be refused
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "x25519": x25519.X25519PrivateKey.generate,
    "x448": x448.X448PrivateKey.generate,
}
_Digest = hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512
DIGESTS: Final[dict[str, type[_Digest]]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
SHA1: Final = "sha1"  # for certificates alone, and for those who insist
CA_USAGE: Final = frozenset({"keyCertSign", "cRLSign"})
_WITHOUT_HASH: Final = (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its private key and the certificates above it, nearest first."""

    certificate: Certificate
    key: PrivateKeyTypes
    chain: tuple[Certificate, ...] = ()

    def __repr__(self) -> str:
        return f"<Identity {self.certificate!r}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a certificate shall say. None for a usage means: by the kind of key (end users) or
    the CA's usual one; an empty set leaves the extension out."""

    common_name: str
    not_before: datetime
    not_after: datetime
    addresses: tuple[str, ...] = ()
    organisation: str = ""
    given_name: str = ""
    surname: str = ""
    ca: bool = False
    path_length: int | None = None
    key_usage: frozenset[str] | None = None
    extended_key_usage: frozenset[str] | None = None  # dotted OIDs
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()  # caIssuers
    permitted_addresses: tuple[str, ...] = ()  # name constraints on rfc822Name
    excluded_addresses: tuple[str, ...] = ()
    unknown_critical: bool = False  # adds a critical extension nobody knows (for tests)
    serial: int | None = None
    digest: str = "sha256"
    address_in_subject: bool = False


def generate_key(kind: str) -> PrivateKeyTypes:
    """A new private key of a kind in `KEY_KINDS`. Raises `ValueError` for another."""
    try:
        return KEY_KINDS[kind]()
    except KeyError:
        raise ValueError(
            f"no such kind of key: {kind}; one of {', '.join(KEY_KINDS)}"
        ) from None


def issue(profile: Profile, key: PrivateKeyTypes, issuer: Identity | None = None) -> Identity:
    """An identity for `key`, signed by `issuer`, or by itself when there is none."""
    signer = issuer or Identity(Certificate(b""), key)
    certificate = certify(profile, _public(key), signer, self_signed=issuer is None)
    chain = (issuer.certificate, *issuer.chain) if issuer else ()
    return Identity(certificate, key, chain)


def certify(
    profile: Profile,
    public: CertificatePublicKeyTypes,
    signer: Identity,
    *,
    self_signed: bool = False,
) -> Certificate:
    """A certificate for a public key, signed by `signer`; `self_signed`: in its own name, and
    the certificate of `signer` is not looked at."""
    issuer = None if self_signed else signer
    subject = _subject(profile)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.parsed.subject if issuer else subject)
        .public_key(public)
        .serial_number(profile.serial or random_serial())
        .not_valid_before(profile.not_before)
        .not_valid_after(profile.not_after)
    )
    for extension, critical in _extensions(profile, public, issuer):
        builder = builder.add_extension(extension, critical)
    if profile.digest == SHA1:
        signed = builder.sign(*signing_digest(signer.key, "sha256"))
        return Certificate(_signed_with_sha1(signed.public_bytes(Encoding.DER), signer.key))
    signed = builder.sign(*signing_digest(signer.key, profile.digest))
    return Certificate(signed.public_bytes(Encoding.DER))


def _signed_with_sha1(der: bytes, key: PrivateKeyTypes) -> bytes:
    """A certificate signed anew, as `cryptography` rightly does not."""
    weak = hashes.SHA1()  # noqa: S303 - asked for, and refused unless forced
    certificate = asn1_x509.Certificate.load(der)
    name = "sha1_rsa" if isinstance(key, rsa.RSAPrivateKey) else "sha1_ecdsa"
    algorithm = {"algorithm": name}
    certificate["tbs_certificate"]["signature"] = algorithm
    signed = certificate["tbs_certificate"].dump(force=True)
    match key:
        case rsa.RSAPrivateKey():
            signature = key.sign(signed, padding.PKCS1v15(), weak)
        case ec.EllipticCurvePrivateKey():
            signature = key.sign(signed, ec.ECDSA(weak))
        case _:
            raise ValueError("this kind of key does not sign with SHA-1")
    certificate["signature_algorithm"] = algorithm
    certificate["signature_value"] = signature
    return bytes(certificate.dump(force=True))


def random_serial() -> int:
    """A serial number: 128 random bits behind a one, so that all are of one length."""
    return 1 << 128 | secrets.randbits(128)


@dataclass(frozen=True, slots=True)
class Revoked:
    """An entry of a CRL to be."""

    serial: int
    when: datetime
    reason: str = ""  # a word of `CRL_REASONS`


CRL_REASONS: Final = {
    reason.value: reason for reason in x509.ReasonFlags
    if reason is not x509.ReasonFlags.remove_from_crl
}  # fmt: skip


def build_crl(
    issuer: Identity,
    revoked: Iterable[tuple[int, datetime] | Revoked],
    *,
    this_update: datetime,
    next_update: datetime,
    number: int = 1,
    digest: str = "sha256",
) -> bytes:
    """A full CRL, DER; `revoked` are serial numbers and revocation times, or entries."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.parsed.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(issuer.certificate), critical=False)
    )
    for one in revoked:
        found = one if isinstance(one, Revoked) else Revoked(*one)
        entry = x509.RevokedCertificateBuilder(found.serial, found.when)
        if found.reason and found.reason != "unspecified":  # RFC 5280 §5.3.1: left out then
            reason = x509.CRLReason(CRL_REASONS[found.reason])
            entry = entry.add_extension(reason, critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(*signing_digest(issuer.key, digest))
    return signed.public_bytes(Encoding.DER)


def _subject(profile: Profile) -> x509.Name:
    parts = [
        (NameOID.ORGANIZATION_NAME, profile.organisation),
        (NameOID.GIVEN_NAME, profile.given_name),
        (NameOID.SURNAME, profile.surname),
        (NameOID.COMMON_NAME, profile.common_name),
    ]
    attributes = [x509.NameAttribute(oid, value) for oid, value in parts if value]
    if profile.address_in_subject:
        attributes += [
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, address) for address in profile.addresses
        ]
    return x509.Name(attributes)


def _extensions(
    profile: Profile, public: CertificatePublicKeyTypes, issuer: Identity | None
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    yield x509.BasicConstraints(ca=profile.ca, path_length=profile.path_length), profile.ca
    yield x509.SubjectKeyIdentifier.from_public_key(public), False
    if issuer:
        yield _authority_key(issuer.certificate), False
    usage = _usage_by_key(public) if profile.key_usage is None else profile.key_usage
    if profile.ca and profile.key_usage is None:
        usage = CA_USAGE
    if usage:
        yield _key_usage(usage), True
    extended = profile.extended_key_usage
    if extended is None and not profile.ca:
        extended = frozenset({ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string})
    if extended:
        oids = [x509.ObjectIdentifier(oid) for oid in sorted(extended)]
        yield x509.ExtendedKeyUsage(oids), False
    if profile.addresses:
        names = [general_name(address) for address in profile.addresses]
        yield x509.SubjectAlternativeName(names), False
    if profile.permitted_addresses or profile.excluded_addresses:
        yield (
            x509.NameConstraints(
                [x509.RFC822Name(name) for name in profile.permitted_addresses] or None,
                [x509.RFC822Name(name) for name in profile.excluded_addresses] or None,
            ),
            True,
        )
    yield from _elsewhere(profile)
    if profile.unknown_critical:
        yield x509.UnrecognizedExtension(_UNKNOWN_EXTENSION, b"\x05\x00"), True


_UNKNOWN_EXTENSION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")


def _elsewhere(profile: Profile) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """Where more about the certificate is to be had."""
    if profile.crl_urls:
        yield x509.CRLDistributionPoints([_point(url) for url in profile.crl_urls]), False
    if access := [*_access(profile)]:
        yield x509.AuthorityInformationAccess(access), False


def _access(profile: Profile) -> Iterator[x509.AccessDescription]:
    for method, urls in (
        (AuthorityInformationAccessOID.OCSP, profile.ocsp_urls),
        (AuthorityInformationAccessOID.CA_ISSUERS, profile.issuer_urls),
    ):
        for url in urls:
            yield x509.AccessDescription(method, x509.UniformResourceIdentifier(url))


def _usage_by_key(public: CertificatePublicKeyTypes) -> frozenset[str]:
    match public:
        case rsa.RSAPublicKey():
            return frozenset({"digitalSignature", "keyEncipherment"})
        case ec.EllipticCurvePublicKey():
            return frozenset({"digitalSignature", "keyAgreement"})
        case x25519.X25519PublicKey() | x448.X448PublicKey():
            return frozenset({"keyAgreement"})
        case _:
            return frozenset({"digitalSignature"})


def _key_usage(names: frozenset[str]) -> x509.KeyUsage:
    unknown = names - set(KEY_USAGES.values())
    if unknown:
        raise ValueError(f"no such key usage: {', '.join(sorted(unknown))}")
    bits = {field: name in names for field, name in KEY_USAGES.items()}
    return x509.KeyUsage(**bits, encipher_only=False, decipher_only=False)


def general_name(address: str) -> x509.GeneralName:
    """rfc822Name where the local part is ASCII, SmtpUTF8Mailbox (RFC 9598) where not."""
    local = address.rpartition("@")[0]
    domain = domain_of(address_key(address))
    if local.isascii():
        return x509.RFC822Name(f"{local}@{domain}")
    text = f"{local}@{domain}".encode()
    return x509.OtherName(SMTP_UTF8_MAILBOX, tlv.written(tlv.UTF8_STRING, text))


def _point(url: str) -> x509.DistributionPoint:
    return x509.DistributionPoint(
        [x509.UniformResourceIdentifier(url)], relative_name=None, reasons=None, crl_issuer=None
    )


def _authority_key(issuer: Certificate) -> x509.AuthorityKeyIdentifier:
    key_id = issuer.subject_key_id
    if key_id is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(_issuing_public(issuer))
    return x509.AuthorityKeyIdentifier(key_id, None, None)


def _issuing_public(issuer: Certificate) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    key = issuer.public_key
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise ValueError("this kind of key does not issue certificates")  # noqa: TRY004
    return key


def _public(key: PrivateKeyTypes) -> CertificatePublicKeyTypes:
    public = key.public_key()
    if not isinstance(public, get_args(CertificatePublicKeyTypes)):
        raise ValueError("a certificate cannot carry this kind of key")  # noqa: TRY004
    return cast("CertificatePublicKeyTypes", public)


def _issuing(key: PrivateKeyTypes) -> CertificateIssuerPrivateKeyTypes:
    if not isinstance(key, get_args(CertificateIssuerPrivateKeyTypes)):
        raise ValueError("this kind of key does not sign certificates")  # noqa: TRY004
    return cast("CertificateIssuerPrivateKeyTypes", key)


def signing_digest(
    key: PrivateKeyTypes, digest: str
) -> tuple[CertificateIssuerPrivateKeyTypes, _Digest | None]:
    """A key as one that signs, and the digest it does that with. Raises `ValueError`."""
    signer = _issuing(key)
    return signer, None if isinstance(key, _WITHOUT_HASH) else DIGESTS[digest]()
