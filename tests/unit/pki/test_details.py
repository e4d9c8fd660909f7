"""What is shown of a certificate."""

from __future__ import annotations

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.details import crl_issuer, details, key_text
from tests.support.pki import root

CA = root("Test Root")


def shown(certificate: Certificate) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label, value in details(certificate):
        found.setdefault(label, []).append(value)
    return found


def test_everything_is_shown() -> None:
    urls = ("http://a.example/1.crl", "http://b.example/2.crl")
    alice = CA.issue(
        "Alice", mail=["alice@example.com", "a@example.com"], crl_urls=urls
    ).certificate
    found = shown(alice)
    assert found["subject"] == ["CN=Alice"]
    assert found["issuer"] == ["CN=Test Root"]
    assert found["address"] == ["alice@example.com", "a@example.com"]
    assert found["serial"] == [alice.serial_hex]
    assert found["valid until"] == ["2027-06-01 12:00:00 UTC"]
    assert found["key"] == ["RSA 2048 bits"]
    assert found["key usage"] == ["digitalSignature, keyEncipherment"]
    assert found["extended key usage"] == ["emailProtection"]
    assert found["signature"] == ["RSA with SHA-256"]
    assert found["CRL distribution point"] == list(urls)
    assert found["CA"] == ["no"]
    lengths = {label: len(found[label][0]) for label in ("SHA-1", "SHA-256", "SHA-512")}
    assert lengths == {"SHA-1": 40, "SHA-256": 64, "SHA-512": 128}


def test_what_is_absent_is_left_out_or_said() -> None:
    found = shown(
        CA.issue("X", key_usage=frozenset(), extended_key_usage=frozenset()).certificate
    )
    assert "address" not in found
    assert found["key usage"] == found["extended key usage"] == ["any (not restricted)"]


def test_an_unknown_usage_is_shown_by_its_number() -> None:
    odd = CA.issue("X", extended_key_usage=frozenset({"1.2.3.4", "1.3.6.1.5.5.7.3.4"}))
    assert shown(odd.certificate)["extended key usage"] == ["1.2.3.4, emailProtection"]


def test_keys_in_words() -> None:
    words = {
        kind: key_text(CA.issue("X", key=kind).certificate) for kind in ("p384", "ed25519")
    }
    assert words == {"p384": "EC secp384r1", "ed25519": "Ed25519"}


def test_a_broken_certificate_is_shown_as_far_as_it_goes() -> None:
    found = shown(Certificate(b"junk"))
    assert all(value.startswith("unreadable") for value in found["subject"])
    assert len(found["SHA-512"][0]) == 128


def test_issuer_of_a_crl() -> None:
    assert crl_issuer(CA.crl()) == "CN=Test Root"
    assert crl_issuer(b"junk") == "an unreadable issuer"
