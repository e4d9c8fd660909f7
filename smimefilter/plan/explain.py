"""A plan in words: for each recipient what happens, and every reason with its source.

One structure (`as_data`) for JSON, pages and tests; `as_lines` writes it for a terminal. Both
print what the plan carries and decide nothing; what is written into copies for our own people
the caller finds out (`Written`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from smimefilter.base.reasons import Because, Reason

from .plan import Action, Copy, Decision, Plan
from .selection import Candidate, Selection


class Written(NamedTuple):
    """What is written into the header of a copy for our own people."""

    fields: tuple[str, ...] = ()  # each on one line
    subject: str | None = None  # None: as it came


def as_data(plan: Plan, written: Sequence[Written] = ()) -> dict[str, Any]:
    """The plan as JSON carries it. `written`: into each of its copies, in order."""
    leaves = _leaves(plan)
    copies = [_copy(copy, plan) for copy in plan.copies]
    for copy, one in zip(copies, written, strict=False):
        copy |= {"fields": list(one.fields), "subject": one.subject}
    return {
        "recipients": [_decision(decision) for decision in plan.decisions],
        "copies": copies,
        "signing": _selection(plan.signer if leaves else None),
        "additional": _selection(plan.additional if leaves else None),
    }


def as_lines(plan: Plan, written: Sequence[Written] = ()) -> Iterable[str]:
    """The plan as indented lines. `written`: into each of its copies, in order."""
    for decision in plan.decisions:
        yield f"{decision.address}: {decision.action}"
        if decision.refusal:
            yield f"    reply: {decision.refusal.status} {decision.refusal.text}"
        for reason in decision.reasons:
            yield f"    {_line(reason)}"
        yield from _candidate_lines("certificate", decision.certificates)
    if _leaves(plan):
        yield from _candidate_lines("signing certificate", plan.signer, indent="")
        yield from _candidate_lines("additional certificate", plan.additional, indent="")
    for number, copy in enumerate(plan.copies, start=1):
        to = ", ".join(plan.decisions[position].address for position in copy.recipients)
        yield f"copy {number} to {to}: {_what(copy, plan)}"
        if number <= len(written):
            yield from _written_lines(written[number - 1])


def _leaves(plan: Plan) -> bool:
    """Whether the mail is for somebody elsewhere: else nothing is signed or encrypted."""
    return not all(_is_ours(decision) for decision in plan.decisions)


def _is_ours(decision: Decision) -> bool:
    return any(one.because is Because.LOCALITY_INTERNAL for one in decision.reasons)


def _written_lines(written: Written) -> Iterable[str]:
    for field in written.fields:
        yield f"    {field}"
    if written.subject is not None:
        yield f"    Subject: {written.subject}"


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "address": decision.address,
        "action": decision.action.value,
        "reply": f"{decision.refusal.status} {decision.refusal.text}"
        if decision.refusal
        else None,
        "reasons": [_reason(reason) for reason in decision.reasons],
        "certificates": _selection(decision.certificates),
    }


def _copy(copy: Copy, plan: Plan) -> dict[str, Any]:
    return {
        "recipients": [plan.decisions[position].address for position in copy.recipients],
        "signed-by": copy.signing.certificate.thumbprint if copy.signing else None,
        "sign-format": copy.signing.format.value if copy.signing else None,
        "encrypted-to": [c.thumbprint for c in copy.encryption.certificates]
        if copy.encryption
        else [],
        "content-cipher": copy.encryption.cipher.value if copy.encryption else None,
        "subject-cut": [cut.pattern for cut in copy.cuts],
    }


def _selection(selection: Selection | None) -> list[dict[str, Any]]:
    return [_candidate(c) for c in selection.candidates] if selection else []


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "thumbprint": candidate.thumbprint,
        "subject": candidate.certificate.subject if candidate.certificate else None,
        "used": candidate.used,
        "standing": candidate.verdict.standing.value if candidate.verdict else None,
        "reasons": [_reason(reason) for reason in candidate.reasons],
    }


def _reason(reason: Reason) -> dict[str, str]:
    return {
        "because": reason.because.value,
        "about": reason.about,
        "source": reason.source,
        "detail": reason.detail,
        "text": str(reason),
    }


def _candidate_lines(
    label: str, selection: Selection | None, indent: str = "    "
) -> Iterable[str]:
    for candidate in selection.candidates if selection else ():
        subject = candidate.certificate.subject if candidate.certificate else "(not in store)"
        used = "used" if candidate.used else "not used"
        yield f"{indent}{label} {candidate.thumbprint[:16]}… {subject}: {used}"
        for reason in candidate.reasons:
            yield f"{indent}    {_line(reason)}"


def _line(reason: Reason) -> str:
    about = reason.about if len(reason.about) <= 64 else f"{reason.about[:16]}…"
    return f"{about}: {reason}" if about else str(reason)


_READ: Final = {
    Action.DECRYPT: "decrypted",
    Action.VERIFY: "verified",
    Action.UNDECRYPTABLE: "left as it came",
    Action.OPEN: "looked into",
    Action.CLEAN: "cleaned of forged reports",
}


def _what(copy: Copy, plan: Plan) -> str:
    words = []
    if copy.signing:
        words.append(f"signed ({copy.signing.format}, {copy.signing.algorithm})")
    if copy.encryption:
        count = len(copy.encryption.certificates)
        certificates = "1 certificate" if count == 1 else f"{count} certificates"
        words.append(f"encrypted to {certificates} ({copy.encryption.cipher})")
    if copy.cuts:
        words.append("trigger cut from the subject")
    if copy.reading:
        action = plan.decisions[copy.recipients[0]].action
        words.append(_READ[action])
        if copy.reading.inform and action is not Action.CLEAN:
            words.append("reported in its header")
    return ", ".join(words) or "unchanged"
