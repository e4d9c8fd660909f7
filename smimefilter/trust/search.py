"""The ways from a certificate up: to a root, to a black-listed certificate, or to nowhere.

A step up is a CA certificate whose subject is the issuer's name and whose key made the
signature; the authorityKeyIdentifier only says which to try first. The shortest ways come
first. No way names one key under one name twice, so cross certificates end in no loop, and the
work is bounded whatever certificates there are. What costs is a step up, and a signature never
checked before: others of the same name, however many, keep nobody from the one that fits. For
a signer of CRLs only the ways to one root are looked for, whatever lies on them.

Leaves the validity of a way to `path.py`. RFC 4158 §2 and §5.
Raises `UnreadableCertificate` when the certificate itself cannot be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from smimefilter.pki.certificate import UnreadableCertificate
from smimefilter.pki.names import NameKey

from .link import Link

Way = tuple[Link, ...]  # from the certificate up

MAX_LENGTH: Final = 12  # certificates of one way
MAX_WAYS: Final = 24  # to roots
MAX_STEPS: Final = 150  # up, on all ways together
MAX_CHECKS: Final = 150  # of signatures
MANY: Final = 1000  # certificates of one name; to look at so many costs a step


class Known(Protocol):
    """Certificates that ways are made of: a `Knowledge`."""

    def named(self, name: NameKey, /) -> Sequence[Link]:
        """Roots, then other certificates of CAs and CRL signers, with this subject."""

    def is_root(self, link: Link, /) -> bool:
        """Whether paths may end here."""

    def is_struck(self, link: Link, /) -> bool:
        """Black-listed."""


class Signed(Protocol):
    """What has a signature: a link, a CRL."""

    def knows(self, issuer: Link, /) -> bool:
        """Whether it was checked before if the key of `issuer` made it."""

    def signed_by(self, issuer: Link, /) -> bool:
        """Whether the key of `issuer` made it."""


class Effort:
    """How much work is left; what there is too little of makes it fall short."""

    __slots__ = ("checks", "fell_short", "left")

    def __init__(self, steps: int = MAX_STEPS, checks: int = MAX_CHECKS) -> None:
        self.left = steps
        self.checks = checks
        self.fell_short = False

    def spend(self, steps: int) -> bool:
        """Whether there was so much left; it is gone then."""
        if steps > self.left:
            self.fell_short = True
            return False
        self.left -= steps
        return True

    def proves(self, signed: Signed, issuer: Link) -> bool:
        """Whether the key of `issuer` made a signature, as far as there is effort left to
        check that. May raise `UnreadableCertificate`."""
        if not signed.knows(issuer):
            if not self.checks:
                self.fell_short = True
                return False
            self.checks -= 1
        return signed.signed_by(issuer)


@dataclass(slots=True)
class Found:
    """What a search came upon, the shortest first."""

    to_roots: list[Way] = field(default_factory=list)
    struck: list[Way] = field(default_factory=list)  # end at a black-listed certificate
    dead_ends: list[Way] = field(default_factory=list)  # end where no issuer is known
    complete: bool = True  # False: there may be more, the search was cut short


def search(leaf: Link, knowledge: Known, effort: Effort | None = None) -> Found:
    """All ways up from `leaf`, which stands first in each. `effort`: what is left of that for
    several searches."""
    found, climb = Found(), _Climb(leaf, knowledge, effort or Effort())
    for way in climb:
        if knowledge.is_struck(way[-1]):
            found.struck.append(way)
        elif knowledge.is_root(way[-1]):
            found.to_roots.append(way)
            if len(found.to_roots) == MAX_WAYS:
                found.complete = False
                break
        elif not climb.goes_on(way) and not climb.effort.fell_short:
            found.dead_ends.append(way)
    found.complete = found.complete and not climb.effort.fell_short
    return found


def ways_to(anchor: Link, leaf: Link, knowledge: Known, effort: Effort) -> Iterator[Way]:
    """The ways up from `leaf` to this one root, the shortest first, black-listed or not."""
    climb = _Climb(leaf, knowledge, effort)
    for way in climb:
        if way[-1] is anchor:
            yield way
        else:
            climb.goes_on(way)


class _Climb:
    """The ways up, the shortest first, each as long as it `goes_on`. Where a key is found that
    fits, others are tried when no way is left: what is in vain comes last."""

    def __init__(self, leaf: Link, knowledge: Known, effort: Effort) -> None:
        self.effort: Final = effort
        self._knowledge: Final = knowledge
        self._open: Final[deque[Way]] = deque([(leaf,)])
        self._untried: Final[deque[tuple[Way, list[Link]]]] = deque()

    def __iter__(self) -> Iterator[Way]:
        while self._open or self._untried:
            if self._open:
                yield self._open.popleft()
            else:
                self._try(*self._untried.popleft())

    def goes_on(self, way: Way) -> bool:
        """Whether somebody is known who issued the topmost certificate, as far as there is
        effort left to look."""
        if len(way) == MAX_LENGTH:
            self.effort.fell_short = True
            return False
        top = way[-1]
        named = self._knowledge.named(top.issuer_name)
        if not self.effort.spend(len(named) // MANY):
            return False
        candidates = [link for link in named if _may_issue(link, way)]
        if len(candidates) > 1:
            candidates.sort(key=lambda link: _likelihood(link, top))  # stable: roots stay first
        return self._try(way, candidates)

    def _try(self, way: Way, candidates: list[Link]) -> bool:
        """Go on with those whose key fits, up to the first that has to be checked for it."""
        top, fits, untried = way[-1], False, list[Link]()
        for link in candidates:
            if fits and not top.knows(link):
                untried.append(link)
            elif self.effort.proves(top, link) and self.effort.spend(1):
                fits = True
                self._open.append((*way, link))
        if untried:
            self._untried.append((way, untried))
        return fits


def _likelihood(candidate: Link, top: Link) -> int:
    """What candidates are tried by: first those known to fit, then those hinted at."""
    if top.knows(candidate) and top.signed_by(candidate):
        return 0
    return 1 if top.prefers(candidate) else 2


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
