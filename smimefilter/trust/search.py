"""The ways from a certificate up: to a root, to a black-listed certificate, or to nowhere.

A step up is a CA certificate whose subject is the issuer's name and whose key made the
signature; the authorityKeyIdentifier only says which to try first. The shortest ways come
first. No way names one key under one name twice, so cross certificates end in no loop, and the
work is bounded whatever certificates there are. For a signer of CRLs only the ways to one root
are looked for, whatever lies on them.

Leaves the validity of a way to `path.py`. RFC 4158 §2 and §5.
Raises `UnreadableCertificate` when the certificate itself cannot be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from smimefilter.pki.certificate import UnreadableCertificate

from .knowledge import Knowledge
from .link import Link

Way = tuple[Link, ...]  # from the certificate up

MAX_LENGTH: Final = 12  # certificates of one way
MAX_WAYS: Final = 24  # to roots
MAX_STEPS: Final = 150  # candidate issuers looked at


class Effort:
    """How much work is left; what there is too little of makes it fall short."""

    __slots__ = ("fell_short", "left")

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps
        self.fell_short = False

    def spend(self, steps: int) -> bool:
        """Whether there was so much left; it is gone then."""
        if steps > self.left:
            self.fell_short = True
            return False
        self.left -= steps
        return True


@dataclass(slots=True)
class Found:
    """What a search came upon, the shortest first."""

    to_roots: list[Way] = field(default_factory=list)
    struck: list[Way] = field(default_factory=list)  # end at a black-listed certificate
    dead_ends: list[Way] = field(default_factory=list)  # end where no issuer is known
    complete: bool = True  # False: there may be more, the search was cut short


def search(leaf: Link, knowledge: Knowledge) -> Found:
    """All ways up from `leaf`, which stands first in each."""
    found, effort = Found(), Effort()
    open_ways: deque[Way] = deque([(leaf,)])
    while open_ways:
        way = open_ways.popleft()
        if knowledge.is_struck(way[-1]):
            found.struck.append(way)
        elif knowledge.is_root(way[-1]):
            found.to_roots.append(way)
            if len(found.to_roots) == MAX_WAYS:
                found.complete = False
                break
        elif issuers := _issuers(way, knowledge, effort):
            open_ways.extend((*way, issuer) for issuer in issuers)
        elif not effort.fell_short:
            found.dead_ends.append(way)
    found.complete = found.complete and not effort.fell_short
    return found


def ways_to(anchor: Link, leaf: Link, knowledge: Knowledge, effort: Effort) -> Iterator[Way]:
    """The ways up from `leaf` to this one root, the shortest first, black-listed or not."""
    open_ways: deque[Way] = deque([(leaf,)])
    while open_ways:
        way = open_ways.popleft()
        if way[-1] is anchor:
            yield way
        else:
            open_ways.extend((*way, up) for up in _issuers(way, knowledge, effort))


def _issuers(way: Way, knowledge: Knowledge, effort: Effort) -> list[Link]:
    """Whose key made the topmost signature, as far as there is effort left to look."""
    if len(way) == MAX_LENGTH:
        effort.fell_short = True
        return []
    top = way[-1]
    named = knowledge.named(top.issuer_name)
    candidates = [link for link in named[: effort.left] if _may_issue(link, way)]
    if len(named) > effort.left:
        effort.fell_short = True
    effort.left -= len(candidates)
    if len(candidates) > 1:
        candidates.sort(key=lambda link: not top.prefers(link))  # stable: roots stay first
    return [issuer for issuer in candidates if top.signed_by(issuer)]


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
