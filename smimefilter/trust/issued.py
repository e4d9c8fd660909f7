"""A CRL as verdicts look at it: whose it is by name, for which places, and whose key signed it.

Lives as long as the `Knowledge` it belongs to and remembers which keys its signature fits, so
that it is hashed once, not once a verdict.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

from smimefilter.pki.certificate import UnreadableCertificate
from smimefilter.pki.crl import Crl
from smimefilter.pki.names import name_key
from smimefilter.pki.points import ALL_REASONS
from smimefilter.pki.revoked import Revocation

from .link import Link
from .proofs import Proofs
from .scopes import Place, PlaceName, place_names
from .signature import Scheme, scheme_of, verifies


class IssuedCrl:
    """One CRL of the knowledge."""

    def __init__(self, crl: Crl) -> None:
        self.crl: Final = crl
        self.issuer_name: Final = name_key(crl.issuer_der)
        # CRLs of one scope supersede each other
        self.scope: Final = (self.issuer_name, crl.scope.der if crl.scope else b"")
        self._proofs: Final = Proofs()

    @cached_property
    def scheme(self) -> Scheme | None:
        """How it is signed; None when unknown here."""
        return scheme_of(self.crl.signature_algorithm)

    def prefers(self, link: Link) -> bool:
        """Whether `link` is the one its authorityKeyIdentifier hints at, or there is none.
        Raises `UnreadableCertificate`."""
        hint, found = self.crl.authority_key_id, link.certificate.subject_key_id
        return hint is None or found is None or hint == found

    def knows(self, link: Link) -> bool:
        """Whether it was checked before if the key of `link` made its signature."""
        return self._proofs.get(link.key) is not None

    def signed_by(self, link: Link) -> bool:
        """Whether the key of `link` made its signature; checked once, remembered."""
        proof = self._proofs.get(link.key)
        return self._proofs.note(link.key, self._check(link)) if proof is None else proof

    def listing(self, link: Link) -> Revocation | None:
        """Its entry for a certificate, if there is one."""
        serial = link.certificate.serial
        if self.crl.other_issuers:
            wanted = link.issuer_name
            return self.crl.find(serial, lambda name: name_key(name) == wanted)
        return self.crl.find(serial) if self.issuer_name == link.issuer_name else None

    def reasons_for(self, link: Link) -> int:
        """The reasons for revocation (bits of ReasonFlags) that it would tell about `link`.

        None (0) when it is for other certificates.
        """
        scope, reasons = self.crl.scope, 0
        if scope is not None and (
            scope.attributes_only
            or (scope.users_only and link.certificate.is_ca)
            or (scope.authorities_only and not link.certificate.is_ca)
        ):
            return 0
        for place in link.places:
            if self._is_issued_for(place, link) and self._is_at(place):
                reasons |= place.reasons
        return reasons & (ALL_REASONS if scope is None else scope.reasons)

    @cached_property
    def _names(self) -> frozenset[PlaceName] | None:
        scope = self.crl.scope
        if scope is None or scope.point is None:
            return None
        return place_names(scope.point, (self.issuer_name,))

    def _is_issued_for(self, place: Place, link: Link) -> bool:
        if self.issuer_name == link.issuer_name:
            return not place.issuers or self.issuer_name in place.issuers
        return self.crl.is_indirect and self.issuer_name in place.issuers

    def _is_at(self, place: Place) -> bool:
        return self._names is None or not self._names.isdisjoint(place.names)

    def _check(self, link: Link) -> bool:
        if self.scheme is None:
            return False
        try:
            key = link.certificate.public_key
        except UnreadableCertificate:
            return False
        return verifies(key, self.scheme, self.crl.signature, self.crl.signed)
