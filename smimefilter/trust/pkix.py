"""The path validation algorithm of RFC 5280 §6.1, as certvalidator carries it out.

Name chaining, basic constraints, path length, key usage, name constraints, and policies by
RFC 9618. Time is passed in, nothing is fetched, revocation and algorithm policy are switched
off there because they are ours. Signatures that the search has checked are not checked again.

Its coroutine never waits for anything, because nothing is fetched; so it is run to its end
here, without an event loop. Never raises for a bad certificate.
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import ValidationError
from pyhanko_certvalidator.ltv.poe import POEManager
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    AcceptAllAlgorithms,
    CertRevTrustPolicy,
    PKIXValidationParams,
)
from pyhanko_certvalidator.registry import CertificateRegistry, SimpleTrustManager
from pyhanko_certvalidator.revinfo.manager import RevinfoManager
from pyhanko_certvalidator.sig_validate import SignatureValidator
from pyhanko_certvalidator.validate import async_validate_path

from .link import Link
from .search import Way
from .verdict import PolicyRules

_REGISTRY: Final = CertificateRegistry()  # empty: paths are given, not looked for
_NO_CRLS: Final = RevinfoManager(
    certificate_registry=_REGISTRY, poe_manager=POEManager(), crls=(), ocsps=()
)
_NO_ROOTS: Final = SimpleTrustManager.build(trust_roots=[])
_NO_REVOCATION: Final = CertRevTrustPolicy(NO_REVOCATION)
_ANY_ALGORITHM: Final = AcceptAllAlgorithms()
_PREFIX: Final = "The path could not be validated because "

# What asn1crypto raises for structures it cannot read (it reads late), and certvalidator for
# kinds of names it cannot compare: none of our code runs under them but `_Signatures`.
_UNREADABLE: Final = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError,
)  # fmt: skip


def validate(way: Way, at: datetime, policies: PolicyRules) -> tuple[Link, str] | None:
    """Walk a way of at least two certificates, from its root down.

    None when it is valid; else the certificate where it failed, and how.
    """
    signatures = _Signatures(way)
    try:
        intermediates = [link.asn1 for link in way[-2:0:-1]]
        path = ValidationPath(way[-1].anchor, interm=intermediates, leaf=way[0].asn1)
        _run(async_validate_path(_context(at, signatures), path, _parameters(policies)))
    except ValidationError as error:
        return signatures.current, error.failure_msg.removeprefix(_PREFIX).removesuffix(".")
    except _UNREADABLE as error:
        return signatures.current, f"it cannot be read: {error}"
    return None


class _Signatures(SignatureValidator):
    """Knows which signatures were found good, and which certificate is being looked at."""

    def __init__(self, way: Way) -> None:
        self._way: Final = way
        self._index = len(way) - 1

    @property
    def current(self) -> Link:
        return self._way[self._index]

    def validate_signature(self, *_: Any, **__: Any) -> None:
        """Asked once for each certificate, from the one below the root down."""
        issuer = self.current
        self._index -= 1
        if not self.current.signed_by(issuer):
            raise InvalidSignature


def _context(at: datetime, signatures: SignatureValidator) -> ValidationContext:
    return ValidationContext(
        moment=at,
        time_tolerance=timedelta(0),
        revinfo_policy=_NO_REVOCATION,
        revinfo_manager=_NO_CRLS,
        certificate_registry=_REGISTRY,
        trust_manager=_NO_ROOTS,
        algorithm_usage_policy=_ANY_ALGORITHM,
        signature_validator=signatures,
    )


@lru_cache(maxsize=64)
def _parameters(policies: PolicyRules) -> PKIXValidationParams:
    return PKIXValidationParams(
        user_initial_policy_set=policies.accepted,
        initial_explicit_policy=policies.require_explicit,
        initial_policy_mapping_inhibit=policies.inhibit_mapping,
        initial_any_policy_inhibit=policies.inhibit_any,
    )


def _run(coroutine: Coroutine[Any, None, object]) -> None:
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("path validation waited for something")
