"""Telling a sender by mail that some recipients were refused, where one SMTP reply cannot.

Only over SMTP, only when another recipient's copy went out, never in answer to a null sender,
never where NOTIFY=NEVER asks for silence. A notice that cannot be handed over now defers the
mail; one that is refused leaves the refusal to the reply. A refusal is never lost.

Leaves the notice's form to `message/notice.py`. RFC 3461, 3464.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from smimefilter.base.address import NULL_SENDER
from smimefilter.base.envelope import (
    Deferred,
    Delivered,
    Fate,
    Notified,
    Recipient,
    Refused,
    Transaction,
)
from smimefilter.message.notice import Occasion, Undelivered, notice
from smimefilter.message.wire import Message
from smimefilter.ports.relay import Outgoing, Relay


async def tell_sender(
    transaction: Transaction,
    fates: Sequence[Fate],
    relay: Relay,
    *,
    host: str,
    now: datetime,
) -> list[Fate]:
    """The fates, with refusals told where they had to be told by mail."""
    told: list[Fate] = list(fates)
    if len(told) == 1:
        return told  # the reply tells
    refused = [n for n, fate in enumerate(fates) if isinstance(fate, Refused)]
    delivered = any(isinstance(fate, Delivered) for fate in fates)
    deferred = any(isinstance(fate, Deferred) for fate in fates)
    if not refused or not delivered or deferred or transaction.sender == NULL_SENDER:
        return told
    wanted = [n for n in refused if not _silent(transaction.recipients[n])]
    trouble = await _send(transaction, fates, wanted, relay, host=host, now=now)
    for n in refused:
        fate = fates[n]
        assert isinstance(fate, Refused)
        if n not in wanted or trouble is None:
            told[n] = Notified(fate)
        elif isinstance(trouble, Deferred):
            told[n] = trouble
    return told


def _silent(recipient: Recipient) -> bool:
    return (recipient.param("NOTIFY") or "").upper() == "NEVER"


async def _send(
    transaction: Transaction,
    fates: Sequence[Fate],
    wanted: Sequence[int],
    relay: Relay,
    *,
    host: str,
    now: datetime,
) -> Deferred | Refused | None:
    """Hand the notice over; what became of it when that did not work."""
    if not wanted:
        return None
    occasion = Occasion(
        host=host,
        identifier=f"{transaction.id}.notice",
        token=secrets.token_hex(12),
        now=now,
        sender=transaction.sender,
        envelope_id=transaction.param("ENVID") or "",
        whole=_may_return_all(transaction, [fates[n] for n in wanted]),
    )
    refused = [_undelivered(transaction.recipients[n], fates[n]) for n in wanted]
    told = notice(occasion, Message(transaction.content), refused)
    to = Recipient(transaction.sender, ("NOTIFY=NEVER",))
    (fate,) = await relay.deliver(Outgoing(NULL_SENDER, (to,), [told.content], told.params))
    return fate if isinstance(fate, Deferred | Refused) else None


def _may_return_all(transaction: Transaction, refused: Sequence[Fate]) -> bool:
    """Whether the notice may carry the whole mail: the sender asked for it, and no policy of
    ours stands against the content's going in clear."""
    by_policy = any(isinstance(fate, Refused) and fate.by_policy for fate in refused)
    return not by_policy and (transaction.param("RET") or "").upper() == "FULL"


def _undelivered(recipient: Recipient, fate: Fate) -> Undelivered:
    assert isinstance(fate, Refused)
    original = recipient.param("ORCPT") or ""
    return Undelivered(recipient.address, fate.status, fate.text, original)
