"""What a certificate says, and what becomes of one that cannot be read."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.pki.certificate import LARGEST, Certificate, UnreadableCertificate
from tests.support.pki import NOW, YEAR, key_of, root

VECTORS = Path(cryptography_vectors.__file__).parent / "x509"
CA = root("Test Root")
ALICE = CA.issue("Alice", mail="alice@example.com").certificate


def hand_made(*extensions: x509.ExtensionType, subject: x509.Name | None = None) -> Certificate:
    """A self-signed certificate with exactly these extensions."""
    key = key_of("p256", "hand made")
    name = (
        subject
        if subject is not None
        else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hand Made")])
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())  # type: ignore[arg-type]
        .serial_number(0xABC)
        .not_valid_before(NOW)
        .not_valid_after(NOW + YEAR)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    return Certificate.read(signed.public_bytes(Encoding.DER))


def vector(name: str) -> bytes:
    content = (VECTORS / name).read_bytes()
    if name.endswith(".pem"):
        return x509.load_pem_x509_certificate(content).public_bytes(Encoding.DER)
    return content


# identity


def test_thumbprints() -> None:
    assert ALICE.thumbprint == hashlib.sha512(ALICE.der).hexdigest()
    assert ALICE.sha256 == hashlib.sha256(ALICE.der).hexdigest()
    assert ALICE.sha1 == hashlib.sha1(ALICE.der).hexdigest()  # noqa: S324 - a name, no proof


def test_equal_by_bytes() -> None:
    again = Certificate(bytes(bytearray(ALICE.der)))
    assert again == ALICE
    assert hash(again) == hash(ALICE)
    assert again != CA.certificate
    assert again != ALICE.der


def test_making_one_parses_nothing() -> None:
    assert Certificate(b"junk").der == b"junk"
    assert "parsed" not in vars(Certificate(ALICE.der))


def test_known_facts_are_not_read_again() -> None:
    known = Certificate.known(b"junk", subject="CN=X", is_ca=True, validity=(NOW, NOW + YEAR))
    assert (known.subject, known.is_ca) == ("CN=X", True)
    assert (known.not_before, known.not_after) == (NOW, NOW + YEAR)
    with pytest.raises(UnreadableCertificate):
        _ = known.issuer


def test_names_and_serial() -> None:
    certificate = hand_made()
    assert certificate.subject == certificate.issuer == "CN=Hand Made"
    assert certificate.common_name == "Hand Made"
    assert certificate.serial_hex == "abc"
    assert certificate.is_self_issued
    assert not ALICE.is_self_issued
    assert ALICE.issuer_der == CA.certificate.subject_der


def test_no_common_name() -> None:
    assert hand_made(subject=x509.Name([])).common_name == ""


def test_validity() -> None:
    certificate = hand_made()
    assert (certificate.not_before, certificate.not_after) == (NOW, NOW + YEAR)
    assert certificate.not_after.tzinfo is UTC


# addresses


def test_addresses_of_every_place() -> None:
    other = x509.OtherName(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c\x13m\xc3\xbcller@example.com"
    )
    names = x509.SubjectAlternativeName([other, x509.RFC822Name("Alice@Example.COM")])
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "old@example.com"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "alice@example.com"),
        ]
    )
    certificate = hand_made(names, subject=subject)
    assert certificate.alternative_addresses == ("alice@example.com", "müller@example.com")
    assert certificate.subject_addresses == ("old@example.com", "alice@example.com")
    assert certificate.addresses == (
        "alice@example.com", "müller@example.com", "old@example.com",
    )  # fmt: skip


def test_what_is_no_address_matches_nobody() -> None:
    other = [
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), der)
        for der in (b"\x04\x01x", b"\x05\x00", b"\x0c\x01x")
    ]
    upn = x509.OtherName(
        x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x0da@example.com"
    )
    names = x509.SubjectAlternativeName(
        [*other, upn, x509.DNSName("example.com"), x509.RFC822Name("nobody")]
    )
    assert hand_made(names).addresses == ()


def test_internationalised_domain() -> None:
    names = x509.SubjectAlternativeName([x509.RFC822Name("info@xn--bcher-kva.example")])
    assert hand_made(names).addresses == ("info@xn--bcher-kva.example",)


# key


@pytest.mark.parametrize(
    ("kind", "algorithm", "size", "curve"),
    [
        ("rsa2048", "rsa", 2048, ""),
        ("p256", "ec", 256, "secp256r1"),
        ("p521", "ec", 521, "secp521r1"),
        ("ed25519", "ed25519", 0, ""),
        ("x25519", "x25519", 0, ""),
    ],
)
def test_keys(kind: str, algorithm: str, size: int, curve: str) -> None:
    certificate = CA.issue("K", key=kind).certificate
    found = (certificate.key_algorithm, certificate.key_size, certificate.curve)
    assert found == (algorithm, size, curve)


def test_signature_algorithm() -> None:
    assert ALICE.signature_algorithm == "1.2.840.113549.1.1.11"


# extensions


def test_usages() -> None:
    assert ALICE.key_usage == {"digitalSignature", "keyEncipherment"}
    assert ALICE.extended_key_usage == {"1.3.6.1.5.5.7.3.4"}
    assert hand_made().key_usage is None
    assert hand_made().extended_key_usage is None
    assert CA.certificate.key_usage == {"keyCertSign", "cRLSign"}


@pytest.mark.parametrize("usage", ["dataEncipherment", "nonRepudiation", "keyAgreement"])
def test_each_key_usage_has_its_name(usage: str) -> None:
    certificate = CA.issue("K", key_usage=frozenset({usage})).certificate
    assert certificate.key_usage == {usage}


def test_who_is_a_ca() -> None:
    assert CA.certificate.is_ca
    assert not ALICE.is_ca
    assert not hand_made().is_ca
    assert Certificate(vector("v1_cert.pem")).is_ca is False  # version 1, issued by another


def test_key_identifiers() -> None:
    assert ALICE.authority_key_id == CA.certificate.subject_key_id
    assert ALICE.subject_key_id != CA.certificate.subject_key_id
    assert hand_made().subject_key_id is None
    assert hand_made().authority_key_id is None


def test_urls() -> None:
    points = x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(
                [x509.UniformResourceIdentifier(url), x509.DNSName("x")], None, None, None
            )
            for url in ("http://a.example/1.crl", "ldap://b.example/cn=x")
        ]
    )
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
            for method, url in (
                (AuthorityInformationAccessOID.OCSP, "http://ocsp.example"),
                (AuthorityInformationAccessOID.CA_ISSUERS, "http://ca.example/ca.cer"),
                (x509.ObjectIdentifier("1.2.3"), "http://other.example"),
            )
        ]
    )
    certificate = hand_made(points, access)
    assert certificate.crl_urls == ("http://a.example/1.crl", "ldap://b.example/cn=x")
    assert certificate.authority_information == (
        ("ocsp", "http://ocsp.example"),
        ("caIssuers", "http://ca.example/ca.cer"),
        ("1.2.3", "http://other.example"),
    )
    assert hand_made().crl_urls == ()


def test_critical_extensions() -> None:
    odd = CA.issue("Odd", unknown_critical=True).certificate
    assert len(odd.critical_extensions - ALICE.critical_extensions) == 1


# what cannot be read


@pytest.mark.parametrize(
    "name",
    [
        "custom/two_basic_constraints.pem",
        "custom/malformed-san.pem",
        "custom/invalid_utf8_common_name.pem",
        "custom/unsupported_subject_public_key_info.pem",
        "custom/cp_invalid.pem",
        "badssl-sct-none-hash.der",
        "e-trust.ru.der",
    ],
)
def test_malformed_certificates(name: str) -> None:
    with pytest.raises(UnreadableCertificate):
        Certificate.read(vector(name))


@pytest.mark.parametrize("der", [b"", b"junk", b"0\x00", ALICE.der[:-1], ALICE.der + b"\0"])
def test_no_certificate(der: bytes) -> None:
    with pytest.raises(UnreadableCertificate):
        Certificate.read(der)


def test_a_version_that_does_not_exist() -> None:
    pem = (VECTORS / "custom" / "invalid_version.pem").read_text()
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    with pytest.raises(UnreadableCertificate):
        Certificate.read(der)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(ALICE.der) - 1), st.integers(0, 255))
def test_one_changed_byte_is_read_or_unreadable(position: int, value: int) -> None:
    der = bytearray(ALICE.der)
    der[position] = value
    try:
        certificate = Certificate.read(bytes(der))
    except UnreadableCertificate:
        return
    assert certificate.not_before < datetime.max.replace(tzinfo=UTC)


def test_what_the_library_has_no_word_for_is_unreadable() -> None:
    """A commonName as BIT STRING, which raises a TypeError there."""
    der = root("Bits").certificate.der
    name = bytes.fromhex("0603550403") + b"\x0c\x04Bits"
    assert der.count(name) == 2
    odd = Certificate(der.replace(name, bytes.fromhex("0603550403") + b"\x03\x04\0its"))
    for fact in ("subject", "issuer_der", "common_name"):
        with pytest.raises(UnreadableCertificate):
            getattr(odd, fact)
    with pytest.raises(UnreadableCertificate):
        Certificate.read(odd.der)


def test_a_certificate_as_large_as_nobody_needs() -> None:
    der = root("Large").certificate.der
    with pytest.raises(UnreadableCertificate, match="larger than 64 KiB"):
        Certificate.read(der + bytes(LARGEST))
