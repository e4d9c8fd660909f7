"""Whether a mail is signed, and in whose name.

Nobody gets another's signature by writing another's From: the author of a mail (its one From
address) has to be its envelope sender, or an address that the envelope sender may sign for.
A client that logged in has to be the author, or its login may sign for the author.

Leaves the certificate to `selection.py`. RFC 8551 §3.5, RFC 8550 §3. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.reasons import Because, Reason
from smimefilter.policy.preferences import (
    LOCALITY,
    MAY_SIGN_FOR,
    ON_MISSING_SIGNATURE,
    SIGN,
    SIGN_FORMAT,
    SIGNATURE_ALGORITHM,
    SIGNING_IDENTITY,
    SKIP_CALENDAR,
    SKIP_SIGNED,
    Locality,
    OnMissingSignature,
    Sign,
    SigningIdentity,
)
from smimefilter.policy.tree import View

from .facts import Mail
from .plan import Signing
from .selection import Selection, for_signing, holds
from .snapshot import Moment
from .triggers import Trigger, asks_to_sign


@dataclass(frozen=True, slots=True, eq=False)
class SignerChoice:
    """How a sender's mails are to be signed: the wish, and what it can be met with."""

    wish: Sign
    signing: Signing | None
    reasons: tuple[Reason, ...]
    selection: Selection | None = None
    trigger: Trigger | None = None
    forbidden: Reason | None = None  # the author is not the sender's to sign for
    missing: Reason | None = None  # no certificate, and policy does not let it go unsigned

    def for_copy(self, *, encrypted: bool) -> Signing | None:
        """The signature of a copy, given that it is (not) encrypted."""
        if self.wish is Sign.ALWAYS or (self.wish is Sign.WHEN_ENCRYPTING and encrypted):
            return self.signing
        return None

    def obstacle(self, *, encrypted: bool) -> Reason | None:
        """Why a copy may not go at all: it has to be signed and cannot be."""
        if self.wish is Sign.ALWAYS and self.forbidden:
            return self.forbidden
        wanted = self.wish is Sign.ALWAYS or (self.wish is Sign.WHEN_ENCRYPTING and encrypted)
        return self.missing if wanted else None


NOT_SIGNED = SignerChoice(Sign.NEVER, None, ())
_WISHES = {
    Sign.NEVER: Because.SIGN_NEVER,
    Sign.WHEN_ENCRYPTING: Because.SIGN_WHEN_ENCRYPTING,
    Sign.ALWAYS: Because.SIGN_ALWAYS,
}


def choose_signer(
    moment: Moment, view: View, mail: Mail, sender: str, login: str, *, ours: bool
) -> SignerChoice:
    """The signing of a mail from `sender` (envelope), whose preferences are `view`. `ours`:
    one of our own clients brought it."""
    if not sender:
        return SignerChoice(Sign.NEVER, None, (Reason(Because.NULL_SENDER),))
    if not ours and view.get(LOCALITY).value is Locality.EXTERNAL:
        foreign = Reason(Because.FOREIGN_ORIGIN, sender, "own-clients")
        return SignerChoice(Sign.NEVER, None, (foreign,))
    trigger, skip = asks_to_sign(view, mail), _skipped(view, mail)
    if trigger or skip:
        return _chosen(moment, view, mail.author, sender, login, trigger, skip, ours=ours)
    # nearly all mail of a sender fares alike: that is found out once, as selections are
    memory, key = moment.snapshot.selections, (choose_signer, sender, login, mail.author, ours)
    known: SignerChoice | None = memory.get(key, moment.now)
    if known is None:
        known = _chosen(moment, view, mail.author, sender, login, None, None, ours=ours)
        memory.put(key, known, *holds(known.selection))
    return known


def _chosen(
    moment: Moment,
    view: View,
    author: str | None,
    sender: str,
    login: str,
    trigger: Trigger | None,
    skip: Reason | None,
    *,
    ours: bool,
) -> SignerChoice:
    """The signing of a mail of `author`: what it asks for, and why it may be left alone."""
    wish, reason, trigger = _wish(view, trigger)
    if wish is Sign.NEVER:
        return SignerChoice(wish, None, (reason,))
    identity, why = _identity(moment, view, author, sender, login)
    if not ours:
        identity, why = None, Reason(Because.FOREIGN_ORIGIN, sender, "own-clients")
    if identity is None:
        return SignerChoice(wish, None, (reason, why), trigger=trigger, forbidden=why)
    if skip:
        return SignerChoice(Sign.NEVER, None, (reason, skip))
    selection = for_signing(moment, identity)
    if not selection.certificates:
        return _without(view, wish, (reason, why), selection, trigger, identity)
    chosen = selection.candidates[0]
    signing = Signing(
        selection.certificates[0],
        chosen.verdict.path[1:-1] if chosen.verdict else (),
        view.get(SIGN_FORMAT).value,
        view.get(SIGNATURE_ALGORITHM).value,
    )
    return SignerChoice(wish, signing, (reason, why), selection, trigger)


def _wish(view: View, trigger: Trigger | None) -> tuple[Sign, Reason, Trigger | None]:
    sign = view.get(SIGN)
    if trigger and sign.value is not Sign.NEVER:
        return Sign.ALWAYS, Reason(Because.SIGN_TRIGGER, trigger.name, trigger.source), trigger
    return sign.value, Reason(_WISHES[sign.value], "sign", sign.source), None


def _skipped(view: View, mail: Mail) -> Reason | None:
    signed = view.get(SKIP_SIGNED)
    if signed.value and mail.is_signed:
        return Reason(Because.ALREADY_SIGNED, "skip-signed", signed.source)
    calendar = view.get(SKIP_CALENDAR)
    if calendar.value and mail.is_calendar:
        return Reason(Because.CALENDAR, "skip-calendar", calendar.source)
    return None


def _identity(
    moment: Moment, view: View, author: str | None, sender: str, login: str
) -> tuple[str | None, Reason]:
    """The address whose key signs, or None and why not."""
    rule = view.get(SIGNING_IDENTITY)
    logged_in = _view_of_login(moment, login)
    if rule.value is SigningIdentity.ENVELOPE:
        identity, reason = address_key(sender), Because.IDENTITY_ENVELOPE
    elif author is None:
        return None, Reason(Because.FROM_UNREADABLE, "From", rule.source)
    else:
        identity, reason = author, Because.IDENTITY_FROM
    # A client that logged in only claims its sender: the permits of its login count.
    permit = _permit(logged_in if login else view, identity)
    if login and not permit and not _is_address(login, identity):
        return None, Reason(Because.LOGIN_MISMATCH, identity, rule.source, detail=login)
    if identity == address_key(sender):
        return identity, Reason(reason, identity, rule.source)
    if permit:
        return identity, permit
    if rule.value is SigningIdentity.FROM and _agrees(moment, identity):
        return identity, Reason(reason, identity, rule.source)
    return None, Reason(Because.FROM_MISMATCH, identity, rule.source, detail=sender)


def _permit(holder: View | None, identity: str) -> Reason | None:
    """The preference that lets this sender or login sign in the name of `identity`."""
    if holder is None:
        return None
    permit = holder.get(MAY_SIGN_FOR)
    if identity in permit.value or f"*@{identity.rpartition('@')[2]}" in permit.value:
        return Reason(Because.MAY_SIGN_FOR, identity, permit.source)
    return None


def _view_of_login(moment: Moment, login: str) -> View | None:
    try:
        return moment.view(login) if login else None
    except BadAddress:
        return None


def _is_address(login: str, identity: str) -> bool:
    try:
        return address_key(login) == identity
    except BadAddress:
        return False


def _agrees(moment: Moment, author: str) -> bool:
    """With `from`, the author's own preferences have to say `from` as well."""
    return moment.view(author).get(SIGNING_IDENTITY).value is SigningIdentity.FROM


def _without(
    view: View,
    wish: Sign,
    reasons: tuple[Reason, ...],
    selection: Selection,
    trigger: Trigger | None,
    identity: str,
) -> SignerChoice:
    rule = view.get(ON_MISSING_SIGNATURE)
    missing = Reason(Because.NO_SIGNING_CERTIFICATE, identity, rule.source)
    refuse = rule.value is OnMissingSignature.REFUSE
    return SignerChoice(
        wish,
        None,
        (*reasons, missing),
        selection,
        trigger,
        missing=missing if refuse else None,
    )
