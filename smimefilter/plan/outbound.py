"""From facts to a plan: what happens to a mail for each of its recipients. Pure.

The stricter side wins: `mandatory` of sender or recipient, else `never` of either, else
`allow`. A mandatory encryption that is not possible refuses; it never becomes a clear copy.
Trouble with what must be there (an additional certificate) defers the whole mail.
Recipients that fare alike share a copy, unless sharing would show a hidden recipient to
another: RecipientInfos name only who stands in To or Cc, or who gets the copy alone.

Leaves choosing certificates to `selection.py`, signing to `signing.py`, carrying out to
`flow/`. RFC 8551 §3.3 and §3.5, RFC 3463.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from smimefilter.base.address import NULL_SENDER, BadAddress, address_key
from smimefilter.base.algorithms import ContentCipher, KeyTransport
from smimefilter.base.envelope import Transaction
from smimefilter.base.errors import Status
from smimefilter.base.reasons import Because, Reason
from smimefilter.message.protect import Hp
from smimefilter.pki.certificate import Certificate
from smimefilter.policy.preferences import (
    ADDITIONAL_REQUIRED,
    CONTENT_CIPHER,
    ENCRYPT,
    KEY_TRANSPORT,
    LOCALITY,
    MAX_SMIME_SIZE,
    ON_MISSING_CERTIFICATE,
    PROTECT_HEADERS,
    SKIP_CALENDAR,
    SKIP_ENCRYPTED,
    Encrypt,
    Locality,
    OnMissing,
    Preference,
    ProtectHeaders,
)
from smimefilter.policy.scopes import GLOBAL
from smimefilter.policy.tree import DEFAULT, Resolved, View
from smimefilter.trust.verdict import Standing

from .facts import Mail
from .inbound import Reader, cleaning, inbound, is_forged
from .opened import Reading
from .plan import Action, Copy, Decision, Encryption, Plan, Refusal, Signing
from .selection import Candidate, Selection, additional, for_encryption
from .signing import NOT_SIGNED, SignerChoice, choose_signer
from .snapshot import Moment
from .triggers import Trigger, asks_to_encrypt

_T = TypeVar("_T")

MUST_ENCRYPT: Final = Status(5, "7.5")
NOT_AUTHORISED: Final = Status(5, "7.1")
MUST_SIGN: Final = Status(5, "7.5")
TOO_LARGE: Final = Status(5, "3.4")
NOT_NOW: Final = Status(4, "7.5")
BAD_RECIPIENT: Final = Status(5, "1.3")


class _Sender(NamedTuple):
    """What holds for the whole mail."""

    view: View
    mail: Mail
    signer: SignerChoice
    additional: Selection
    trigger: Trigger | None  # asks for encryption
    skip: Reason | None  # the mail is left as it is where encryption is not mandatory
    settled: Reason | None  # encrypted already: that is enough even where it is mandatory
    too_large: Reason | None
    reader: Reader | None  # opens the mail; None where there is none to open


class _Treatment(NamedTuple):
    """What a recipient's copy needs; copies with equal treatment can be one."""

    signing: Signing | None = None
    encrypted: bool = False
    cipher: ContentCipher | None = None
    transport: KeyTransport | None = None
    rsa_only: bool = True  # some readers of RSA mail fail at RecipientInfos of other keys
    cuts: tuple[Trigger, ...] = ()
    reading: Reading | None = None  # for our own people


UNTOUCHED: Final = _Treatment()
_EVERYBODY: Final = frozenset({GLOBAL, DEFAULT})  # scopes that say nothing of a recipient


def outbound(
    transaction: Transaction,
    mail: Mail,
    moment: Moment,
    reader: Reader | None = None,
    *,
    ours: bool = True,
) -> Plan:
    """The plan for a mail; `ours`: one of our own clients brought it; `reader`: opens it for
    internal recipients.

    Raises `BadAddress` when the sender cannot be read, `KeyTrouble`.
    """
    view = moment.view(transaction.sender)
    sender = _read_sender(transaction, mail, moment, view, reader, ours=ours)
    outcomes = [
        _decide(moment, sender, recipient.address) for recipient in transaction.recipients
    ]
    decisions = _all_or_none(sender, [d for d, _ in outcomes], transaction.one_reply)
    copies = _copies(sender, decisions, [treatment for _, treatment in outcomes])
    signers = reader.verdicts if reader is not None else ()
    return Plan(decisions, copies, sender.signer.selection, sender.additional, signers)


def _read_sender(
    transaction: Transaction,
    mail: Mail,
    moment: Moment,
    view: View,
    reader: Reader | None,
    *,
    ours: bool,
) -> _Sender:
    limit = view.get(MAX_SMIME_SIZE)
    too_large = None
    if limit.value is not None and mail.size > limit.value:
        too_large = Reason(Because.TOO_LARGE, "max-smime-size", limit.source, str(limit.value))
    login = transaction.client.login
    signer = (
        choose_signer(moment, view, mail, transaction.sender, login, ours=ours)
        if too_large is None
        else NOT_SIGNED
    )
    return _Sender(
        view=view,
        mail=mail,
        signer=signer,
        additional=additional(moment, transaction.sender),
        trigger=asks_to_encrypt(view, mail),
        skip=_skipped(view, mail),
        settled=_settled(view, mail),
        too_large=too_large,
        reader=reader,
    )


def _settled(view: View, mail: Mail) -> Reason | None:
    setting = view.get(SKIP_ENCRYPTED)
    if setting.value and mail.is_encrypted:
        return Reason(Because.ALREADY_ENCRYPTED, "skip-encrypted", setting.source)
    return None


def _skipped(view: View, mail: Mail) -> Reason | None:
    setting = view.get(SKIP_CALENDAR)
    if setting.value and mail.is_calendar:
        return Reason(Because.CALENDAR, "skip-calendar", setting.source)
    return None


def _decide(moment: Moment, sender: _Sender, address: str) -> tuple[Decision, _Treatment]:
    if address.lower() == "postmaster":  # RFC 5321 §4.5.1: without a domain it is our own
        return _to_postmaster(moment, sender, address)
    try:
        view = moment.view(address)
    except BadAddress as error:
        why = Reason(Because.BAD_ADDRESS, address, detail=str(error))
        return _refused(address, (why,), BAD_RECIPIENT, "recipient address cannot be read")
    locality = view.get(LOCALITY)
    if locality.value is Locality.INTERNAL and sender.reader is not None:
        decision, reading = inbound(view, sender.mail, address, sender.reader)
        return decision, _Treatment(reading=reading) if reading else UNTOUCHED
    if locality.value is Locality.INTERNAL:
        why = Reason(Because.LOCALITY_INTERNAL, address, locality.source)
        return Decision(address, Action.UNTOUCHED, (why,)), UNTOUCHED
    wish, reason = _wish(sender, view)
    if sender.settled:
        return Decision(address, Action.UNTOUCHED, (reason, sender.settled)), UNTOUCHED
    if sender.too_large and wish is Encrypt.MANDATORY:
        text = "encryption required, but the message is larger than policy allows to encrypt"
        return _refused(address, (reason, sender.too_large), TOO_LARGE, text)
    if wish is Encrypt.NEVER or sender.too_large or (sender.skip and wish is Encrypt.ALLOW):
        why_not = tuple(r for r in (reason, sender.too_large or sender.skip) if r)
        return _clear(sender, address, why_not, None)
    return _encrypted(moment, sender, view, address, wish, reason)


def _to_postmaster(
    moment: Moment, sender: _Sender, address: str
) -> tuple[Decision, _Treatment]:
    """Whose domain is not told: what everybody has set holds, and no private key is his."""
    why = Reason(Because.LOCALITY_INTERNAL, address)
    if sender.reader is not None:
        reading = cleaning(moment.view(NULL_SENDER), sender.reader.authserv_id)
        if is_forged(sender.mail, reading):
            reasons = (why, Reason(Because.FORGED_REPORT, address))
            return Decision(address, Action.CLEAN, reasons), _Treatment(reading=reading)
    return Decision(address, Action.UNTOUCHED, (why,)), UNTOUCHED


def _wish(sender: _Sender, view: View) -> tuple[Encrypt, Reason]:
    """The stricter of both sides, and the preference that decided."""
    ours, theirs = sender.view.get(ENCRYPT), view.get(ENCRYPT)
    for setting in (ours, theirs):
        if setting.value is Encrypt.MANDATORY:
            why = Reason(Because.ENCRYPT_MANDATORY, setting.scope, setting.source)
            return Encrypt.MANDATORY, why
    for setting in (ours, theirs):
        if setting.value is Encrypt.NEVER:
            return Encrypt.NEVER, Reason(Because.ENCRYPT_NEVER, setting.scope, setting.source)
    if sender.trigger:
        trigger = sender.trigger
        why = Reason(Because.ENCRYPT_TRIGGER, trigger.name, trigger.source)
        return Encrypt.MANDATORY, why
    return Encrypt.ALLOW, Reason(Because.ENCRYPT_ALLOW, ours.scope, ours.source)


def _encrypted(
    moment: Moment, sender: _Sender, view: View, address: str, wish: Encrypt, reason: Reason
) -> tuple[Decision, _Treatment]:
    selection = for_encryption(moment, address)
    if not selection.certificates:
        return _without_certificate(sender, address, wish, reason, selection)
    hindered = _additional_trouble(sender)
    if hindered:
        text = "an additional encryption certificate of the policy cannot be used"
        return _deferred(address, (reason, *hindered), selection, text)
    obstacle = sender.signer.obstacle(encrypted=True)
    if obstacle:
        return _unsignable(address, (reason, *sender.signer.reasons), obstacle)
    signing = sender.signer.for_copy(encrypted=True)
    cipher, transport, said = _how(moment, sender.view, view, address)
    treatment = _Treatment(
        signing=signing,
        encrypted=True,
        cipher=cipher,
        transport=transport,
        rsa_only=all(one.key_algorithm == "rsa" for one in selection.certificates),
        cuts=_cuts(sender),
    )
    action = Action.SIGN_ENCRYPT if signing else Action.ENCRYPT
    reasons = (reason, *said, *sender.signer.reasons)
    return Decision(address, action, reasons, selection), treatment


def _without_certificate(
    sender: _Sender, address: str, wish: Encrypt, reason: Reason, selection: Selection
) -> tuple[Decision, _Treatment]:
    doubtful = next((one for one in selection.unusable if _is_in_doubt(one)), None)
    if doubtful is not None and wish is not Encrypt.NEVER:
        why = Reason(Because.REVOCATION_UNKNOWN_NOW, doubtful.thumbprint)
        text = f"whether the certificate of {address} is revoked cannot be told now"
        return _deferred(address, (reason, why), selection, text)
    rule = sender.view.get(ON_MISSING_CERTIFICATE)
    missing = Reason(Because.NO_CERTIFICATE, address)
    clear_allowed = wish is Encrypt.ALLOW and rule.value in {None, OnMissing.SEND_CLEAR}
    if clear_allowed:
        why = Reason(Because.MISSING_SEND_CLEAR, "on-missing-certificate", rule.source)
        return _clear(sender, address, (reason, missing, why), selection)
    because = (
        Because.MISSING_BOUNCE_ALL
        if rule.value is OnMissing.BOUNCE_ALL
        else Because.MISSING_BOUNCE
    )
    why = Reason(because, "on-missing-certificate", rule.source)
    text = f"encryption required, but there is no usable certificate for {address}"
    text += _what_was_found(selection)
    return _refused(address, (reason, missing, why), MUST_ENCRYPT, text, selection)


_DOUBTS: Final = frozenset({
    Because.CRL_STALE, Because.CRL_INVALID, Because.CRL_INCONCLUSIVE,
    Because.OCSP_INCONCLUSIVE,
})  # fmt: skip


def _is_in_doubt(candidate: Candidate) -> bool:
    """Whether nothing stands against a certificate but that a CRL is required and the one that
    there is, or that it says there is, cannot be had just now."""
    verdict = candidate.verdict
    if verdict is None or verdict.standing is not Standing.UNTRUSTED:
        return False
    causes = {reason.because for reason in verdict.reasons}
    if Because.NO_CRL_REQUIRED not in causes:
        return False
    return bool(causes & _DOUBTS) or any(one.crl_urls for one in verdict.path)


def _what_was_found(selection: Selection) -> str:
    """What stands against the certificates there are, for the one who wrote the mail."""
    words = dict.fromkeys(
        str(candidate.verdict.standing) if candidate.verdict else "not in store"
        for candidate in selection.unusable
    )
    return f" (found: {', '.join(words)})" if words else ""


def _additional_trouble(sender: _Sender) -> tuple[Reason, ...]:
    unusable = sender.additional.unusable
    if not unusable:
        return ()
    setting = sender.view.get(ADDITIONAL_REQUIRED)
    if not setting.value:
        return ()
    worst = unusable[0]
    first = Reason(Because.ADDITIONAL_UNUSABLE, worst.thumbprint, setting.source)
    return (first, *worst.reasons)


def _clear(
    sender: _Sender, address: str, reasons: tuple[Reason, ...], selection: Selection | None
) -> tuple[Decision, _Treatment]:
    obstacle = sender.signer.obstacle(encrypted=False)
    if obstacle:
        return _unsignable(address, (*reasons, *sender.signer.reasons), obstacle)
    signing = sender.signer.for_copy(encrypted=False)
    why = (*reasons, *sender.signer.reasons)
    if signing is None:
        return Decision(address, Action.UNTOUCHED, why, selection), UNTOUCHED
    treatment = _Treatment(signing=signing, cuts=_cuts(sender))
    return Decision(address, Action.SIGN, why, selection), treatment


def _unsignable(
    address: str, reasons: tuple[Reason, ...], obstacle: Reason
) -> tuple[Decision, _Treatment]:
    if obstacle.because is Because.NO_SIGNING_CERTIFICATE:
        text = f"signing required, but there is no usable certificate for {obstacle.about}"
        return _refused(address, reasons, MUST_SIGN, text)
    if obstacle.because is Because.FOREIGN_ORIGIN:
        text = "this sender's mail is signed, and is taken from our own clients only"
        return _refused(address, reasons, NOT_AUTHORISED, text)
    text = "signing required, but the From address is not the sender's to sign for"
    return _refused(address, reasons, NOT_AUTHORISED, text)


def _refused(
    address: str,
    reasons: tuple[Reason, ...],
    status: Status,
    text: str,
    selection: Selection | None = None,
) -> tuple[Decision, _Treatment]:
    refusal = Refusal(status, text)
    return Decision(address, Action.REFUSE, reasons, selection, refusal), UNTOUCHED


def _deferred(
    address: str, reasons: tuple[Reason, ...], selection: Selection, text: str
) -> tuple[Decision, _Treatment]:
    refusal = Refusal(NOT_NOW, text)
    return Decision(address, Action.DEFER, reasons, selection, refusal), UNTOUCHED


def _cuts(sender: _Sender) -> tuple[Trigger, ...]:
    triggers = (sender.trigger, sender.signer.trigger)
    return tuple(trigger for trigger in triggers if trigger and trigger.cut)


def _how(
    moment: Moment, sender: View, recipient: View, address: str
) -> tuple[ContentCipher, KeyTransport, tuple[Reason, ...]]:
    """Cipher and key transport. Where nobody has set one, it is the strongest that the
    recipient's mail program said it reads."""
    cipher = _of_either(sender, recipient, CONTENT_CIPHER)
    transport = _of_either(sender, recipient, KEY_TRANSPORT)
    known = moment.snapshot.capabilities
    said = known.get(address_key(address)) if known else None
    if said is None:
        return cipher.value, transport.value, ()
    chosen = (said.best if cipher.scope == DEFAULT else None) or cipher.value
    oaep = said.oaep and transport.scope == DEFAULT
    how = KeyTransport.OAEP if oaep else transport.value
    if (chosen, how) == (cipher.value, transport.value):
        return chosen, how, ()
    why = Reason(Because.CAPABILITIES, address, detail=f"{chosen}, {how}")
    return chosen, how, (why,)


def _of_either(sender: View, recipient: View, preference: Preference[_T]) -> Resolved[_T]:
    """The recipient's value where one is set for its user or domain, else the sender's."""
    theirs = recipient.get(preference)
    return sender.get(preference) if theirs.scope in _EVERYBODY else theirs


def _all_or_none(
    sender: _Sender, decisions: list[Decision], one_reply: bool
) -> tuple[Decision, ...]:
    """A deferral defers the whole mail, or others would get it once more with each try; for
    want of a private key to read it, that recipient's alone where each has a reply of his own.
    `bounce-all` refuses the whole mail."""
    whole = next((d for d in decisions if _defers_all(d, one_reply)), None)
    rule = sender.view.get(ON_MISSING_CERTIFICATE)
    if whole is None and rule.value is OnMissing.BOUNCE_ALL:
        whole = next((d for d in decisions if _bounces_all(d)), None)
    if whole is None:
        return tuple(decisions)
    return tuple(
        d
        if d is whole or d.action in {Action.DEFER, Action.REFUSE}
        else Decision(d.address, whole.action, whole.reasons, d.certificates, whole.refusal)
        for d in decisions
    )


def _defers_all(decision: Decision, one_reply: bool) -> bool:
    if decision.action is not Action.DEFER:
        return False
    return one_reply or all(r.because is not Because.KEY_TROUBLE for r in decision.reasons)


def _bounces_all(decision: Decision) -> bool:
    return any(reason.because is Because.MISSING_BOUNCE_ALL for reason in decision.reasons)


def _copies(
    sender: _Sender, decisions: tuple[Decision, ...], treatments: list[_Treatment]
) -> tuple[Copy, ...]:
    groups: dict[object, list[int]] = {}
    for position, (decision, treatment) in enumerate(zip(decisions, treatments, strict=True)):
        if decision.refusal is None:
            shared = treatment.encrypted and len(decisions) > 1
            apart = shared and not _is_visible(sender.mail, decision.address)
            key = (treatment, position) if apart else treatment
            groups.setdefault(key, []).append(position)
    return tuple(
        _copy(sender, treatments[positions[0]], positions, decisions)
        for positions in groups.values()
    )


def _is_visible(mail: Mail, address: str) -> bool:
    return address_key(address) in mail.visible


def _copy(
    sender: _Sender,
    treatment: _Treatment,
    positions: list[int],
    decisions: tuple[Decision, ...],
) -> Copy:
    cuts = tuple(trigger.cut for trigger in treatment.cuts if trigger.cut)
    if not treatment.encrypted or treatment.cipher is None or treatment.transport is None:
        hp = Hp.CLEAR if treatment.signing and _protects(sender) else None
        return Copy(tuple(positions), treatment.signing, None, cuts, treatment.reading, hp)
    chosen = [
        certificate
        for position in positions
        for certificate in _certificates(decisions[position])
    ]
    certificates = tuple(dict.fromkeys([*chosen, *sender.additional.certificates]))
    encryption = Encryption(certificates, treatment.cipher, treatment.transport)
    hp = Hp.CIPHER if _protects(sender) else None
    return Copy(tuple(positions), treatment.signing, encryption, cuts, protect=hp)


def _protects(sender: _Sender) -> bool:
    return sender.view.get(PROTECT_HEADERS).value is ProtectHeaders.RFC9788


def _certificates(decision: Decision) -> tuple[Certificate, ...]:
    return decision.certificates.certificates if decision.certificates else ()
