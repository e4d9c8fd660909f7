"""Name constraints on kinds of names that other tests leave out, and bounds on the work."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.trust.constraints import MOST
from smimefilter.trust.policies import policies_of
from smimefilter.trust.subtrees import names_of, subtrees_of
from tests.support.pki import NOW, YEAR, key_of

KEY = key_of("p256", "anybody")


def made(extension, subject="Somebody"):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + YEAR)
        .add_extension(extension, critical=False)
    )
    return Certificate(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER))


def refused(name, permitted=(), excluded=()):
    constraints = x509.NameConstraints(list(permitted) or None, list(excluded) or None)
    subtrees = subtrees_of(made(constraints))
    assert subtrees is not None
    return subtrees.refused(names_of(made(x509.SubjectAlternativeName([name]))))


def network(text):
    return x509.IPAddress(ip_network(text))


def host(text):
    return x509.IPAddress(ip_address(text))


def other(oid):
    return x509.OtherName(x509.ObjectIdentifier(oid), b"\x0c\x01x")


@pytest.mark.parametrize(
    ("base", "name", "within"),
    [
        (network("192.0.2.0/24"), host("192.0.2.1"), True),
        (network("192.0.2.0/24"), host("192.0.3.1"), False),
        (network("2001:db8::/32"), host("2001:db8::1"), True),
        (network("2001:db8::/32"), host("192.0.2.1"), False),
        (x509.DNSName(""), x509.DNSName("example.com"), True),
        (x509.DNSName("Example.com"), x509.DNSName("a.EXAMPLE.com"), True),
        (x509.DNSName(".example.com"), x509.DNSName("example.com"), False),
        (x509.RFC822Name("Example.com"), x509.RFC822Name("bob@example.COM"), True),
        (
            x509.UniformResourceIdentifier("example.com"),
            x509.UniformResourceIdentifier("https://example.com:8443/x"),
            True,
        ),
    ],
)
def test_within(base, name, within):
    assert (refused(name, permitted=[base]) == "") == within
    assert (refused(name, excluded=[base]) != "") == within


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),) * 2,
        (other("1.2.3"), other("1.2.3")),
        (
            x509.UniformResourceIdentifier("example.com"),
            x509.UniformResourceIdentifier("urn:isbn:1"),
        ),
        (
            x509.UniformResourceIdentifier("example.com"),
            x509.UniformResourceIdentifier("https://192.0.2.1/"),
        ),
        (x509.RFC822Name("example.com"), x509.RFC822Name("nobody")),
    ],
)
def test_what_cannot_be_compared_is_refused_where_its_kind_is_constrained(base, name):
    assert refused(name, permitted=[base])
    assert refused(name, excluded=[base])
    unrelated = [x509.DNSName("example.com")]
    assert not refused(name, permitted=unrelated)
    assert not refused(other("1.2.4"), permitted=[other("1.2.3")])


def test_the_subject_is_a_directory_name():
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody")])
    assert refused(x509.DNSName("a"), excluded=[x509.DirectoryName(name)])


def test_too_many_names_are_refused_rather_than_compared():
    bases = [x509.DNSName(f"{n}.example.com") for n in range(200)]
    subtrees = subtrees_of(made(x509.NameConstraints(None, bases)))
    names = [x509.DNSName(f"{n}.example.net") for n in range(MOST)]
    assert subtrees is not None
    with pytest.raises(UnreadableCertificate):
        names_of(made(x509.SubjectAlternativeName(names)))
    enough = names_of(made(x509.SubjectAlternativeName(names[1:])))
    assert subtrees.refused(enough) == ""


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("a." * 200 + "example.com"),
        x509.RFC822Name("bob@" + "a." * 200 + "example.com"),
        x509.UniformResourceIdentifier("https://" + "a." * 200 + "example.com"),
        x509.DirectoryName(
            x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "x")] * 100)
        ),
    ],
    ids=lambda name: type(name).__name__,
)
def test_names_longer_than_any_are_refused_where_their_kind_is_constrained(name):
    other_base = {
        x509.DNSName: x509.DNSName("example.net"),
        x509.RFC822Name: x509.RFC822Name("example.net"),
        x509.UniformResourceIdentifier: x509.UniformResourceIdentifier("example.net"),
        x509.DirectoryName: x509.DirectoryName(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Nobody")])
        ),
    }[type(name)]
    assert refused(name, excluded=[other_base])
    assert not refused(name, excluded=[x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))])


def test_too_many_policies_are_refused():
    oids = [x509.ObjectIdentifier(f"1.2.3.{n}") for n in range(300)]
    many = x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids])
    with pytest.raises(UnreadableCertificate):
        policies_of(made(many))
