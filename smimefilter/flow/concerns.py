"""What is, or soon will be, wrong with the certificates of people who use mail. Pure.

For each person and purpose the same selection is made as for a mail: a certificate that was
revoked, black-listed or has expired is named with what it means, nobody left to encrypt to or
to sign with, or another one that takes its place. A choice that ends within a month is named
before it does.

Leaves remembering who is active to `activity.py`, reporting to `revalidation.py` and
`checkup.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from smimefilter.base.address import BadAddress
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.selection import Candidate, Selection, for_encryption, for_signing
from smimefilter.plan.snapshot import Moment
from smimefilter.ports.stores import ActiveUser
from smimefilter.trust.verdict import Need, Purpose, Standing, Verdict

SOON: Final = timedelta(days=30)


class Trouble(StrEnum):
    """What it is with a certificate, in a word; those of `Standing` and one more."""

    REVOKED = "revoked"
    BLACK_LISTED = "black-listed"
    EXPIRED = "expired"
    UNTRUSTED = "untrusted"
    UNSUITABLE = "unsuitable"
    NOT_YET_VALID = "not yet valid"
    EXPIRING = "expiring"


@dataclass(frozen=True, slots=True)
class Concern:
    """One certificate of one active user."""

    user: ActiveUser
    thumbprint: str
    subject: str
    trouble: Trouble
    until: datetime  # end of its validity
    why: str  # the reasons of its verdict
    covered: bool  # another certificate does in its place
    blamed: Certificate | None = None  # the CA above that it is the fault of

    @property
    def key(self) -> tuple[str, Purpose, str, Trouble]:
        """What makes it the same concern when it is found again."""
        return self.user.address, self.user.purpose, self.thumbprint, self.trouble


_FINDERS: Final[Mapping[Purpose, Callable[[Moment, str], Selection]]] = {
    Purpose.ENCRYPT: for_encryption,
    Purpose.SIGN: for_signing,
}
# An old certificate that has expired beside its successor is how things should be.
_NO_NEWS_WHEN_COVERED: Final = frozenset(
    {Trouble.EXPIRED, Trouble.UNTRUSTED, Trouble.UNSUITABLE, Trouble.NOT_YET_VALID}
)


def concerns(moment: Moment, users: Iterable[ActiveUser]) -> list[Concern]:
    """Every concern about these users, in their order."""
    return [concern for user in users for concern in _of(moment, user)]


def needs_of(moment: Moment, user: ActiveUser) -> tuple[Need, ...]:
    """What may be had elsewhere and change what is said of a user's certificates."""
    try:
        return _FINDERS[user.purpose](moment, user.address).needs
    except BadAddress:
        return ()


def authorities_of(moment: Moment, user: ActiveUser) -> Iterator[Certificate]:
    """The CAs that the certificates of a user lead through, as far as a way was found."""
    try:
        selection = _FINDERS[user.purpose](moment, user.address)
    except BadAddress:
        return
    for candidate in selection.candidates:
        if candidate.verdict is not None:
            yield from candidate.verdict.path[1:]


def blamed(certificate: Certificate, verdict: Verdict) -> Certificate | None:
    """The CA above a certificate that a verdict finds at fault, and not the certificate."""
    about = {reason.about for reason in verdict.reasons}
    if verdict.usable or certificate.thumbprint in about:
        return None
    return next((one for one in verdict.path[1:] if one.thumbprint in about), None)


def _of(moment: Moment, user: ActiveUser) -> Iterator[Concern]:
    try:
        selection = _FINDERS[user.purpose](moment, user.address)
    except BadAddress:
        return
    ends = [one.not_after for one in selection.certificates]
    last = max(ends, default=None)
    for candidate in selection.candidates:
        if candidate.certificate is None or candidate.verdict is None:
            continue
        if candidate.verdict.usable:
            # of several that do, the one that ends last counts
            expiring = candidate.used and last is not None and last - moment.now < SOON
            if expiring and candidate.certificate.not_after == last:
                yield _concern(user, candidate, Trouble.EXPIRING, covered=False)
            continue
        trouble = _TROUBLES[candidate.verdict.standing]
        covered = last is not None
        if not (covered and trouble in _NO_NEWS_WHEN_COVERED):
            yield _concern(user, candidate, trouble, covered=covered)


_TROUBLES: Final = {
    Standing.EXPIRED: Trouble.EXPIRED,
    Standing.NOT_YET_VALID: Trouble.NOT_YET_VALID,
    Standing.REVOKED: Trouble.REVOKED,
    Standing.BLACK_LISTED: Trouble.BLACK_LISTED,
    Standing.UNTRUSTED: Trouble.UNTRUSTED,
    Standing.UNSUITABLE: Trouble.UNSUITABLE,
}


def _concern(
    user: ActiveUser, candidate: Candidate, trouble: Trouble, *, covered: bool
) -> Concern:
    certificate, verdict = candidate.certificate, candidate.verdict
    assert certificate is not None
    assert verdict is not None
    return Concern(
        user=user,
        thumbprint=candidate.thumbprint,
        subject=certificate.subject,
        trouble=trouble,
        until=certificate.not_after,
        why="; ".join(str(reason) for reason in verdict.reasons),
        covered=covered,
        blamed=blamed(certificate, verdict),
    )
