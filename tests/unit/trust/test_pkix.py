"""RFC 5280 §6.1 as it is done here beside another implementation of it, on random chains."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko_certvalidator.authority import CertTrustAnchor, TrustQualifiers
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import ValidationError
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    AcceptAllAlgorithms,
    CertRevTrustPolicy,
    PKIXValidationParams,
)
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.validate import async_validate_path

from smimefilter.pki.certificate import Certificate
from smimefilter.trust.link import Link
from smimefilter.trust.pkix import validate
from smimefilter.trust.verdict import ANY_POLICY, PolicyRules
from tests.support.pki import NOW, YEAR, key_of

KEY = key_of("p256", "everybody")
ANY, P, Q, R = "2.5.29.32.0", "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "2.999.300.3"
POLICIES = st.lists(st.sampled_from([P, Q, R, ANY]), min_size=2, unique=True) | st.just([])
SMALL = st.none() | st.none() | st.integers(0, 4)
PAIRS = [(a, b) for a in (P, Q, R) for b in (P, Q, R)] * 3 + [(ANY, P), (P, ANY)]


@dataclass(frozen=True)
class Spec:
    """What one certificate of a chain says."""

    name: int
    path_length: int | None
    policies: tuple[str, ...]
    mappings: tuple[tuple[str, str], ...]
    require_explicit: int | None
    inhibit_mapping: int | None
    inhibit_any: int | None
    permitted: tuple[x509.GeneralName, ...]
    excluded: tuple[x509.GeneralName, ...]
    ca: bool = True
    names: tuple[x509.GeneralName, ...] = ()


def directory(*names):
    parts = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Org")]
    parts += [x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in names]
    return x509.Name(parts)


BASES = [
    x509.DirectoryName(directory()),
    x509.DirectoryName(directory("CA 1")),
    x509.DNSName("example.com"),
    x509.DNSName("a.example.com"),
    x509.RFC822Name("example.com"),
    x509.RFC822Name(".example.com"),
    x509.RFC822Name("alice@example.com"),
    x509.UniformResourceIdentifier("example.com"),
    x509.UniformResourceIdentifier(".example.com"),
]
NAMES = [
    x509.DirectoryName(directory("CA 1", "x")),
    x509.DNSName("example.com"),
    x509.DNSName("a.example.com"),
    x509.DNSName("badexample.com"),
    x509.RFC822Name("alice@example.com"),
    x509.RFC822Name("bob@example.com"),
    x509.RFC822Name("bob@mail.example.com"),
    x509.UniformResourceIdentifier("https://example.com/x"),
    x509.UniformResourceIdentifier("https://mail.example.com/"),
]
FEW_BASES = (
    st.just(())
    | st.just(())
    | st.lists(st.sampled_from(BASES), max_size=2, unique=True).map(tuple)
)
SPECS = st.builds(
    Spec,
    name=st.integers(0, 3),
    path_length=SMALL,
    policies=POLICIES.map(tuple),
    mappings=st.just(()) | st.lists(st.sampled_from(PAIRS), max_size=3).map(tuple),
    require_explicit=SMALL,
    inhibit_mapping=SMALL,
    inhibit_any=SMALL,
    permitted=FEW_BASES,
    excluded=FEW_BASES,
    ca=st.integers(0, 30).map(bool),
    names=st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple),
)
RULES = st.builds(
    PolicyRules,
    accepted=st.just(frozenset({ANY_POLICY}))
    | st.frozensets(st.sampled_from([P, Q, R]), min_size=1),
    require_explicit=st.booleans(),
    inhibit_mapping=st.booleans(),
    inhibit_any=st.booleans(),
)


def certificate(spec, issuer, subject, last):
    builder = (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject)
        .public_key(KEY.public_key())
        .serial_number(1 + spec.name)
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
    )
    for extension in extensions(spec, last):
        builder = builder.add_extension(extension, critical=False)
    made = builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)
    return Certificate(made)


def extensions(spec, last):
    if spec.policies:
        yield x509.CertificatePolicies(
            [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in spec.policies]
        )
    if spec.names:
        yield x509.SubjectAlternativeName(spec.names)
    if (spec.require_explicit, spec.inhibit_mapping) != (None, None):
        yield x509.PolicyConstraints(spec.require_explicit, spec.inhibit_mapping)
    if last:
        return
    yield x509.BasicConstraints(spec.ca, spec.path_length if spec.ca else None)
    if spec.mappings:
        pairs = [
            {"issuer_domain_policy": a, "subject_domain_policy": b} for a, b in spec.mappings
        ]
        der = asn1_x509.PolicyMappings(pairs).dump()
        yield x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), der)
    if spec.inhibit_any is not None:
        yield x509.InhibitAnyPolicy(spec.inhibit_any)
    if spec.permitted or spec.excluded:
        yield x509.NameConstraints(spec.permitted or None, spec.excluded or None)


def chain(specs):
    """End entity first, root last. A CA of its issuer's number is self-issued."""
    issuer = directory("Root")
    root = Spec(9, None, (), (), None, None, None, (), ())
    made = [certificate(root, issuer, issuer, last=False)]
    for spec in specs:
        last = spec is specs[-1]
        subject = directory("CA 1", "leaf") if last else directory(f"CA {spec.name}")
        made.append(certificate(spec, issuer, subject, last))
        issuer = subject
    return tuple(Link(one) for one in reversed(made))


def validated_elsewhere(way, rules):
    async def run():
        parsed = [asn1_x509.Certificate.load(link.certificate.der) for link in way]
        anchor = CertTrustAnchor(parsed[-1], quals=TrustQualifiers())
        path = ValidationPath(anchor, interm=parsed[-2:0:-1], leaf=parsed[0])
        context = ValidationContext(
            moment=NOW,
            time_tolerance=timedelta(0),
            revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
            trust_manager=SimpleTrustManager.build(trust_roots=[parsed[-1]]),
            algorithm_usage_policy=AcceptAllAlgorithms(),
        )
        parameters = PKIXValidationParams(
            user_initial_policy_set=rules.accepted,
            initial_explicit_policy=rules.require_explicit,
            initial_policy_mapping_inhibit=rules.inhibit_mapping,
            initial_any_policy_inhibit=rules.inhibit_any,
        )
        await async_validate_path(context, path, parameters)

    try:
        asyncio.run(run())
    except ValidationError as error:
        return str(error)
    return None


@settings(max_examples=60, deadline=None)
@given(st.lists(SPECS, min_size=2, max_size=5), RULES)
def test_agrees_with_another_implementation(specs, rules):
    way = chain(specs)
    ours, theirs = validate(way, rules), validated_elsewhere(way, rules)
    assert (ours is None) == (theirs is None), (ours, theirs)
