"""Verdicts in a line, and what certificate builders refuse to make."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from smimefilter.base.reasons import Because
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.trust.ctl import Listing, TrustList, TrustListEntry
from smimefilter.trust.engine import judge
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.verdict import Purpose, TrustRules, Verdict
from tests.support.pki import NOW, Issued

STRICT = TrustRules()
_SHA256_RSA = bytes.fromhex("2a864886f70d01010b")
_WEAK = {"sha1": (0x05, hashes.SHA1()), "md5": (0x04, hashes.MD5())}  # noqa: S303 - on purpose


def knowing(
    roots: Iterable[Issued] = (),
    authorities: Iterable[Issued] = (),
    crls: Iterable[bytes] = (),
    black: Iterable[Issued] = (),
    white: Iterable[Issued] = (),
    allow_expired: bool = False,
) -> Knowledge:
    """Knowledge of these; CRLs are DER."""
    entries = [TrustListEntry(one.thumbprint, Listing.BLACK) for one in black]
    entries += [TrustListEntry(one.thumbprint, Listing.WHITE, allow_expired) for one in white]
    return Knowledge(
        roots=[one.certificate for one in roots],
        authorities=[one.certificate for one in authorities],
        crls=[Crl.read(crl) for crl in crls],
        trust_list=TrustList(entries),
    )


def verdict(
    one: Issued | Certificate,
    knowledge: Knowledge,
    *,
    purpose: Purpose = Purpose.ENCRYPT,
    at: datetime = NOW,
    rules: TrustRules = STRICT,
) -> Verdict:
    """The verdict on one certificate."""
    certificate = one if isinstance(one, Certificate) else one.certificate
    return judge(certificate, purpose, at, rules, knowledge)


def codes(found: Verdict) -> list[Because]:
    """The codes of the best path's reasons, without what is told of other paths."""
    return [reason.because for reason in found.reasons if not reason.source]


def weakly_signed(one: Issued, issuer: Issued, digest: str) -> Certificate:
    """The same certificate, signed by its RSA issuer with SHA-1 or MD5."""
    parsed = one.certificate.parsed
    signed, signature = parsed.tbs_certificate_bytes, parsed.signature
    return Certificate(_weaker(one.certificate.der, signed, signature, issuer, digest))


def weakly_signed_crl(der: bytes, issuer: Issued, digest: str) -> bytes:
    """The same CRL, signed by its RSA issuer with SHA-1 or MD5."""
    crl = Crl.read(der)
    return _weaker(der, bytes(crl.signed), crl.signature, issuer, digest)


def _weaker(der: bytes, signed: bytes, signature: bytes, issuer: Issued, digest: str) -> bytes:
    octet, algorithm = _WEAK[digest]
    weak = _SHA256_RSA[:-1] + bytes([octet])
    key: Any = issuer.key
    again = key.sign(signed.replace(_SHA256_RSA, weak, 1), padding.PKCS1v15(), algorithm)
    assert der.count(_SHA256_RSA) == 2
    return der.replace(_SHA256_RSA, weak).replace(signature, again)
