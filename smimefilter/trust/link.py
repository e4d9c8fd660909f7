"""A certificate as a link of paths: its names as keys, its key's identity, who signed it.

Links of CA certificates live as long as the `Knowledge` they belong to and remember whose key
their signature fits, so that judging the next certificate below costs its own signature only.

Raises `UnreadableCertificate` from every property, for a certificate that cannot be read.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyhanko_certvalidator.authority import (
    CertTrustAnchor,
    TrustQualifiers,
    derive_quals_from_cert,
)
from pyhanko_certvalidator.policy_decl import PKIXValidationParams

from smimefilter.pki.certificate import Certificate, UnreadableCertificate

from .constraints import MailConstraints, mail_constraints
from .names import NameKey, name_key
from .outline import signature_algorithm
from .signature import Scheme, scheme_of, verifies


class Link:
    """One certificate of a path, or of the graph that paths are searched in."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate: Final = certificate
        self._proofs: Final[dict[bytes, bool]] = {}

    def __repr__(self) -> str:
        return f"<Link {self.certificate.subject}>"

    @cached_property
    def name(self) -> NameKey:
        """Key of the subject."""
        return name_key(self.certificate.subject_der)

    @cached_property
    def issuer_name(self) -> NameKey:
        """Key of the issuer."""
        return name_key(self.certificate.issuer_der)

    @property
    def is_self_issued(self) -> bool:
        """Subject and issuer are the same name."""
        return self.name == self.issuer_name

    @cached_property
    def asn1(self) -> asn1_x509.Certificate:
        """The certificate as path validation takes it."""
        return asn1_x509.Certificate.load(self.certificate.der)

    @cached_property
    def anchor(self) -> CertTrustAnchor:
        """The certificate as a trust anchor.

        Of what a root says of itself, its path length and name constraints are imposed on what
        is below (RFC 5937 §3.2); its policies are not, few roots mean them so.
        """
        derived = derive_quals_from_cert(self.asn1)
        own, length = derived.standard_parameters, derived.max_path_length
        constraints = own and PKIXValidationParams(
            initial_permitted_subtrees=own.initial_permitted_subtrees,
            initial_excluded_subtrees=own.initial_excluded_subtrees,
        )
        qualifiers = TrustQualifiers(
            standard_parameters=constraints, max_path_length=length, max_aa_path_length=length
        )
        return CertTrustAnchor(self.asn1, quals=qualifiers)

    @cached_property
    def key(self) -> bytes:
        """The public key, in one encoding: certificates of one key have it alike. Where it
        cannot be read the certificate stands for it."""
        try:
            public = self.certificate.public_key
        except UnreadableCertificate:
            return self.certificate.der
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def scheme(self) -> Scheme | None:
        """How it is signed; None when unknown here, or contradictory."""
        return scheme_of(signature_algorithm(self.certificate.der))

    @cached_property
    def mail_constraints(self) -> MailConstraints | None:
        """What addresses this CA may speak for."""
        return mail_constraints(self.certificate)

    def prefers(self, issuer: Link) -> bool:
        """Whether `issuer` is the one its authorityKeyIdentifier hints at, or there is none."""
        hint, found = self.certificate.authority_key_id, issuer.certificate.subject_key_id
        return hint is None or found is None or hint == found

    def signed_by(self, issuer: Link) -> bool:
        """Whether the key of `issuer` made its signature; checked once, remembered."""
        proof = self._proofs.get(issuer.key)
        if proof is None:
            proof = self._proofs[issuer.key] = self._check(issuer)
        return proof

    def _check(self, issuer: Link) -> bool:
        parsed, scheme = self.certificate.parsed, self.scheme
        if scheme is None:
            return False
        try:
            key = issuer.certificate.public_key
        except UnreadableCertificate:
            return False
        return verifies(key, scheme, parsed.signature, parsed.tbs_certificate_bytes)
