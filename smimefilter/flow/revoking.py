"""What a CA's next CRL changes: who is on it, who no longer, what the audit trail says. Pure.

What is revoked stays so, at the time it was first. A hold may be lifted (`removeFromCRL`), or
become a revocation; the reason of a revocation changes to a compromise alone, of which others
have to know. RFC 5280 §5.3.1. Raises `AdminError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from smimefilter.base.errors import AdminError
from smimefilter.pki.build import CRL_REASONS
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.requests import IssuedCertificate

HOLD: Final = "certificateHold"
LIFT: Final = "removeFromCRL"  # takes a serial on hold off the CRL
REASONS: Final = (*CRL_REASONS, LIFT)
COMPROMISES: Final = frozenset({"keyCompromise", "cACompromise", "aACompromise"})
UNSPECIFIED: Final = "unspecified"
_TOLD: Final = 5  # serials in one line


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be stored with the next CRL."""

    entries: Sequence[IssuedCertificate]  # of the CRL, all of them
    revoked: Sequence[IssuedCertificate]  # new ones, and those for another reason
    restored: Sequence[IssuedCertificate]  # revoked no longer
    records: Sequence[AuditRecord]


def changes(
    authority: str,
    before: Iterable[IssuedCertificate],
    asked: Mapping[int, str],
    now: datetime,
    *,
    anew: bool = False,
    force: bool = False,
) -> Changes:
    """What becomes of the serial numbers `before` when these are `asked` to be revoked, each
    for a reason. `anew`: nothing else stays revoked, which takes `force` where there is any."""
    known = {one.serial: one for one in before}
    revoked, restored = [], []
    for serial, reason in asked.items():
        old = known.get(serial)
        if reason == LIFT:
            restored.append(_on_hold(old, serial))
        elif old is None:
            new = IssuedCertificate(
                authority, serial, revoked=now, reason=reason or UNSPECIFIED
            )
            revoked.append(new)
        elif may_become(old.reason, reason):
            revoked.append(replace(old, reason=reason or UNSPECIFIED))
        elif reason not in {"", UNSPECIFIED, old.reason}:
            raise AdminError(
                f"serial {serial:x} is revoked already, for {old.reason}",
                mend="its reason may become a compromise, nothing else",
            )
    if anew:
        gone = [one for one in known.values() if one.serial not in asked]
        if gone and not force:
            raise _would_go(gone)
        restored += gone
    off = {one.serial for one in restored}
    entries = {
        serial: one
        for serial, one in (known | {one.serial: one for one in revoked}).items()
        if serial not in off
    }
    records = [_record(one, known.get(one.serial), now) for one in revoked]
    records += [
        AuditRecord(
            now, authority, "revoked no longer",
            f"serial {one.serial:x}: {one.reason} since {one.revoked:%Y-%m-%d %H:%M:%S} UTC",
        )
        for one in restored
    ]  # fmt: skip
    return Changes([entries[serial] for serial in sorted(entries)], revoked, restored, records)


def check_reasons(reasons: Iterable[str]) -> None:
    """Whether they are any. Raises `AdminError`."""
    for reason in reasons:
        if reason and reason not in REASONS:
            raise AdminError(
                f"no reason for revocation: '{reason}'",
                mend=f"write one of {', '.join(REASONS)}",
            )


def may_become(old: str, new: str) -> bool:
    """Whether what is revoked for one reason may be so for another from now on."""
    if old == HOLD:
        return new != HOLD
    return new in COMPROMISES and old not in COMPROMISES


def _on_hold(old: IssuedCertificate | None, serial: int) -> IssuedCertificate:
    if old is None or old.reason != HOLD:
        how = "not revoked" if old is None else f"revoked for good, for {old.reason}"
        raise AdminError(f"serial {serial:x} is {how}", mend=f"{LIFT} is for those with {HOLD}")
    return old


def _would_go(gone: Sequence[IssuedCertificate]) -> AdminError:
    serials = ", ".join(f"{one.serial:x}" for one in gone[:_TOLD])
    more = f" and {len(gone) - _TOLD} more" if len(gone) > _TOLD else ""
    return AdminError(
        f"serials that are revoked would be so no longer: {serials}{more}",
        mend="say --force if that is meant",
    )


def _record(
    one: IssuedCertificate, old: IssuedCertificate | None, now: datetime
) -> AuditRecord:
    was = "" if old is None else f", was {old.reason}"
    return AuditRecord(
        now, one.authority, "revoked", f"serial {one.serial:x}: {one.reason}{was}"
    )
