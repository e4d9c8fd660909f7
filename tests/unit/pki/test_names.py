"""Names as keys: alike when RFC 5280 compares them as equal."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.name import _ASN1Type as Kind
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.pki.names import name_key
from smimefilter.trust.outline import may_be_ca, signature_algorithm, subject_of
from tests.support.pki import root


def key(text, kind=Kind.UTF8String, oid=NameOID.COMMON_NAME):
    return name_key(x509.Name([x509.NameAttribute(oid, text, kind)]).public_bytes())


def test_case_spaces_and_encoding_do_not_matter():
    assert key("Test  Root ") == key("test root") == key("TEST ROOT", Kind.PrintableString)
    assert key("Müller") == key("MÜLLER", Kind.BMPString) == key("müller", Kind.UniversalString)


def test_text_and_kind_of_attribute_matter():
    assert key("Test Root") != key("Test Roots")
    assert key("Test Root") != key("Test Root", oid=NameOID.ORGANIZATION_NAME)


def test_order_of_parts_matters_and_within_a_part_not():
    one, two = (x509.NameAttribute(NameOID.COMMON_NAME, text) for text in ("one", "two"))
    parts = [x509.RelativeDistinguishedName([one]), x509.RelativeDistinguishedName([two])]
    forth, back = x509.Name(parts).public_bytes(), x509.Name(parts[::-1]).public_bytes()
    assert name_key(forth) != name_key(back)
    together = x509.Name([x509.RelativeDistinguishedName([one, two])]).public_bytes()
    assert name_key(together) not in {name_key(forth), name_key(back)}


@given(st.binary(max_size=60))
def test_any_bytes_have_a_key(der):
    assert name_key(der) == name_key(bytes(der))


def test_outlines():
    ca = root()
    alice = ca.issue("Alice", mail="alice@example.com").certificate
    assert subject_of(alice.der) == alice.subject_der
    assert may_be_ca(ca.certificate.der)
    assert not may_be_ca(alice.der)
    assert signature_algorithm(alice.der) == bytes.fromhex("300d06092a864886f70d01010b0500")
    assert signature_algorithm(b"garbage") == b""
