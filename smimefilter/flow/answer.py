"""The SMTP answer to a mail, computed from the fates of its recipients and from nothing else.

`reply` answers for one recipient, as LMTP does after DATA; `one_reply` answers for all of them
at once, as SMTP must. `250` is said only when every recipient is settled: delivered, or refused
with the sender told about it. Deferral wins over everything, because the client then keeps
the mail. A refusal beside a delivery that nobody told the sender about is answered `5xx`:
the sender learns of it, and nothing is lost in silence.

Texts may come from a next hop or a policy file, so they are cleaned here: one line, no control
characters, ASCII unless the client asked for SMTPUTF8, cut to the length of a reply line.
RFC 5321 §4.2 and §4.5.3.1.5, RFC 3463, RFC 2033 §4.2, RFC 6531 §3.7.4.1. Raises `ValueError`
for no fates at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, assert_never

from smimefilter.base.envelope import Deferred, Delivered, Fate, Notified, Refused
from smimefilter.base.errors import Status

REPLY_OCTETS: Final = 510  # of a reply line, without its CRLF
_NOT_TEXT: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")
_CLOSING: Final = 421  # would announce that the session ends, which a fate never does


def reply(fate: Fate, *, utf8: bool = False) -> str:
    """The reply line, without line end, for one recipient."""
    match fate:
        case Delivered():
            return line(250, "2.0.0", _delivered(fate), utf8=utf8)
        case Notified():
            return line(250, "2.0.0", "Ok: refused, and the sender was notified", utf8=utf8)
        case Deferred() | Refused():
            return _failed(fate.status, fate.text, utf8)
        case _:
            assert_never(fate)


def one_reply(fates: Sequence[Fate], *, utf8: bool = False) -> str:
    """The reply line, without line end, for all recipients of a mail together."""
    if not fates:
        raise ValueError("no fates to answer for")
    if len(fates) == 1:
        return reply(fates[0], utf8=utf8)
    for fate in fates:
        if isinstance(fate, Deferred):
            return reply(fate, utf8=utf8)
    refused = [fate for fate in fates if isinstance(fate, Refused)]
    if refused:
        return _failed(refused[0].status, _refusals(refused, len(fates)), utf8)
    delivered = [fate for fate in fates if isinstance(fate, Delivered)]
    if not delivered:
        return reply(fates[0], utf8=utf8)
    return line(250, "2.0.0", _deliveries(delivered), utf8=utf8)


def line(code: int, enhanced: str, text: str, *, utf8: bool = False) -> str:
    """A reply line of safe characters and bounded length, without line end."""
    return f"{code} {enhanced} {_clean(text, utf8)}"


def _failed(status: Status, text: str, utf8: bool) -> str:
    basic = 451 if status.basic == _CLOSING else status.basic
    saying = text or ("try again later" if status.category == 4 else "refused")
    return line(basic, str(status), saying, utf8=utf8)


def _delivered(fate: Delivered) -> str:
    text = fate.text or "Ok"
    if fate.queue_id and fate.queue_id not in text:
        text += f": queued as {fate.queue_id}"
    return text


def _deliveries(delivered: Sequence[Delivered]) -> str:
    different = {(fate.queue_id, fate.text): fate for fate in delivered}
    if len(different) == 1:
        return _delivered(delivered[0])
    queue_ids = dict.fromkeys(fate.queue_id for fate in delivered if fate.queue_id)
    return f"Ok: queued as {', '.join(queue_ids)}" if queue_ids else "Ok"


def _refusals(refused: Sequence[Refused], recipients: int) -> str:
    text = refused[0].text
    others = len({fate.text for fate in refused} - {text})
    if others:
        text += f" (and {others} more {'reason' if others == 1 else 'reasons'})"
    if len(refused) < recipients:
        text = (
            f"refused for {len(refused)} of {recipients} recipients, sent to the rest: {text}"
        )
    return text


def _clean(text: str, utf8: bool) -> str:
    if not utf8 and not text.isascii():
        text = text.encode("ascii", "replace").decode("ascii")
    if not text.isprintable():
        text = _NOT_TEXT.sub(" ", text)
    text = text.strip()
    room = REPLY_OCTETS - len("250 2.xxx.xxx ")
    if len(text) > room or not text.isascii():
        text = text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
    return text or "Ok"
