"""One mail over one connection: envelope, content, and the fate of each recipient.

MAIL and RCPT parameters go unmodified as far as the next hop announced what they belong to;
SIZE is that of the copy. What the next hop cannot take at all (8-bit content or non-ASCII
addresses where it lacks the extension) is refused for good, as the standards ask.

Leaves connections to `client.py`. RFC 5321 §3.3, RFC 1870 §6, RFC 2920 §3.1, RFC 3461 §5,
RFC 6152 §3, RFC 6531 §3.2. Raises `NoDelivery`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from smimefilter.base.envelope import Client, Fate, Recipient, Unfit
from smimefilter.base.errors import Status
from smimefilter.ports.relay import Outgoing

from . import xforward
from .client import Connection, NoDelivery
from .replies import CONTENT_WANTED, Reply
from .stuffing import Smuggling, stuffed

_NEEDS: Final = {  # parameter → the EHLO keyword it belongs to
    "SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "AUTH": "AUTH",
    "RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN", "ORCPT": "DSN",
}  # fmt: skip
_ONLY_7BIT: Final = Unfit(Status(5, "6.3"), "next hop takes 7-bit mail only", by_policy=False)
_ONLY_ASCII: Final = Unfit(
    Status(5, "6.7"), "next hop takes ASCII addresses and headers only", by_policy=False
)
_LONE_DOT: Final = Unfit(
    Status(5, "6.0"), "the content has a dot alone between bare line ends", by_policy=False
)


async def deliver(connection: Connection, outgoing: Outgoing) -> list[Fate]:
    """One fate for each recipient, in order. Raises `NoDelivery`."""
    refusal = _unfit(outgoing, connection.extensions)
    if refusal is not None:
        return [refusal] * len(outgoing.recipients)
    try:
        chunks = stuffed(outgoing.chunks)
    except Smuggling:
        return [_LONE_DOT] * len(outgoing.recipients)
    mail, rcpts, data = await _envelope(connection, outgoing)
    connection.needs_reset = mail.positive and data.code != CONTENT_WANTED
    accepted = mail.positive and any(reply.positive for reply in rcpts)
    if not accepted:
        if data.code == CONTENT_WANTED:
            await _call_off(connection)
        return [(reply if mail.positive else mail).failure() for reply in rcpts]
    outcome = data.failure()
    if data.code == CONTENT_WANTED:
        outcome = (await connection.send(chunks)).outcome()
    return [outcome if reply.positive else reply.failure() for reply in rcpts]


async def _call_off(connection: Connection) -> None:
    """End a content that nobody gets: with pipelining DATA went out before that was known."""
    with contextlib.suppress(NoDelivery):
        await connection.send([b".\r\n"])


async def _envelope(
    connection: Connection, outgoing: Outgoing
) -> tuple[Reply, Sequence[Reply], Reply]:
    """The replies to MAIL, to each RCPT, and to DATA (or what made it needless)."""
    known = connection.extensions
    opening = ["RSET"] if connection.needs_reset else []
    opening += _forwarded(outgoing.client, known)
    mail = _mail_command(outgoing, known)
    rcpts = [_rcpt_command(recipient, known) for recipient in outgoing.recipients]
    if "PIPELINING" in known:
        replies = await connection.ask([*opening, mail, *rcpts, "DATA"])
        first = len(opening)
        return replies[first], replies[first + 1 : -1], replies[-1]
    for command in opening:
        await connection.ask([command])
    (mailed,) = await connection.ask([mail])
    if not mailed.positive:
        return mailed, [mailed] * len(rcpts), mailed
    answers = [(await connection.ask([rcpt]))[0] for rcpt in rcpts]
    if not any(reply.positive for reply in answers):
        return mailed, answers, answers[-1]
    (data,) = await connection.ask(["DATA"])
    return mailed, answers, data


def _mail_command(outgoing: Outgoing, known: Mapping[str, str]) -> str:
    size = (f"SIZE={sum(map(len, outgoing.chunks))}",) if "SIZE" in known else ()
    kept = [param for param in outgoing.params if param[:5].upper() != "SIZE="]
    return _command(f"MAIL FROM:<{outgoing.sender}>", (*size, *kept), known)


def _rcpt_command(recipient: Recipient, known: Mapping[str, str]) -> str:
    return _command(f"RCPT TO:<{recipient.address}>", recipient.params, known)


def _command(command: str, params: Iterable[str], known: Mapping[str, str]) -> str:
    for param in params:
        keyword = _NEEDS.get(param.partition("=")[0].upper())
        if keyword is None or keyword in known:
            command += f" {param}"
    return command


def _forwarded(client: Client, known: Mapping[str, str]) -> Sequence[str]:
    """The XFORWARD commands; of a client that forwarded nothing, what is known of itself."""
    if "XFORWARD" not in known or not (client.xforward or client.peer):
        return []
    if client.xforward:
        return xforward.commands(client.xforward, known["XFORWARD"].split())
    return _introduced(client.peer, client.protocol, client.helo, known["XFORWARD"])


@lru_cache(maxsize=256)
def _introduced(peer: str, protocol: str, helo: str, known: str) -> tuple[str, ...]:
    """The same for a client that speaks for itself."""
    address = f"IPV6:{peer}" if ":" in peer else peer
    attributes = {"ADDR": address, "PROTO": protocol, "HELO": helo}
    return tuple(xforward.commands(attributes, known.split()))


def _unfit(outgoing: Outgoing, known: Mapping[str, str]) -> Unfit | None:
    """Why a next hop with these extensions can never take the mail."""
    if "8BITMIME" not in known and not all(chunk.isascii() for chunk in outgoing.chunks):
        return _ONLY_7BIT
    if "SMTPUTF8" not in known and _needs_smtputf8(outgoing):
        return _ONLY_ASCII
    return None


def _needs_smtputf8(outgoing: Outgoing) -> bool:
    addresses = (outgoing.sender, *(recipient.address for recipient in outgoing.recipients))
    if not all(address.isascii() for address in addresses):
        return True
    if not any(param.upper() == "SMTPUTF8" for param in outgoing.params):
        return False
    header, _, _ = b"".join(outgoing.chunks).partition(b"\r\n\r\n")
    return not header.isascii()
