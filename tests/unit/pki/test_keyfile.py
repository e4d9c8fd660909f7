"""Import formats, told by their content."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
)
from cryptography.x509 import CertificateSigningRequestBuilder, Name
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.keyfile import (
    PasswordNeeded,
    UnreadableKeyFile,
    WrongPassword,
    read,
)
from smimefilter.pki.privatekey import belongs_together
from tests.support.needs import need
from tests.support.pki import key_of, root

CA = root()
SUB = CA.issue("Sub", ca=True)
ALICE = SUB.issue("Alice", mail="alice@example.com")
BOB = SUB.issue("Bob", mail="bob@example.com", key="p256")
CRL = CA.crl([1, 2])
CHAIN = [one.certificate for one in (ALICE, SUB, CA)]
PEM = b"".join(one.parsed.public_bytes(Encoding.PEM) for one in CHAIN)


def key_pem(
    key: object = ALICE.key,
    form: PrivateFormat = PrivateFormat.PKCS8,
    protection: KeySerializationEncryption | None = None,
    encoding: Encoding = Encoding.PEM,
) -> bytes:
    return key.private_bytes(encoding, form, protection or NoEncryption())  # type: ignore[attr-defined]


def armoured(label: str, der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return f"-----BEGIN {label}-----\n".encode() + body + f"-----END {label}-----\n".encode()


# certificates


@pytest.mark.parametrize(
    "data",
    [
        PEM,
        PEM.replace(b"\n", b"\r\n"),
        PEM.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + PEM,
        PEM.decode().encode("utf-16"),
        b"Subject: Alice\nBag Attributes\n" + PEM.replace(b"-----BEGIN", b"\ntext\n-----BEGIN"),
        b"".join(one.der for one in CHAIN),
        b"\n".join(one.der for one in CHAIN),
        b"".join(armoured("X509 CERTIFICATE", one.der) for one in CHAIN),
        b"".join(armoured("TRUSTED CERTIFICATE", one.der + b"\x30\x00") for one in CHAIN),
        pkcs7.serialize_certificates([one.parsed for one in CHAIN], Encoding.DER),
        pkcs7.serialize_certificates([one.parsed for one in CHAIN], Encoding.PEM),
        armoured(
            "CERTIFICATE",
            pkcs7.serialize_certificates([one.parsed for one in CHAIN], Encoding.DER),
        ),
        base64.b64encode(
            pkcs7.serialize_certificates([one.parsed for one in CHAIN], Encoding.DER)
        ),
        PEM + PEM,
    ],
    ids=[
        "PEM", "CRLF", "CR", "BOM", "UTF-16", "text around", "DER series", "DER lines",
        "X509", "TRUSTED", "PKCS#7 DER", "PKCS#7 PEM", "PKCS#7 labelled CERTIFICATE",
        "bare base64", "twice",
    ],
)  # fmt: skip
def test_certificates(data: bytes) -> None:
    found = read(data)
    assert set(found.certificates) == set(CHAIN)
    assert len(found.certificates) == 3
    assert not found.refused


@pytest.mark.parametrize(
    "data",
    [
        b" " * 1_000_000 + b"!",
        b"A" * 1_000_000 + b"!",
        b"-----BEGIN X-----\n" * 50_000,
        b"\n" * 1_000_000 + b"-----BEGIN ",
        (b"0\x02\x05\x00" * 20_000),
        b"0\x80" * 200_000,
    ],
    ids=["spaces", "letters", "begins", "lines", "values", "indefinite"],
)
def test_no_file_takes_long(data: bytes) -> None:
    before = time.process_time()
    with pytest.raises(UnreadableKeyFile) as caught:
        read(data)
    assert time.process_time() - before < 5
    assert len(str(caught.value)) < 300


def test_order_is_kept() -> None:
    assert list(read(PEM).certificates) == CHAIN


def test_one_der_certificate() -> None:
    assert read(ALICE.certificate.der).certificates == (ALICE.certificate,)


@pytest.mark.parametrize("name", ["amazon-roots.der", "amazon-roots.p7b", "isrg.pem"])
def test_pkcs7_of_others(name: str) -> None:
    path = Path(cryptography_vectors.__file__).parent / "pkcs7" / name
    assert read(path.read_bytes()).certificates


def test_certificates_of_a_signature() -> None:
    """A signed message's PKCS#7 carries its signer's certificate."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(b"text")
    builder = builder.add_signer(ALICE.certificate.parsed, ALICE.key, hashes.SHA256())  # type: ignore[arg-type]
    signature = builder.sign(Encoding.DER, [])
    assert read(signature).certificates == (ALICE.certificate,)


@pytest.mark.parametrize("encode", [bytes, lambda der: armoured("X509 CRL", der)])
def test_crl(encode: type) -> None:
    assert read(encode(CRL)).crls == (CRL,)


def test_a_broken_certificate_does_not_spoil_the_others() -> None:
    broken = bytearray(BOB.certificate.der)
    broken[4] ^= 1  # what is signed becomes a SET
    data = PEM + armoured("CERTIFICATE", bytes(broken)) + armoured("X509 CRL", CRL)
    found = read(data)
    assert list(found.certificates) == CHAIN
    assert found.crls == (CRL,)
    assert [one.what for one in found.refused] == ["CERTIFICATE (block 4)"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pem: pem.replace(b"-----END CERTIFICATE-----", b"", 1),
        lambda pem: pem.replace(b"MII", b"M!I", 1),
        lambda pem: pem.replace(b"-----END CERTIFICATE-----", b"-----END X-----", 1),
    ],
)
def test_a_damaged_block_is_refused_alone(spoil: type) -> None:
    found = read(spoil(PEM))
    assert list(found.certificates) == CHAIN[1:]
    assert len(found.refused) == 1


# files that give nothing


def request() -> bytes:
    builder = CertificateSigningRequestBuilder().subject_name(Name([]))
    return builder.sign(BOB.key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \r\n",
        b"\xef\xbb\xbf",
        b"hello",
        b"\x00\x01\x02",
        b"0",
        b"0\x82",
        b"0\x00",
        b"0\x80",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        ALICE.certificate.der[:-1],
        ALICE.certificate.der[:200],
        b"AAAA",
        b"<html>MIIB</html>",
        request(),
        armoured("CERTIFICATE REQUEST", b"0\x00"),
        armoured("EC PARAMETERS", b"\x06\x00"),
        ALICE.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ALICE.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key_pem(BOB.key, PrivateFormat.OpenSSH),
    ],
)
def test_nothing_in_it(data: bytes) -> None:
    with pytest.raises(UnreadableKeyFile):
        read(data, "secret")


def test_errors_are_one_line() -> None:
    broken = bytearray(BOB.certificate.der)
    broken[4] ^= 1  # what is signed becomes a SET
    with pytest.raises(UnreadableKeyFile) as caught:
        read(bytes(broken))
    assert "\n" not in str(caught.value)
    assert "ParseError" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: b"0" + b))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = read(data, "secret")
    except UnreadableKeyFile:
        return
    assert found.certificates or found.lone_keys or found.crls


# keys


@pytest.mark.parametrize(
    "kind", ["rsa2048", "p256", "p384", "p521", "ed25519", "ed448", "x25519", "x448"]
)
def test_every_kind_of_key_finds_its_certificate(kind: str) -> None:
    carol = CA.issue("Carol", mail="carol@example.com", key=kind)
    data = PEM + armoured("CERTIFICATE", carol.certificate.der) + key_pem(carol.key)
    found = read(data)
    assert [one.certificate for one in found.identities] == [carol.certificate]
    assert not found.lone_keys


@pytest.mark.parametrize(
    "data",
    [
        key_pem(),
        key_pem(encoding=Encoding.DER),
        key_pem(form=PrivateFormat.TraditionalOpenSSL),
        key_pem(form=PrivateFormat.TraditionalOpenSSL, encoding=Encoding.DER),
        key_pem(BOB.key, PrivateFormat.TraditionalOpenSSL),
        key_pem(BOB.key, PrivateFormat.TraditionalOpenSSL, encoding=Encoding.DER),
        armoured("EC PARAMETERS", b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")
        + key_pem(BOB.key, PrivateFormat.TraditionalOpenSSL),
    ],
    ids=["PKCS8 PEM", "PKCS8 DER", "PKCS1 PEM", "PKCS1 DER", "SEC1 PEM", "SEC1 DER", "params"],
)
def test_keys_in_clear(data: bytes) -> None:
    found = read(data)
    assert len(found.lone_keys) == 1
    assert not found.refused


@pytest.mark.parametrize(
    "data",
    [
        key_pem(protection=BestAvailableEncryption(b"secret")),
        key_pem(protection=BestAvailableEncryption(b"secret"), encoding=Encoding.DER),
        key_pem(
            ALICE.key, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
        ),
        key_pem(
            ALICE.key, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
        ).replace(b"\n", b"\r\n"),
    ],
    ids=["PKCS8 PEM", "PKCS8 DER", "old PEM", "old PEM CRLF"],
)
def test_encrypted_keys(data: bytes) -> None:
    assert len(read(data, "secret").lone_keys) == 1
    with pytest.raises(PasswordNeeded):
        read(data)
    for wrong in ("", "wrong"):
        with pytest.raises(WrongPassword):
            read(data, wrong)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("rsa-pbewithmd5anddescbc.pem", "hunter2"),
        ("rsa-pbe-3des-long-salt.pem", "password"),
        ("enc-rsa-3des.pem", "password"),
        ("pkcs12_s2k_pem-X_9607.pem", "123456"),
    ],
)
def test_keys_in_encryptions_of_old(name: str, password: str) -> None:
    path = Path(cryptography_vectors.__file__).parent / "asymmetric" / "PKCS8" / name
    assert len(read(path.read_bytes(), password).lone_keys) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("-scrypt",),
        ("-v2", "des3"),
        ("-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"),
        ("-v1", "PBE-SHA1-RC2-40", "-provider", "legacy", "-provider", "default"),
        ("-v1", "PBE-MD5-DES", "-provider", "legacy", "-provider", "default"),
        ("-v1", "PBE-SHA1-DES", "-provider", "legacy", "-provider", "default"),
    ],
)
def test_keys_encrypted_by_openssl(options: tuple[str, ...]) -> None:
    command = [need("openssl"), "pkcs8", "-topk8", "-passout", "pass:secret", *options]
    made = subprocess.run(command, input=key_pem(BOB.key), capture_output=True, check=True)
    assert len(read(made.stdout, "secret").lone_keys) == 1


def test_one_key_of_two_certificates() -> None:
    """A renewed certificate with the old key: both have it."""
    renewed = SUB.issue("Alice", mail="alice@example.com", key=ALICE.key)
    data = PEM + armoured("CERTIFICATE", renewed.certificate.der) + key_pem()
    found = read(data)
    assert {one.certificate for one in found.identities} == {
        ALICE.certificate,
        renewed.certificate,
    }


def test_a_key_without_its_certificate() -> None:
    found = read(PEM + key_pem(BOB.key))
    assert not found.identities
    assert len(found.lone_keys) == 1


def test_keys_that_mail_does_not_use() -> None:
    key = dsa.generate_private_key(1024)  # noqa: S505 - made to be refused
    found = read(PEM + key_pem(key))
    assert not found.lone_keys
    assert len(found.refused) == 1


def test_a_key_whose_parts_do_not_fit_is_refused() -> None:
    numbers = bytearray(key_pem(encoding=Encoding.DER))
    numbers[-20] ^= 1  # within the coefficient
    found = read(PEM + armoured("PRIVATE KEY", bytes(numbers)))
    assert not found.identities
    assert len(found.refused) == 1


def test_keys_are_left_alone_when_not_asked_for() -> None:
    protected = key_pem(protection=BestAvailableEncryption(b"secret"))
    found = read(PEM + key_pem() + protected, keys=False)
    assert list(found.certificates) == CHAIN
    assert not found.identities
    assert len(found.refused) == 2
    vectors = Path(__file__).parents[2] / "vectors" / "pkcs12"
    with pytest.raises(UnreadableKeyFile, match="import it as keys"):
        read((vectors / "openssl3.p12").read_bytes(), keys=False)


def test_no_secret_in_representations() -> None:
    found = read(PEM + key_pem())
    assert "PRIVATE" not in repr(found)
    assert base64.b64encode(key_pem(encoding=Encoding.DER)[40:60]).decode() not in repr(found)


def test_belonging_together() -> None:
    assert belongs_together(ALICE.certificate, ALICE.key)
    assert not belongs_together(ALICE.certificate, BOB.key)
    assert not belongs_together(ALICE.certificate, key_of("rsa2048", "somebody else"))
    assert not belongs_together(Certificate(b"junk"), ALICE.key)
