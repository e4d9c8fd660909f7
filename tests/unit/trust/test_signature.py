"""Signatures of every kind of key, and that nothing else passes for one."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from smimefilter.pki.crl import Crl
from smimefilter.trust.link import Link
from smimefilter.trust.outline import signature_algorithm
from smimefilter.trust.signature import Scheme, scheme_of, verifies
from tests.support.pki import key_of, root

# AlgorithmIdentifiers: RSASSA-PSS with SHA-256, MGF1 over SHA-256, 32 bytes of salt
PSS = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f7"
    "0d010108300d06096086480165030402010500a203020120"
)


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
def test_certificates_and_crls(kind):
    ca, other = root("One", key=kind), root("Two", key=kind)
    alice = Link(ca.issue("Alice", mail="alice@example.com").certificate)
    assert alice.signed_by(Link(ca.certificate))
    assert not alice.signed_by(Link(other.certificate))
    crl = Crl.read(ca.crl([1]))
    scheme = scheme_of(crl.signature_algorithm)
    assert scheme is not None
    assert verifies(ca.certificate.public_key, scheme, crl.signature, crl.signed)
    assert not verifies(other.certificate.public_key, scheme, crl.signature, crl.signed)
    assert not verifies(ca.certificate.public_key, scheme, crl.signature, crl.signed[1:])


def test_pss():
    key = key_of("rsa2048", "PSS")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signature = key.sign(b"text", pss, hashes.SHA256())
    scheme = scheme_of(PSS)
    assert scheme is not None
    assert verifies(key.public_key(), scheme, signature, b"text")
    assert not verifies(key.public_key(), scheme, signature, b"other")


@pytest.mark.parametrize(("kind", "oid"), [("ed25519", "70"), ("ed448", "71")])
def test_edwards_curves(kind, oid):
    key = key_of(kind, "Edwards")
    scheme = scheme_of(bytes.fromhex("300506032b65" + oid))
    assert scheme == Scheme(kind, None)
    assert verifies(key.public_key(), scheme, key.sign(b"text"), b"text")
    assert not verifies(key.public_key(), scheme, key.sign(b"other"), b"text")


def test_a_key_of_another_kind_fits_nothing():
    scheme = scheme_of(signature_algorithm(root(key="p256").certificate.der))
    assert scheme is not None
    for kind in ("rsa2048", "ed25519", "x25519"):
        assert not verifies(key_of(kind, "Else").public_key(), scheme, b"\0" * 70, b"text")


@pytest.mark.parametrize("der", [b"", b"garbage", bytes.fromhex("300706052a03040506")])
def test_unknown_algorithms(der):
    assert scheme_of(der) is None
