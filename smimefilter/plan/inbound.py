"""What happens to a mail for one of our own people, by what was found in it. Pure.

Decrypted content goes on in the place of what was encrypted; a signature within stays unless
policy strips it. What the mail brought along that looks like a report of ours goes, always.
A mail in which nothing is S/MIME, and nothing forged, is not touched.

Leaves opening to `flow/opening.py`, the words of the report to `flow/report.py`.
"""

from __future__ import annotations

from typing import Final, Protocol

from smimefilter.base.address import address_key
from smimefilter.base.errors import KeyTrouble, Status
from smimefilter.base.reasons import Because, Reason
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
    SUBJECT_TAG_UNTRUSTED,
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
    CompressedLayer,
    EncryptedLayer,
    Opening,
    OpeningRules,
    Outcome,
    Reading,
    Signature,
    SignedLayer,
    SignerReport,
    Tags,
    lesson,
)
from .plan import Action, Decision, Refusal

CANNOT_DECRYPT: Final = Status(5, "7.5")
NOT_NOW: Final = Status(4, "7.5")
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
    try:
        opening = reader.opening(wanted.rules) if mail.is_said_protected else Opening()
    except KeyTrouble as trouble:
        reasons.append(Reason(Because.KEY_TROUBLE, detail=str(trouble)))
        refusal = Refusal(NOT_NOW, "a private key that decrypts it cannot be used now")
        return Decision(address, Action.DEFER, tuple(reasons), None, refusal), None
    reasons += _found(opening, view)
    action: Action = _action(opening)
    reading: Reading | None = wanted
    if opening.closed is not None and opening.closed.outcome is not Outcome.FAILED:
        setting = view.get(ON_UNDECRYPTABLE)
        if setting.value is OnUndecryptable.REFUSE:
            name = "on-undecryptable"
            reasons.append(Reason(Because.UNDECRYPTABLE_REFUSED, name, setting.source))
            refusal = Refusal(CANNOT_DECRYPT, _why_closed(opening))
            return Decision(address, Action.REFUSE, tuple(reasons), None, refusal), None
    if wanted.strip and opening.stripped is not None and opening.stripped is not opening.kept:
        why = view.get(STRIP_SIGNATURE).source
        reasons.append(Reason(Because.SIGNATURE_STRIPPED, "strip-signature", why))
    if opening.changed:
        reasons.append(Reason(Because.HEADERS_RESTORED, detail=", ".join(opening.changed)))
    if is_forged(mail, wanted):
        reasons.append(Reason(Because.FORGED_REPORT, address))
        action = Action.CLEAN if action is Action.UNTOUCHED else action
    elif not _changes(opening, wanted):
        action, reading = Action.UNTOUCHED, None
    harvest = view.get(HARVEST).value
    learnt = None
    if harvest is not Harvest.NEVER:
        learnt = lesson(opening, mail.author, trusted=harvest is Harvest.TRUSTED)
    elif opening.signed_by is not None and opening.signed_by.new_key:
        learnt = lesson(opening, mail.author, trusted=True, keep=False)
    decision = Decision(
        address, action, tuple(reasons), lesson=learnt, signers=_signers(opening)
    )
    return decision, reading


def cleaning(view: View, authserv_id: str) -> Reading:
    """A reading that opens nothing and tells nothing."""
    return Reading(
        OpeningRules(decrypt=False, verify=False, depth=0),
        strip=False,
        inform=False,
        prefix=view.get(INFO_HEADER_PREFIX).value,
        authserv_id=authserv_id,
        tags=_tags(view),
    )


def is_forged(mail: Mail, reading: Reading) -> bool:
    """Whether the mail brings along what looks like a report of ours."""
    patterns = reading.tags.patterns if reading.tags else ()
    return mail.is_forged(reading.prefix, reading.authserv_id, patterns)


def _tags(view: View) -> Tags | None:
    if not view.get(SUBJECT_TAGS).value:
        return None
    return Tags(
        view.get(SUBJECT_TAG_DECRYPTED).value,
        view.get(SUBJECT_TAG_SIGNED).value,
        view.get(SUBJECT_TAG_INVALID).value,
        view.get(SUBJECT_TAG_UNTRUSTED).value,
    )


def _reading(view: View, authserv_id: str, address: str) -> Reading:
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
        tags=_tags(view),
    )


def _keys_for(whose: DecryptWith | tuple[str, ...], address: str) -> tuple[str, ...]:
    """Whose private keys may open a mail to this address, as `OpeningRules` say it."""
    key = address_key(address)
    match whose:
        case DecryptWith.RECIPIENT:
            return (key,)
        case DecryptWith.DOMAIN:
            return (key[key.rindex("@") :],)
        case DecryptWith.ANY:
            return ()
        case _:
            return tuple(one if one.startswith("*.") else f"@{one}" for one in whose)


def _changes(opening: Opening, reading: Reading) -> bool:
    """Whether there is anything to change or to tell."""
    if opening.kept is not None or (reading.strip and opening.stripped is not None):
        return True
    told = bool(opening.layers) or opening.partly
    return told and (reading.inform or reading.tags is not None)


def _signers(opening: Opening) -> tuple[SignerReport, ...]:
    return tuple(signer for layer in opening.signed_layers for signer in layer.signers)


def _action(opening: Opening) -> Action:
    """What it comes to, in a word."""
    if opening.was_decrypted:
        return Action.DECRYPT
    if opening.closed is not None:
        return Action.UNDECRYPTABLE
    if opening.signed_layers:
        return Action.VERIFY
    return Action.OPEN if opening.layers or opening.partly else Action.UNTOUCHED


def _found(opening: Opening, view: View) -> list[Reason]:
    found: list[Reason] = []
    for layer in opening.layers:
        match layer:
            case EncryptedLayer():
                found.append(_of_encrypted(layer, view))
            case SignedLayer():
                found += _of_signed(layer, view)
            case CompressedLayer(outcome=Outcome.OPENED):
                found.append(Reason(Because.UNPACKED))
            case CompressedLayer():
                found.append(Reason(Because.NOT_UNPACKED, detail=layer.outcome))
    if opening.partly_signed:
        found.append(Reason(Because.PARTLY_SIGNED))
    if opening.partly_encrypted:
        found.append(Reason(Because.PARTLY_ENCRYPTED))
    if opening.cut_short:
        depth = view.get(MAX_LAYERS)
        found.append(Reason(Because.LAYERS_LEFT, "max-layers", depth.source, str(depth.value)))
    return found


def _of_encrypted(layer: EncryptedLayer, view: View) -> Reason:
    about = layer.certificate.thumbprint if layer.certificate else ""
    match layer.outcome:
        case Outcome.OPENED:
            return Reason(Because.DECRYPTED, about, detail=layer.cipher)
        case Outcome.NO_KEY:
            return Reason(Because.NO_DECRYPTION_KEY, detail="; ".join(layer.recipients))
        case Outcome.KEY_WITHHELD:
            source = view.get(DECRYPT_WITH).source
            return Reason(Because.KEY_WITHHELD, about, source)
        case Outcome.NOT_ASKED:
            return Reason(Because.DECRYPT_OFF, "decrypt", view.get(DECRYPT).source)
        case _:
            return Reason(Because.NOT_DECRYPTED, detail=layer.outcome)


def _of_signed(layer: SignedLayer, view: View) -> list[Reason]:
    """Why the signatures of a layer are worth what they are."""
    if not layer.signers:
        return [Reason(Because.SIGNATURE_BAD, detail="malformed")]
    found = []
    for signer in layer.signers:
        if signer.signature is Signature.NOT_ASKED:
            return [Reason(Because.VERIFY_OFF, "verify", view.get(VERIFY).source)]
        about = signer.certificate.thumbprint if signer.certificate else ""
        said = [", ".join(signer.addresses[:3]), signer.flaw or ""]
        if signer.verdict is not None and not signer.verdict.usable:
            said += [str(signer.verdict.standing), *map(str, signer.verdict.reasons)]
        detail = "; ".join(filter(None, said))
        found.append(Reason(_SIGNATURES[signer.signature], about, detail=detail))
        if signer.new_key:
            found.append(Reason(Because.NEW_KEY, about))
    return found


def _why_closed(opening: Opening) -> str:
    match opening.closed:
        case CompressedLayer():
            return "the message is compressed and cannot be unpacked here"
        case EncryptedLayer(outcome=Outcome.NO_KEY | Outcome.KEY_WITHHELD):
            return "the message is encrypted to keys that are not this recipient's"
        case _:
            return "the message is encrypted and cannot be decrypted here"
