"""Exported files are read back, by us and by other programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from smimefilter.pki import export
from smimefilter.pki.export import CannotExport
from smimefilter.pki.keyfile import WrongPassword, read
from tests.support.needs import need
from tests.support.pki import root

CA = root("Test Root")
SUB = CA.issue("Sub", ca=True)
ALICE = SUB.issue("Älice", mail="alice@example.com", key="p256")
CHAIN = [ALICE.certificate, *ALICE.chain]
PASSWORD = "sécret"


def test_certificates_in_every_format() -> None:
    assert list(read(export.certificates_pem(CHAIN)).certificates) == CHAIN
    assert set(read(export.certificates_pkcs7(CHAIN)).certificates) == set(CHAIN)
    assert set(read(export.certificates_pkcs7(CHAIN, pem=True)).certificates) == set(CHAIN)
    assert export.certificate_der(CHAIN[:1]) == ALICE.certificate.der


@pytest.mark.parametrize("count", [0, 2])
def test_der_holds_one(count: int) -> None:
    with pytest.raises(CannotExport):
        export.certificate_der(CHAIN[:count])


def test_no_certificate_is_no_pkcs7() -> None:
    with pytest.raises(CannotExport):
        export.certificates_pkcs7([])


def test_a_name_cannot_write_into_the_file() -> None:
    name = "X\n-----BEGIN CERTIFICATE-----\nAAAA"
    odd = CA.issue(name).certificate
    assert odd.common_name == name
    found = read(export.certificates_pem([odd]))
    assert found.certificates == (odd,)
    assert not found.refused


@pytest.mark.parametrize("old", [False, True])
def test_pkcs12(old: bool) -> None:
    data = export.identity_pkcs12(ALICE.identity, PASSWORD, name="Älice", old=old)
    found = read(data, PASSWORD)
    assert [one.certificate for one in found.identities] == [ALICE.certificate]
    assert set(found.certificates) == set(CHAIN)
    with pytest.raises(WrongPassword):
        read(data, "wrong")


@pytest.mark.parametrize(
    ("old", "scheme"), [(False, "AES-256-CBC"), (True, "pbeWithSHA1And3-KeyTripleDES-CBC")]
)
def test_openssl_reads_it(tmp_path: Path, old: bool, scheme: str) -> None:
    path = tmp_path / "alice.p12"
    path.write_bytes(export.identity_pkcs12(ALICE.identity, PASSWORD, name="Älice", old=old))
    command = [need("openssl"), "pkcs12", "-in", path, "-info", "-nodes"]
    done = subprocess.run(
        [*command, "-passin", f"pass:{PASSWORD}"], capture_output=True, check=True
    )
    assert done.stdout.count(b"BEGIN CERTIFICATE") == 3
    assert done.stdout.count(b"BEGIN PRIVATE KEY") == 1
    assert scheme.encode() in done.stderr


def test_nss_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "alice.p12"
    path.write_bytes(export.identity_pkcs12(ALICE.identity, "secret", name="alice"))
    database = f"sql:{tmp_path}"
    create = [need("certutil"), "-N", "-d", database, "--empty-password"]
    subprocess.run(create, check=True, capture_output=True)
    put = [need("pk12util"), "-i", path, "-d", database, "-W", "secret"]
    subprocess.run(put, check=True, capture_output=True)
    listed = [need("certutil"), "-K", "-d", database]
    done = subprocess.run(listed, check=True, capture_output=True)
    assert b"alice" in done.stdout


def test_pem_with_key() -> None:
    data = export.identity_pem(ALICE.identity, PASSWORD)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in data
    found = read(data, PASSWORD)
    assert [one.certificate for one in found.identities] == [ALICE.certificate]
    assert set(found.certificates) == set(CHAIN)


@pytest.mark.parametrize("write", [export.identity_pem, export.identity_pkcs12])
def test_no_key_without_a_password(write: type) -> None:
    with pytest.raises(CannotExport):
        write(ALICE.identity, "")


def test_keys_that_pkcs12_cannot_hold() -> None:
    bob = CA.issue("Bob", key="x25519")
    with pytest.raises(CannotExport):
        export.identity_pkcs12(bob.identity, PASSWORD)
    assert read(export.identity_pem(bob.identity, PASSWORD), PASSWORD).identities


def test_the_key_alone() -> None:
    key = load_der_private_key(export.key_pkcs8(ALICE.key), None)
    assert key.public_key() == ALICE.certificate.public_key
