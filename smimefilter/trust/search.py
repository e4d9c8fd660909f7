"""The ways from a certificate up: to a root, to a black-listed certificate, or to nowhere.

A step up is a CA certificate whose subject is the issuer's name and whose key made the
signature; the authorityKeyIdentifier only says which to try first. The shortest ways come
first. No way names one key under one name twice, so cross certificates end in no loop, and the
work is bounded whatever certificates there are.

Leaves the validity of a way to `path.py`. RFC 4158 §2 and §5.
Raises `UnreadableCertificate` when the certificate itself cannot be read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from smimefilter.pki.certificate import UnreadableCertificate

from .knowledge import Knowledge
from .link import Link

Way = tuple[Link, ...]  # from the certificate up

MAX_LENGTH: Final = 12  # certificates of one way
MAX_WAYS: Final = 24  # to roots
MAX_STEPS: Final = 300  # candidate issuers looked at


@dataclass(slots=True)
class Found:
    """What a search came upon, the shortest first."""

    to_roots: list[Way] = field(default_factory=list)
    struck: list[Way] = field(default_factory=list)  # end at a black-listed certificate
    dead_ends: list[Way] = field(default_factory=list)  # end where no issuer is known
    complete: bool = True  # False: there may be more, the search was cut short


def search(leaf: Link, knowledge: Knowledge) -> Found:
    """All ways up from `leaf`, which stands first in each."""
    found = Found()
    steps = MAX_STEPS
    open_ways: deque[Way] = deque([(leaf,)])
    while open_ways:
        way = open_ways.popleft()
        if knowledge.is_struck(way[-1]):
            found.struck.append(way)
            continue
        if knowledge.is_root(way[-1]):
            found.to_roots.append(way)
            if len(found.to_roots) < MAX_WAYS:
                continue
            found.complete = False
            break
        if steps <= 0 or len(way) == MAX_LENGTH:
            found.complete = False
            continue
        candidates = _candidates(way, knowledge, steps)
        steps -= len(candidates)
        issuers = [issuer for issuer in candidates if way[-1].signed_by(issuer)]
        open_ways.extend((*way, issuer) for issuer in issuers)
        if not issuers:
            found.dead_ends.append(way)
    return found


def _candidates(way: Way, knowledge: Knowledge, limit: int) -> list[Link]:
    """CA certificates of the issuer's name that are not on the way yet, likely ones first."""
    top = way[-1]
    named = knowledge.named(top.issuer_name)[:limit]
    candidates = [link for link in named if _may_issue(link, way)]
    if len(candidates) > 1:
        candidates.sort(key=lambda link: not top.prefers(link))  # stable: roots stay first
    return candidates


def _may_issue(candidate: Link, way: Way) -> bool:
    try:
        return (
            candidate.certificate.is_ca
            and bool(candidate.issuer_name)
            and not any(
                candidate.key == link.key and candidate.name == link.name for link in way
            )
        )
    except UnreadableCertificate:
        return False
