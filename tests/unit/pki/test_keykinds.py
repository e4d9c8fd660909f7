"""Keys that mail can be encrypted to and signed with, and those that only look like it."""

from __future__ import annotations

import pytest
from asn1crypto import keys, x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.keykinds import why_not_encrypt, why_not_sign
from tests.support.pki import root

ROOT = root()
SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def certificate(key: object) -> Certificate:
    return ROOT.issue("Alice", mail="alice@example.com", key=key).certificate


def with_key(one: Certificate, key: keys.PublicKeyInfo) -> Certificate:
    """The certificate with another public key; who signed it is not asked here."""
    changed = x509.Certificate.load(one.der)
    changed["tbs_certificate"]["subject_public_key_info"] = key
    return Certificate(changed.dump(force=True))


def with_rsa(modulus: int, exponent: int = 65537) -> Certificate:
    key = keys.RSAPublicKey({"modulus": modulus, "public_exponent": exponent})
    return with_key(certificate("rsa2048"), keys.PublicKeyInfo.wrap(key, "rsa"))


@pytest.mark.parametrize(
    ("key", "encrypts", "signs"),
    [
        ("rsa1024", True, True),
        ("rsa2048", True, True),
        ("p256", True, True),
        ("p384", True, True),
        ("p521", True, True),
        ("x25519", True, False),
        ("ed25519", False, True),
        ("x448", False, False),
        ("ed448", False, False),
        (ec.generate_private_key(ec.SECP224R1()), False, False),
        (ec.generate_private_key(ec.SECP256K1()), False, False),
        (ec.generate_private_key(ec.BrainpoolP256R1()), False, False),
        (dsa.generate_private_key(2048), False, False),
    ],
)
def test_kinds(key: object, encrypts: bool, signs: bool) -> None:
    one = certificate(key)
    assert (why_not_encrypt(one) == "", why_not_sign(one) == "") == (encrypts, signs)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_an_x25519_key_of_small_order(point: str) -> None:
    one = certificate("x25519")
    old = one.public_key.public_bytes_raw()  # type: ignore[union-attr]
    flawed = Certificate(one.der.replace(old, bytes.fromhex(point)))
    assert flawed.der != one.der
    assert flawed.key_algorithm == "x25519"
    assert why_not_encrypt(flawed)


def test_an_rsa_key_that_cannot_carry_a_content_key() -> None:
    key = certificate("rsa2048").public_key
    assert isinstance(key, rsa.RSAPublicKey)
    modulus = key.public_numbers().n
    assert why_not_encrypt(with_rsa(modulus)) == ""
    assert why_not_encrypt(with_rsa(modulus - 1))
    assert why_not_encrypt(with_rsa(modulus >> 1450 | 1))  # too short for OAEP
    assert why_not_encrypt(with_rsa(modulus << 15_000 | 1))


def test_an_rsa_key_for_pss_alone_signs() -> None:
    one = certificate("rsa2048")
    plain, pss = "300d06092a864886f70d0101010500", "300d06092a864886f70d01010a3000"
    other = Certificate(one.der.replace(bytes.fromhex(plain), bytes.fromhex(pss)))
    assert other.key_algorithm == "rsa"
    assert why_not_encrypt(other)
    assert why_not_sign(other) == ""
