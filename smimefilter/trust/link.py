"""A certificate as a link of paths: its names as keys, its key's identity, who signed it.

Links of CA certificates live as long as the `Knowledge` they belong to and remember whose key
their signature fits, so that judging the next certificate below costs its own signature only.

Raises `UnreadableCertificate` from every property, for a certificate that cannot be read.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.names import NameKey, name_key

from .constraints import MailConstraints, mail_constraints
from .outline import signature_algorithm, signed_part
from .policies import Policies, policies_of
from .proofs import Proofs
from .scopes import Place, places
from .signature import Scheme, scheme_of, verifies
from .subtrees import Named, Subtrees, names_of, subtrees_of


class Link:
    """One certificate of a path, or of the graph that paths are searched in."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate: Final = certificate
        self._proofs: Final = Proofs()

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
    def key(self) -> bytes:
        """SHA-256 of the public key, in one encoding: certificates of one key have it alike.
        Where it cannot be read the certificate stands for it."""
        try:
            public = self.certificate.public_key
        except UnreadableCertificate:
            return hashlib.sha256(self.certificate.der).digest()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).digest()

    @cached_property
    def scheme(self) -> Scheme | None:
        """How it is signed; None when unknown here, or contradictory."""
        return scheme_of(signature_algorithm(self.certificate.der))

    @cached_property
    def mail_constraints(self) -> MailConstraints | None:
        """What addresses this CA may speak for."""
        return mail_constraints(self.certificate)

    @cached_property
    def basic_constraints(self) -> x509.BasicConstraints | None:
        """basicConstraints, or None."""
        try:
            extensions = self.certificate.extensions
            return extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            return None

    @cached_property
    def policies(self) -> Policies:
        """What it says on policies."""
        return policies_of(self.certificate)

    @cached_property
    def names(self) -> tuple[Named, ...]:
        """Its names that constraints are about."""
        return names_of(self.certificate)

    @cached_property
    def subtrees(self) -> Subtrees | None:
        """What names may be below it."""
        return subtrees_of(self.certificate)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where CRLs about it are."""
        return places(self.certificate, self.issuer_name)

    @cached_property
    def may_sign_crls(self) -> bool:
        """Whether its key may sign CRLs of its name; none but a CA's may without saying so."""
        usage = self.certificate.key_usage
        return self.certificate.is_ca if usage is None else "cRLSign" in usage

    def prefers(self, issuer: Link) -> bool:
        """Whether `issuer` is the one its authorityKeyIdentifier hints at, or there is none."""
        hint, found = self.certificate.authority_key_id, issuer.certificate.subject_key_id
        return hint is None or found is None or hint == found

    def knows(self, issuer: Link) -> bool:
        """Whether it was checked before if the key of `issuer` made its signature."""
        return self._proofs.get(issuer.key) is not None

    def signed_by(self, issuer: Link) -> bool:
        """Whether the key of `issuer` made its signature; checked once, remembered."""
        proof = self._proofs.get(issuer.key)
        return self._proofs.note(issuer.key, self._check(issuer)) if proof is None else proof

    def _check(self, issuer: Link) -> bool:
        scheme = self.scheme
        if scheme is None:
            return False
        try:
            key = issuer.certificate.public_key
        except UnreadableCertificate:
            return False
        der, signature = self.certificate.der, self.certificate.parsed.signature
        if der[-1 - len(signature)] != 0:  # unused bits: a form that anybody could give it
            return False
        return verifies(key, scheme, signature, signed_part(der))
