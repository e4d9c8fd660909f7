"""The one verdict on a certificate, with reasons a person can act on.

Values only: `engine.py` comes to verdicts, `cache.py` keeps them. A verdict holds for one
certificate, one purpose, one state of knowledge (its revision) and a span of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from smimefilter.base.reasons import Reason
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.ocsp import OcspAnswer

ANY_POLICY: Final = "any_policy"


class Standing(StrEnum):
    """What a certificate is worth, in one word (feature C9)."""

    VALID = "valid"
    WHITE_LISTED = "white-listed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    REVOKED = "revoked"
    BLACK_LISTED = "black-listed"
    UNTRUSTED = "untrusted"
    UNSUITABLE = "unsuitable"


class Purpose(StrEnum):
    """What the certificate is to be used for; `ANY` asks for trust alone. A signature that is
    there may be of a kind of key that this gateway does not sign with."""

    SIGN = "sign"
    VERIFY = "verify"
    ENCRYPT = "encrypt"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """The inputs of RFC 5280 §6.1.1 (c) to (f); as they stand here, they ask for nothing."""

    accepted: frozenset[str] = frozenset({ANY_POLICY})  # dotted OIDs, in the root's domain
    require_explicit: bool = False
    inhibit_mapping: bool = False
    inhibit_any: bool = False


NO_POLICY_RULES: Final = PolicyRules()


@dataclass(frozen=True, slots=True)
class TrustRules:
    """Preferences that bear on trust. Hashable: part of the cache key."""

    require_crl: bool = False
    max_crl_age: timedelta | None = None
    allow_md5: bool = False
    allow_sha1: bool = False
    minimum_rsa_bits: int = 2048  # of DSA keys too
    ocsp: bool = False  # answers of OCSP are asked for, and count
    fetch_issuers: bool = False  # issuers that are not at hand may be fetched
    policies: PolicyRules = NO_POLICY_RULES


@dataclass(frozen=True, slots=True)
class OcspNeed:
    """An answer of OCSP about a certificate is not at hand, or not a fresh one."""

    key: str  # what it is to be kept under
    certificate: Certificate
    issuer: Certificate
    urls: tuple[str, ...]
    # The issuer's own path, itself left out, and the rules that an answer has to count by.
    above: tuple[Certificate, ...] = field(default=(), compare=False)
    rules: TrustRules = field(default=TrustRules(), compare=False)


@dataclass(frozen=True, slots=True)
class IssuerNeed:
    """The issuer of a certificate is not at hand."""

    certificate: Certificate
    urls: tuple[str, ...]


Need = OcspNeed | IssuerNeed


@dataclass(frozen=True, slots=True)
class Verdict:
    """A standing, why, and by which path (end entity first, root last)."""

    standing: Standing
    purpose: Purpose
    reasons: tuple[Reason, ...]
    path: tuple[Certificate, ...]
    holds_from: datetime  # nothing that this verdict rests on changes by time alone within
    holds_until: datetime  # [holds_from, holds_until)
    needs: tuple[Need, ...] = ()  # what may be had elsewhere and change it
    asked: tuple[tuple[str, OcspAnswer | None], ...] = ()  # OCSP answers it rests on, by key

    @property
    def usable(self) -> bool:
        """The certificate may be used for the purpose."""
        return self.standing in {Standing.VALID, Standing.WHITE_LISTED}
