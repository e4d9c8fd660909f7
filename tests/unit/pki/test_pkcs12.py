"""PKCS#12 files of every program that mail certificates come from."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import warnings
from pathlib import Path

import pytest
from asn1crypto import algos, core, pkcs12
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smimefilter.pki import pbe
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.keyfile import KeyFile, read
from smimefilter.pki.pbe import PasswordNeeded, UnreadableKeyFile, WrongPassword
from tests.support.pki import root

VECTORS = Path(__file__).parents[2] / "vectors" / "pkcs12"
NON_ASCII = "sécret€"
DATA, ENVELOPED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.3"


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.p12").read_bytes()


def addresses(found: KeyFile) -> list[tuple[str, ...]]:
    return sorted(identity.certificate.addresses for identity in found.identities)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("openssl3", "secret"),
        ("openssl1", "secret"),
        ("rc2-128", "secret"),
        ("2key-3des", "secret"),
        ("sha512-mac", "secret"),
        ("windows", "secret"),
        ("macos", "secret"),
        ("non-ascii", NON_ASCII),
        ("empty-password", ""),
        ("empty-password", None),
        ("no-mac", "secret"),
        ("bare", "anything"),
        ("bare", None),
        ("nss", NON_ASCII),
    ],
)
def test_certificate_key_and_chain(name: str, password: str | None) -> None:
    found = read(vector(name), password)
    assert addresses(found) == [("alice@example.com",)]
    assert [one.subject for one in found.certificates if one.is_ca] == ["CN=Vector CA"]
    assert not found.refused
    assert not found.lone_keys


@pytest.mark.parametrize("name", ["keytool", "keytool-legacy"])
def test_several_keys_in_one_file(name: str) -> None:
    found = read(vector(name), "secret")
    assert addresses(found) == [("alice@example.com",), ("bob@example.com",)]
    assert len(found.certificates) == 3


def test_certificates_alone() -> None:
    found = read(vector("certificates-only"), "secret")
    assert [one.subject for one in found.certificates] == ["CN=Vector CA"]
    assert not found.identities


@pytest.mark.parametrize("name", ["openssl3", "openssl1", "macos", "keytool", "no-mac"])
@pytest.mark.parametrize("password", ["wrong", "", "Secret", NON_ASCII])
def test_wrong_password(name: str, password: str) -> None:
    with pytest.raises(WrongPassword):
        read(vector(name), password)


@pytest.mark.parametrize("name", ["openssl3", "openssl1", "no-mac"])
def test_no_password_where_there_is_one(name: str) -> None:
    with pytest.raises(PasswordNeeded):
        read(vector(name))


def test_changed_content_is_noticed() -> None:
    """The MAC is verified, not only the password proven by decrypting."""
    mac = pkcs12.Pfx.load(vector("openssl3"))["mac_data"].dump()
    with pytest.raises(WrongPassword):
        read(pfx_of(safes_of(vector("bare")), mac), "secret")


def test_password_in_the_spelling_of_old_openssl() -> None:
    """Before 1.1.0 each byte of UTF-8 became one UTF-16 unit."""
    old = NON_ASCII.encode().decode("latin-1")
    data = with_mac(vector("bare"), "sha1", f"{old}\0".encode("utf-16-be"))
    assert addresses(read(data, NON_ASCII)) == [("alice@example.com",)]


def test_pbmac1() -> None:
    """RFC 9579: a MAC whose key comes from PBKDF2."""
    safes = safes_of(vector("bare"))
    key = hashlib.pbkdf2_hmac("sha256", b"secret", b"12345678", 2048, 32)
    hmac_sha256 = sequence(oid("1.2.840.113549.2.9"), b"\x05\x00")
    pbkdf2 = sequence(octets(b"12345678"), b"\x02\x02\x08\x00", b"\x02\x01\x20", hmac_sha256)
    parameters = sequence(sequence(oid("1.2.840.113549.1.5.12"), pbkdf2), hmac_sha256)
    algorithm = sequence(oid("1.2.840.113549.1.5.14"), parameters)
    info = sequence(algorithm, octets(hmac.digest(key, safes, "sha256")))
    data = pfx_of(safes, sequence(info, octets(b"unused"), b"\x02\x01\x01"))
    assert addresses(read(data, "secret")) == [("alice@example.com",)]
    with pytest.raises(WrongPassword):
        read(data, "wrong")


@pytest.mark.parametrize("iterations", [0, -1, pbe.MOST_ITERATIONS + 1, 2**70])
def test_iterations_out_of_range_cost_nothing(iterations: int) -> None:
    pfx = pkcs12.Pfx.load(vector("openssl3"))
    pfx["mac_data"]["iterations"] = iterations
    with pytest.raises(UnreadableKeyFile, match="iteration"):
        read(pfx.dump(force=True), "secret")


def test_effort_of_a_whole_file_is_bounded() -> None:
    effort = pbe.Effort(5000)
    effort.spend(3000)
    with pytest.raises(UnreadableKeyFile, match="too much work"):
        effort.spend(3000)


def test_what_is_neither_certificate_nor_key_is_named() -> None:
    secret = bag(5, sequence(oid("1.2.3"), tagged(0xA0, octets(b"x"))))
    found = read(bags_file(certificate_bag(root().certificate), secret))
    assert len(found.certificates) == 1
    assert len(found.refused) == 1


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_bags_within_bags(depth: int) -> None:
    certificate = root().certificate
    inner = certificate_bag(certificate)
    for _ in range(depth):
        inner = bag(6, sequence(inner))
    assert read(bags_file(inner)).certificates == (certificate,)


def test_bags_nested_without_end() -> None:
    inner = certificate_bag(root().certificate)
    for _ in range(500):
        inner = bag(6, sequence(inner))
    with pytest.raises(UnreadableKeyFile):
        read(bags_file(inner))


def test_parts_encrypted_to_a_public_key_are_not_supported() -> None:
    with pytest.raises(UnreadableKeyFile, match="not supported"):
        read(pfx_of(sequence(content_info(ENVELOPED_DATA, sequence()))))


def test_crls_are_found() -> None:
    crl = root().crl()
    x509 = oid("1.2.840.113549.1.9.23.1")
    found = read(bags_file(bag(4, sequence(x509, tagged(0xA0, octets(crl))))))
    assert found.crls == (crl,)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(data=st.data())
def test_damage_is_an_error_and_nothing_else(data: st.DataObject) -> None:
    """Any few changed bytes: the file opens, or it is unreadable; nothing else happens."""
    name = data.draw(st.sampled_from(["bare", "no-mac", "openssl1", "windows"]))
    content = bytearray(vector(name))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(content) // 2, len(content)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of certificates that are not what they should be
        with contextlib.suppress(UnreadableKeyFile):
            read(bytes(content[:cut]), "secret")


# making files by hand, from DER


def sequence(*parts: bytes) -> bytes:
    return tagged(0x30, b"".join(parts))


def tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    head = bytes([size]) if size < 0x80 else bytes([0x80 | len(octets)]) + octets
    return bytes([tag]) + head + content


def oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def octets(content: bytes) -> bytes:
    return tagged(0x04, content)


def content_info(kind: str, content: bytes) -> bytes:
    return sequence(oid(kind), tagged(0xA0, content))


def bag(kind: int, content: bytes) -> bytes:
    return sequence(oid(f"1.2.840.113549.1.12.10.1.{kind}"), tagged(0xA0, content))


def pfx_of(safes: bytes, mac: bytes = b"") -> bytes:
    return sequence(b"\x02\x01\x03", content_info(DATA, octets(safes)), mac)


def bags_file(*bags: bytes) -> bytes:
    return pfx_of(sequence(content_info(DATA, octets(sequence(*bags)))))


def safes_of(data: bytes) -> bytes:
    return bytes(pkcs12.Pfx.load(data)["auth_safe"]["content"].native)


def certificate_bag(certificate: Certificate) -> bytes:
    x509 = oid("1.2.840.113549.1.9.22.1")
    return bag(3, sequence(x509, tagged(0xA0, octets(certificate.der))))


def with_mac(data: bytes, digest: str, password: bytes) -> bytes:
    safes = safes_of(data)
    length = hashlib.new(digest).digest_size
    key = pbe.pkcs12_kdf(digest, password, b"salt", 3, 10, length, pbe.Effort())
    algorithm = bytes(algos.DigestAlgorithm({"algorithm": digest}).dump())
    info = sequence(algorithm, octets(hmac.digest(key, safes, digest)))
    return pfx_of(safes, sequence(info, octets(b"salt"), b"\x02\x01\x0a"))
