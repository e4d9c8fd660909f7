"""What an OCSP answer is worth for a certificate of a path.

An answer counts when it is about this very certificate of this very issuer, fresh, and signed
by the issuer's key or by a delegate: whoever the issuer itself gave a certificate for signing
answers. A delegate's certificate is valid in time, strong and, unless the issuer waives that,
not revoked by a CRL at hand. An answer that does not count says nothing at all.

As with CRLs, a doubt takes away what an answer clears and not what it revokes: *revoked* stays
so until a newer answer says otherwise. Its delegate need only have been valid when it signed,
and may be weak, revoked or black-listed by now.

Leaves reading to `pki/ocsp.py`, what a status means for a path to `revocation.py`, fetching to
`flow/lookups.py`. RFC 6960 §3.2 and §4.2.2.2; `docs/decisions/0010-ocsp.md`.
Raises `UnreadableCertificate` for what the path's own certificates say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.ocsp import OcspAnswer, Single
from smimefilter.pki.tlv import BadDer
from smimefilter.pki.usage import unprocessed_extensions

from .knowledge import Knowledge
from .link import Link
from .outline import extension_of, public_key_of, signed_part
from .path import day, time_problems
from .search import Way
from .signature import scheme_of, verifies
from .span import Span, earlier, later
from .strength import weak_key, weak_signature
from .verdict import TrustRules

SKEW: Final = timedelta(minutes=5)  # clocks differ
MOST_URLS: Final = 4  # of one kind that are followed
LONGEST: Final = timedelta(hours=12)  # an answer holds that does not say how long
_NO_CHECK: Final = bytes.fromhex("2b0601050507300105")  # 1.3.6.1.5.5.7.48.1.5
_SIGNING: Final = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string
_SCHEMES: Final = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Told:
    """What is known by OCSP: a status with its words, or why there is none."""

    status: str = ""  # good, revoked or unknown; empty: nothing that counts
    words: str = ""
    wanted: bool = True  # a newer answer is


def ocsp_urls(certificate: Certificate) -> tuple[str, ...]:
    """Where a certificate says that answers about it are, a few. Raises
    `UnreadableCertificate`."""
    return _urls(certificate, "ocsp")


def issuer_urls(certificate: Certificate) -> tuple[str, ...]:
    """Where a certificate says that its issuer's is, a few. Raises
    `UnreadableCertificate`."""
    return _urls(certificate, "caIssuers")


def _urls(certificate: Certificate, wanted: str) -> tuple[str, ...]:
    found = (url for kind, url in certificate.authority_information if kind == wanted)
    return tuple(islice((url for url in found if url.lower().startswith(_SCHEMES)), MOST_URLS))


def ocsp_key(certificate: Certificate, issuer: Certificate) -> str:
    """What answers about a certificate are kept under, in whichever form it comes. The
    issuer's key is part of it: the answer depends on whose certificate it is taken to be.
    Raises `UnreadableCertificate`."""
    key = hashlib.sha256(public_key_of(issuer.der)).hexdigest()
    return f"{hashlib.sha256(signed_part(certificate.der)).hexdigest()}-{key}"


def told(
    answer: OcspAnswer,
    way: Way,
    knowledge: Knowledge,
    rules: TrustRules,
    span: Span,
    is_revoked: Callable[[Way], bool],
) -> Told:
    """What `answer` tells about the first certificate of `way`. `is_revoked`: whether CRLs at
    hand revoke the first certificate of a way."""
    link, issuer = way[0], way[1]
    key = public_key_of(issuer.certificate.der)
    single = answer.single_for(link.certificate, key)
    if single is None:
        return Told(words="the answer is about other certificates")
    if not span.reaches(earlier(single.this_update, SKEW)):
        return Told(words=f"not given yet at that time: {day(single.this_update)}")
    revokes = single.status == "revoked"
    stale = _stale(single, span)
    if stale and not revokes:
        return Told(words=stale)
    signer, flaw = _signer(answer, way, Span(single.this_update) if revokes else span)
    if signer is not None and not revokes:
        flaw = _doubt(answer, signer, way, knowledge, rules, is_revoked)
    if flaw:
        return Told(words=flaw)
    return Told(single.status, _words(single), wanted=bool(stale))


def _stale(single: Single, span: Span) -> str:
    until = single.next_update or later(single.this_update, LONGEST)
    return f"held until {day(until)}" if span.is_past(until) else ""


def _words(single: Single) -> str:
    of = f"OCSP answer of {day(single.this_update)}"
    if single.status != "revoked" or single.revoked_at is None:
        return of
    because = f", {single.reason}" if single.reason else ""
    return f"{day(single.revoked_at)}{because}; {of}"


def _signer(answer: OcspAnswer, way: Way, span: Span) -> tuple[Link | None, str]:
    """Who signed an answer and was entitled to; or why nobody was."""
    scheme = scheme_of(answer.signature_algorithm)
    if scheme is None:
        return None, "its answer is signed with an algorithm unknown here"
    flaw = "its answer is signed by nobody entitled to"
    for signer in (way[1], *map(Link, answer.certificates)):
        try:
            key = signer.certificate.public_key
            if not verifies(key, scheme, answer.signature, answer.signed):
                continue
            if signer.key == way[1].key:
                return way[1], ""
            problems = list(_delegate_problems(signer, way[1], span))
        except (UnreadableCertificate, BadDer) as error:
            problems = [f"has a certificate that cannot be read: {error}"]
        if not problems:
            return signer, ""
        flaw = f"whoever signed its answer {problems[0]}"
    return None, flaw


def _delegate_problems(signer: Link, issuer: Link, span: Span) -> Iterator[str]:
    """Why somebody may not answer for the issuer."""
    certificate = signer.certificate
    if signer.issuer_name != issuer.name or not signer.signed_by(issuer):
        yield "has its certificate from another issuer"
        return
    if _SIGNING not in (certificate.extended_key_usage or ()):
        yield "may not sign answers"
    usage = certificate.key_usage
    if usage is not None and "digitalSignature" not in usage:
        yield "may not sign"
    for because, detail in time_problems(signer, span):
        yield f"has a certificate that is {because.value} {detail}"
    if any(True for _ in unprocessed_extensions(certificate)):
        yield "has a critical extension that is not understood"


def _doubt(
    answer: OcspAnswer,
    signer: Link,
    way: Way,
    knowledge: Knowledge,
    rules: TrustRules,
    is_revoked: Callable[[Way], bool],
) -> str:
    """Why an answer clears nobody although its signer was entitled; empty when it does."""
    if weak := weak_signature(scheme_of(answer.signature_algorithm), rules):
        return f"its answer is {weak}"
    if signer is way[1]:
        return ""
    certificate, who = signer.certificate, "whoever signed its answer"
    if weak_key(certificate, rules) or weak_signature(signer.scheme, rules):
        return f"{who} has a weak key, or is weakly signed"
    if knowledge.is_struck(signer):
        return f"{who} is black-listed"
    if extension_of(certificate.der, _NO_CHECK) is None and is_revoked((signer, *way[1:])):
        return f"{who} is revoked"
    return ""
