"""`smimefilter explain`: what would happen to a mail, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smimefilter.app import App, now
from smimefilter.base.address import BadAddress
from smimefilter.base.envelope import Client, Recipient, Transaction
from smimefilter.base.errors import AdminError
from smimefilter.flow.origin import Origins
from smimefilter.flow.written import written
from smimefilter.message.wire import Message
from smimefilter.plan.explain import Written, as_data, as_lines
from smimefilter.plan.facts import Mail
from smimefilter.plan.outbound import outbound
from smimefilter.plan.plan import Plan

from .common import DEFAULT_CONFIG, Config, read_bytes, with_app
from .show import Json, as_json, say


def explain(
    sender: Annotated[str, typer.Option("--from", help="Envelope sender; '<>' for none.")],
    to: Annotated[list[str], typer.Option("--to", help="Recipient; may be given again.")],
    subject: Annotated[str, typer.Option(help="Subject of the mail.")] = "",
    login: Annotated[str, typer.Option(help="The login that hands it over.")] = "",
    client: Annotated[
        str, typer.Option(help="Address of the client; by default one of our own.")
    ] = "",
    file: Annotated[
        Path | None, typer.Argument(help="The mail itself; else one is made up.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """What would happen to a mail, and why. No mail is sent."""
    sender = "" if sender == "<>" else sender
    content = read_bytes(file) if file else _made_up(sender, to, subject)
    who = Client(peer=client, login=login, originating=bool(login) or not client)
    plan, told = with_app(config, lambda app: _plan(app, sender, to, content, who))
    if json:
        as_json(as_data(plan, told))
        return
    for line in as_lines(plan, told):
        say(line)
    for url in dict.fromkeys(url for need in plan.needs for url in need.urls[:1]):
        say(f"not asked here, a mail would be decided by the answer as well: {url}")


async def _plan(
    app: App, sender: str, to: list[str], content: bytes, client: Client
) -> tuple[Plan, list[Written]]:
    state = await app.snapshots().load()
    moment = state.snapshot.at(now())
    mail = Mail(Message(content))
    reader = state.carrier.reader(mail, moment, app.authserv_id)
    recipients = tuple(Recipient(address) for address in to)
    transaction = Transaction("explain", sender, recipients, content, client=client)
    ours = Origins(app.config.own_clients).is_ours(client)
    try:
        plan = outbound(transaction, mail, moment, reader, ours=ours)
    except BadAddress as error:
        mend = "write one such as alice@example.com"
        raise AdminError(str(error), where=sender, mend=mend) from None

    return plan, [written(mail.message, copy, reader) for copy in plan.copies]


def _made_up(sender: str, to: list[str], subject: str) -> bytes:
    lines = (f"From: {sender}", f"To: {', '.join(to)}", f"Subject: {subject}", "", "")
    return "\r\n".join(lines).encode()
