"""Whether one way up to a root is a valid certification path, with reasons.

Ours are the checks whose reasons a person should see as such: times, algorithms and keys,
critical extensions, the root itself, extended key usage of the CAs, addresses within name
constraints. The rest of RFC 5280 §6.1 is `pkix.py`'s, asked when ours have passed.

Leaves revocation to `revocation.py` and the search to `search.py`. Never raises for a bad
certificate above the first: what cannot be read is a reason too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from smimefilter.base.reasons import Because, Reason
from smimefilter.pki.certificate import UnreadableCertificate
from smimefilter.pki.usage import not_for_mail, unprocessed_extensions

from .link import Link
from .pkix import validate
from .search import Way
from .span import Span
from .strength import weak_key, weak_signature
from .verdict import Purpose, TrustRules


def path_problems(
    way: Way, purpose: Purpose, rules: TrustRules, span: Span
) -> tuple[Reason, ...]:
    """Why `way` (end entity first, root last) is no valid path at the time of `span`."""
    problems: list[Reason] = []
    for link in way:
        try:
            problems += _problems(link, way, purpose, rules, span)
        except UnreadableCertificate as error:
            problems.append(reason(Because.UNREADABLE, link, way, str(error)))
    if problems or len(way) == 1:
        return tuple(problems)
    failure = validate(way, rules.policies)
    if failure is None:
        return ()
    return (reason(Because.PATH_INVALID, failure[0], way, failure[1]),)


def time_problems(link: Link, span: Span) -> Iterator[tuple[Because, str]]:
    """EXPIRED or NOT_YET_VALID with the date, if it is."""
    certificate = link.certificate
    if not span.reaches(certificate.not_before):
        yield Because.NOT_YET_VALID, f"valid from {day(certificate.not_before)}"
    if span.is_past(certificate.not_after):
        yield Because.EXPIRED, f"on {day(certificate.not_after)}"


def reason(because: Because, link: Link, way: Way, detail: str = "") -> Reason:
    """A reason about one certificate of a way; one that is not the first is named."""
    certificate = link.certificate
    if link is not way[0]:
        detail = f"{certificate.subject}: {detail}" if detail else certificate.subject
    return Reason(because, about=certificate.thumbprint, detail=detail)


def day(moment: datetime) -> str:
    """A time as reasons show it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _problems(
    link: Link, way: Way, purpose: Purpose, rules: TrustRules, span: Span
) -> Iterator[Reason]:
    for because, detail in time_problems(link, span):
        yield reason(because, link, way, detail)
    if detail := weak_key(link.certificate, rules):
        yield reason(Because.WEAK_KEY, link, way, detail)
    for problem in unprocessed_extensions(link.certificate):
        yield reason(problem.because, link, way, problem.detail)
    # of a root it is not asked: nobody relies on its signature of itself
    if link is not way[-1] and (detail := weak_signature(link.scheme, rules)):
        yield reason(Because.WEAK_ALGORITHM, link, way, detail)
    if link is not way[0]:
        yield from _issuer_problems(link, way, purpose)


def _issuer_problems(link: Link, way: Way, purpose: Purpose) -> Iterator[Reason]:
    certificate = link.certificate
    usage = certificate.key_usage
    if link is way[-1] and usage is not None and "keyCertSign" not in usage:
        detail = "the root may not sign certificates"
        yield reason(Because.KEY_USAGE, link, way, detail)
    if link is not way[-1] and purpose is not Purpose.ANY:
        for problem in not_for_mail(certificate):
            yield reason(problem.because, link, way, problem.detail)
    constraints = link.mail_constraints
    if constraints and (refused := constraints.refused(way[0].certificate.addresses)):
        detail = f"its name constraints do not allow {refused}"
        yield reason(Because.PATH_INVALID, link, way, detail)
