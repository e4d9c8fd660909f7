"""What happens to a mail for one of our own people, by what was found in it. Pure.

Decrypted content goes on in the place of what was encrypted; a signature within stays unless
policy strips it. What the mail brought along that looks like a report of ours goes, always.
A mail in which nothing is S/MIME, and nothing forged, is not touched.

Leaves opening to `flow/opening.py`, the words of the report to `flow/report.py`.
"""

from __future__ import annotations

from typing import Final, Protocol

from smimefilter.base.address import address_key
from smimefilter.base.errors import Status
from smimefilter.base.reasons import Because, Reason
from smimefilter.message.report import cleaned
from smimefilter.policy.preferences import (
    DECRYPT,
    DECRYPT_WITH,
    HARVEST,
    INFO_HEADER_PREFIX,
    INFO_HEADERS,
    LOCALITY,
    MAX_LAYERS,
    ON_UNDECRYPTABLE,
    STRIP_SIGNATURE,
    SUBJECT_TAG_DECRYPTED,
    SUBJECT_TAG_INVALID,
    SUBJECT_TAG_SIGNED,
    SUBJECT_TAGS,
    VERIFY,
    DecryptWith,
    Harvest,
    OnUndecryptable,
)
from smimefilter.policy.tree import View
from smimefilter.trust.verdict import Verdict

from .facts import Mail
from .opened import (
    EncryptedLayer,
    Opening,
    OpeningRules,
    Outcome,
    Reading,
    Signature,
    Tags,
    lesson,
)
from .plan import Action, Decision, Refusal

CANNOT_DECRYPT: Final = Status(5, "7.5")
_SIGNATURES: Final = {
    Signature.GOOD: Because.SIGNATURE_GOOD,
    Signature.MISMATCH: Because.SIGNATURE_MISMATCH,
    Signature.UNTRUSTED: Because.SIGNATURE_UNTRUSTED,
    Signature.WEAK: Because.SIGNATURE_WEAK,
    Signature.BAD: Because.SIGNATURE_BAD,
    Signature.UNREAD: Because.SIGNATURE_UNREAD,
}


class Reader(Protocol):
    """Opens the mail at hand; keeps what it found."""

    @property
    def authserv_id(self) -> str:
        """The name that results are told under (RFC 8601 §2.5)."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Those that what was found rests on."""

    def opening(self, rules: OpeningRules) -> Opening:
        """What is in the mail. Raises `KeyTrouble`."""


def inbound(
    view: View, mail: Mail, address: str, reader: Reader
) -> tuple[Decision, Reading | None]:
    """The decision for an internal recipient; without a reading the mail goes on untouched."""
    locality = view.get(LOCALITY)
    reasons = [Reason(Because.LOCALITY_INTERNAL, address, locality.source)]
    wanted = _reading(view, reader.authserv_id, address)
    action: Action = Action.OPEN
    reading: Reading | None = wanted
    opening = reader.opening(wanted.rules) if mail.is_said_protected else Opening()
    reasons += _found(opening)
    if opening.closed is not None and opening.closed.outcome is not Outcome.FAILED:
        setting = view.get(ON_UNDECRYPTABLE)
        if setting.value is OnUndecryptable.REFUSE:
            name = "on-undecryptable"
            reasons.append(Reason(Because.UNDECRYPTABLE_REFUSED, name, setting.source))
            refusal = Refusal(CANNOT_DECRYPT, _why_closed(opening))
            return Decision(address, Action.REFUSE, tuple(reasons), None, refusal), None
    if is_forged(mail, wanted):
        reasons.append(Reason(Because.FORGED_REPORT, address))
    elif not _changes(opening, wanted):
        action, reading = Action.UNTOUCHED, None
    harvest = view.get(HARVEST).value
    learnt = None
    if harvest is not Harvest.NEVER:
        learnt = lesson(opening, mail.author, trusted=harvest is Harvest.TRUSTED)
    return Decision(address, action, tuple(reasons), lesson=learnt), reading


def is_forged(mail: Mail, reading: Reading) -> bool:
    """Whether the mail brings along what looks like a report of ours."""
    message = mail.message
    patterns = reading.tags.patterns if reading.tags else ()
    return cleaned(message, reading.prefix, reading.authserv_id, patterns) is not message


def _reading(view: View, authserv_id: str, address: str) -> Reading:
    tags = None
    if view.get(SUBJECT_TAGS).value:
        tags = Tags(
            view.get(SUBJECT_TAG_DECRYPTED).value,
            view.get(SUBJECT_TAG_SIGNED).value,
            view.get(SUBJECT_TAG_INVALID).value,
        )
    rules = OpeningRules(
        decrypt=view.get(DECRYPT).value,
        verify=view.get(VERIFY).value,
        depth=view.get(MAX_LAYERS).value,
        keys_for=_keys_for(view.get(DECRYPT_WITH).value, address),
    )
    return Reading(
        rules,
        strip=view.get(STRIP_SIGNATURE).value,
        inform=view.get(INFO_HEADERS).value,
        prefix=view.get(INFO_HEADER_PREFIX).value,
        authserv_id=authserv_id,
        tags=tags,
    )


def _keys_for(whose: DecryptWith, address: str) -> str:
    """Whose private keys may open a mail to this address, as `OpeningRules` say it."""
    key = address_key(address)
    match whose:
        case DecryptWith.RECIPIENT:
            return key
        case DecryptWith.DOMAIN:
            return key[key.rindex("@") :]
        case DecryptWith.ANY:
            return ""


def _changes(opening: Opening, reading: Reading) -> bool:
    """Whether there is anything to change or to tell."""
    if opening.kept is not None or (reading.strip and opening.stripped is not None):
        return True
    told = bool(opening.layers) or opening.partly_signed
    return told and (reading.inform or reading.tags is not None)


def _found(opening: Opening) -> list[Reason]:
    found: list[Reason] = []
    for layer in opening.layers:
        if not isinstance(layer, EncryptedLayer):
            continue
        if layer.outcome is Outcome.OPENED:
            about = layer.certificate.thumbprint if layer.certificate else ""
            found.append(Reason(Because.DECRYPTED, about, detail=layer.cipher))
        elif layer.outcome is Outcome.NO_KEY:
            found.append(Reason(Because.NO_DECRYPTION_KEY))
        elif layer.outcome is not Outcome.NOT_ASKED:
            found.append(Reason(Because.NOT_DECRYPTED, detail=layer.outcome))
    found += [
        Reason(_SIGNATURES[signature])
        for signature in opening.signatures
        if signature in _SIGNATURES
    ]
    if opening.partly_signed:
        found.append(Reason(Because.PARTLY_SIGNED))
    if opening.cut_short:
        found.append(Reason(Because.LAYERS_LEFT))
    return found


def _why_closed(opening: Opening) -> str:
    closed = opening.closed
    if isinstance(closed, EncryptedLayer) and closed.outcome is Outcome.NO_KEY:
        return "the message is encrypted to keys that are not known here"
    return "the message is encrypted and cannot be decrypted here"
