"""Challenge mails of ACME, between the mail that passes and the requests that wait for it.

The filter shows every mail that has the form of a challenge. Where a request waits for just
that one, and it is authentic, it is written down for the request, which becomes due; whatever
has to be done at the CA then is done in the background, by whichever node has the request.
Such a mail goes no further, unless the handler's settings want it delivered as well. While a
CA is being asked, and has not said yet who writes to us, it is written down and delivered.

Authentic is what the verifier of DKIM vouches for whom the settings name, or what its author
signed with S/MIME, the subject included. All else, whatever it looks like, is mail.

If the database cannot be asked, a mail with the form of a challenge is deferred, like any mail
that trouble of ours concerns. RFC 8823 §3.1 and §3.2, RFC 3834 §3.1.8 (answers), RFC 5322
§3.6.4. Raises `StoreTrouble`, `KeyTrouble`; `HandlerTrouble` for an answer that is not taken.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from smimefilter.base.envelope import Deferred, Recipient, Refused, Transaction
from smimefilter.base.reasons import Because, Reason
from smimefilter.cms.ber import BadCms, Effort
from smimefilter.cms.signed import read_signed
from smimefilter.message.mime import clear_signed, pkcs7_body
from smimefilter.message.protect import differing, within
from smimefilter.message.wire import Message
from smimefilter.plan.challenge import AwaitedMail, ChallengeMail, challenge_in
from smimefilter.plan.facts import Mail
from smimefilter.plan.opened import Opening, OpeningRules
from smimefilter.plan.plan import Action, Decision, Plan
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.ports.journal import Journal
from smimefilter.ports.relay import Outgoing, Relay
from smimefilter.ports.requests import ChallengeMails

_RULES: Final = OpeningRules(decrypt=False, depth=1)
_POLICY: Final = SMTP.clone(max_line_length=998, cte_type="7bit")

Open = Callable[[OpeningRules], Awaitable[Opening]]


class ChallengeDesk:
    """`ports.handlers.Challenges`, and what the filter does with such mails."""

    def __init__(
        self,
        *,
        mails: ChallengeMails,
        relay: Relay,
        journal: Journal,
        hostname: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._mails = mails
        self._relay = relay
        self._journal = journal
        self._hostname = hostname
        self._clock = clock

    # for handlers

    async def expect(self, order: str, awaited: AwaitedMail | None) -> bool:
        """Look out for this from now on; None: no longer, and forget what came. False where
        another order for the address waits already."""
        return await self._mails.expect(order, awaited)

    async def arrived(self, order: str) -> list[ChallengeMail]:
        """What came for it so far, oldest first."""
        return await self._mails.of(order)

    async def answer(self, address: str, mail: ChallengeMail, text: str) -> None:
        """Send the answer to one, from this address. Raises `HandlerTrouble`."""
        content = self._answer(address, mail, text)
        params = () if content.isascii() else ("SMTPUTF8",)
        to = (Recipient(mail.reply_to),)
        (fate,) = await self._relay.deliver(Outgoing(address, to, [content], params))
        if isinstance(fate, Deferred | Refused):
            raise HandlerTrouble(f"the answer to {mail.reply_to} was not taken: {fate.text}")

    def _answer(self, address: str, mail: ChallengeMail, text: str) -> bytes:
        plain = (address + mail.reply_to).isascii()
        answer = EmailMessage(policy=_POLICY if plain else _POLICY.clone(utf8=True))
        answer["From"], answer["To"] = address, mail.reply_to
        answer["Subject"] = f"Re: ACME: {mail.token}"
        answer["Date"] = format_datetime(self._clock())
        answer["Message-ID"] = f"<{secrets.token_hex(16)}@{self._hostname}>"
        answer["In-Reply-To"] = answer["References"] = mail.message_id
        answer["Auto-Submitted"] = "auto-replied"
        answer.set_content(text, charset="us-ascii", cte="7bit")
        return answer.as_bytes()

    # for the filter

    async def taken(self, transaction: Transaction, mail: Mail, opened: Open) -> Plan | None:
        """The plan for a mail that is ours alone; None for one that goes its way. `opened`
        tells what is in it."""
        challenge = challenge_in(mail)
        if challenge is None:
            return None
        taken = False
        for request, awaited in (await self._mails.waiting(challenge.to)).items():
            if not awaited.fits(challenge):
                continue
            authentic = awaited.is_vouched(challenge, mail.message)
            if authentic or await _is_signed(mail, opened):
                kept = await self._kept(transaction, request, challenge)
                taken = taken or (kept and bool(awaited.sender) and not awaited.deliver)
            else:
                self._not_authentic(transaction, request, challenge)
        return _plan(transaction) if taken and len(transaction.recipients) == 1 else None

    async def _kept(
        self, transaction: Transaction, request: str, challenge: ChallengeMail
    ) -> bool:
        kept = await self._mails.add(request, challenge, self._clock())
        if kept:
            self._journal.note(
                "challenge mail came", id=transaction.id, request=request,
                sender=challenge.sender,
            )  # fmt: skip
        return kept

    def _not_authentic(
        self, transaction: Transaction, request: str, challenge: ChallengeMail
    ) -> None:
        self._journal.warn(
            "challenge mail not authentic", id=transaction.id, request=request,
            sender=challenge.sender,
        )  # fmt: skip


def _plan(transaction: Transaction) -> Plan:
    address = transaction.recipients[0].address
    why = Reason(Because.ACME_CHALLENGE, address)
    return Plan((Decision(address, Action.TAKE, (why,)),), ())


async def _is_signed(mail: Mail, opened: Open) -> bool:
    """Whether its author signed it, the subject and the addressee included."""
    return _is_covered(mail.message) and (await opened(_RULES)).signed_by is not None


def _is_covered(message: Message) -> bool:
    """Whether what is signed has the fields that count in it, as they are outside."""
    content = _signed_content(message)
    if content is None:
        return False
    found = within(content)
    names = {field.partition(b":")[0].strip().lower() for field in found.fields}
    return names >= {b"subject", b"to"} and not differing(message, found)


def _signed_content(message: Message) -> bytes | None:
    signed = clear_signed(message)
    if signed is not None:
        return bytes(signed.content)
    body = pkcs7_body(message)
    if body is None:
        return None
    try:
        data = read_signed(body, Effort())
    except BadCms:
        return None
    return None if data.content is None else b"".join(data.content)
