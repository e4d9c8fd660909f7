"""Distribution points read: names, reasons, issuers; and what is refused."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.pki.points import ALL_REASONS, PointName, read_points, read_scope
from smimefilter.pki.tlv import BadDer

URL = "http://crl.example.com/a.crl"
URL_DER = bytes([0x86, len(URL)]) + URL.encode()
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
RDN = x509.RelativeDistinguishedName(list(NAME))
KEY, LAST = x509.ReasonFlags.key_compromise, x509.ReasonFlags.aa_compromise


def points(*of):
    return read_points(x509.CRLDistributionPoints(of).public_bytes())


def scope(**fields):
    usual = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl",
         "only_contains_attribute_certs"), False,
    ) | dict.fromkeys(("full_name", "relative_name", "only_some_reasons"))  # fmt: skip
    return read_scope(x509.IssuingDistributionPoint(**usual | fields).public_bytes())


def test_a_usual_point():
    names = [x509.UniformResourceIdentifier(URL), x509.DirectoryName(NAME)]
    (found,) = points(x509.DistributionPoint(names, None, None, None))
    assert found.name is not None
    assert found.name.full[0] == URL_DER
    assert found.name.full[1].endswith(NAME.public_bytes())
    assert (found.reasons, found.issuers) == (ALL_REASONS, ())


def test_all_that_a_point_can_say():
    issuer = [x509.DirectoryName(NAME), x509.DNSName("example.com")]
    first, second = points(
        x509.DistributionPoint(None, RDN, frozenset({KEY, LAST}), issuer),
        x509.DistributionPoint(None, None, None, issuer),
    )
    assert first.name == PointName(relative=RDN_CONTENT)
    assert first.reasons == 1 << 1 | 1 << 8
    assert first.issuers == (NAME.public_bytes(),)
    assert second.name is None


RDN_CONTENT = NAME.public_bytes()[4:]  # without the headers of SEQUENCE and SET


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("only_contains_user_certs", "users_only"),
        ("only_contains_ca_certs", "authorities_only"),
        ("only_contains_attribute_certs", "attributes_only"),
        ("indirect_crl", "indirect"),
    ],
)
def test_flags_of_a_scope(field, attribute):
    found = scope(**{field: True})
    flags = ("users_only", "authorities_only", "attributes_only", "indirect")
    assert [name for name in flags if getattr(found, name)] == [attribute]
    assert (found.point, found.reasons) == (None, ALL_REASONS)


def test_names_and_reasons_of_a_scope():
    found = scope(
        full_name=[x509.UniformResourceIdentifier(URL)], only_some_reasons=frozenset({KEY})
    )
    assert (found.point, found.reasons) == (PointName(full=(URL_DER,)), 1 << 1)
    found = scope(relative_name=RDN, indirect_crl=True)
    assert (found.point, found.indirect) == (PointName(relative=RDN_CONTENT), True)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        bytes.fromhex("3003020101"),  # no sequence of points
        bytes.fromhex("30023102"),
        bytes.fromhex("30053003870101"),  # a field nobody knows
        bytes.fromhex("30063004a002a500"),  # neither full nor relative
        bytes.fromhex("300430028100"),  # reasons without bits
        bytes.fromhex("30073005a203820161"),  # no directory name
    ],
)
def test_what_is_refused(der):
    with pytest.raises(BadDer):
        read_points(der)


@given(st.data())
def test_damaged_bytes_are_refused_or_read_never_more(data):
    names = [x509.UniformResourceIdentifier(URL), x509.DirectoryName(NAME)]
    issuer = [x509.DirectoryName(NAME)]
    whole = x509.DistributionPoint(names, None, frozenset({KEY}), issuer)
    der = bytearray(x509.CRLDistributionPoints([whole]).public_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    for read in (read_points, read_scope):
        try:
            read(bytes(der))
        except BadDer:
            continue
