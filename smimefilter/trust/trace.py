"""What a verdict came from, step by step, for people who ask why. Pure.

The engine is asked as mail asks it (`engine.examine`); here the ways that it looked at are
taken apart: each certificate with what it says of itself, and each CRL that may speak for it
with what it says. Nothing is judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from smimefilter.base.reasons import Reason
from smimefilter.pki.certificate import Certificate, UnreadableCertificate

from .engine import Examination, examine
from .issued import IssuedCrl
from .knowledge import Knowledge
from .link import Link
from .path import day
from .revocation import crls_about
from .search import Way
from .sources import signer_of
from .verdict import Purpose, TrustRules, Verdict


@dataclass(frozen=True, slots=True)
class CrlSeen:
    """A CRL that may speak for a certificate."""

    sha256: str
    number: int | None
    this_update: datetime
    next_update: datetime | None
    entries: int
    signer: str  # subject; empty: nobody at hand
    says: str


@dataclass(frozen=True, slots=True)
class Step:
    """One certificate of a way."""

    certificate: Certificate
    is_root: bool
    crls: tuple[CrlSeen, ...]


class Worth(StrEnum):
    """What a way is worth."""

    VALID = "valid"
    NOT_VALID = "not valid"
    NOT_TRIED = "not tried: the verdict did not need it"
    NO_ROOT = "leads to no root"


@dataclass(frozen=True, slots=True)
class Path:
    """One way that was looked at, the end entity first."""

    steps: tuple[Step, ...]
    worth: Worth
    problems: tuple[Reason, ...] = ()  # of one that is not valid


@dataclass(frozen=True, slots=True)
class Trace:
    """A verdict and the paths that led to it, in the order they were tried."""

    verdict: Verdict
    paths: tuple[Path, ...]


def trace(
    certificate: Certificate,
    purpose: Purpose,
    at: datetime,
    rules: TrustRules,
    knowledge: Knowledge,
) -> Trace:
    """The verdict on `certificate` with all that it came from. `at` is an aware time, UTC."""
    found = examine(certificate, purpose, at, rules, knowledge)
    return Trace(found.verdict, tuple(_paths(found, knowledge)))


def _paths(found: Examination, knowledge: Knowledge) -> list[Path]:
    paths = [
        Path(
            _steps(one.way, knowledge),
            Worth.NOT_VALID if one.problems else Worth.VALID,
            one.problems,
        )
        for one in found.tried
    ]
    paths += [Path(_steps(way, knowledge), Worth.NOT_TRIED) for way in found.untried]
    if not paths:
        paths = [Path(_steps(way, knowledge), Worth.NO_ROOT) for way in found.dead_ends]
    return paths


def _steps(way: Way, knowledge: Knowledge) -> tuple[Step, ...]:
    return tuple(
        Step(link.certificate, knowledge.is_root(link), tuple(_crls(link, way, knowledge)))
        for link in way
    )


def _crls(link: Link, way: Way, knowledge: Knowledge) -> list[CrlSeen]:
    if link is way[-1]:
        return []  # nobody asks about a root, nor about what has no issuer here
    try:
        return [_seen(crl, link, knowledge) for crl in crls_about(link, knowledge)]
    except UnreadableCertificate:
        return []


def _seen(issued: IssuedCrl, link: Link, knowledge: Knowledge) -> CrlSeen:
    crl, signer = issued.crl, signer_of(issued, knowledge)
    return CrlSeen(
        sha256=crl.sha256,
        number=crl.number,
        this_update=crl.this_update,
        next_update=crl.next_update,
        entries=crl.count,
        signer=signer.certificate.subject if signer else "",
        says=_says(issued, link),
    )


def _says(issued: IssuedCrl, link: Link) -> str:
    entry = issued.listing(link)
    if entry is not None:
        because = f", {entry.reason}" if entry.reason else ""
        return f"listed, {day(entry.date)}{because}"
    if not issued.reasons_for(link):
        return "for other certificates"
    return "changes only, not listed" if issued.crl.is_delta else "not listed"
