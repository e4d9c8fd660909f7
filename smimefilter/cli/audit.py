"""`smimefilter audit`: what was changed, when and by whom, and whether that is whole."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.progress import Progress

from smimefilter.app import App, now
from smimefilter.base.errors import AdminError
from smimefilter.flow.audit import Verified
from smimefilter.flow.audit import verify as verify_chain
from smimefilter.ports.audit import AuditEntry

from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, as_json, err, rows, say

app = typer.Typer(help="The audit log of all that was changed.", no_args_is_help=True)

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "w": "weeks"}
COLUMNS = ("number", "time", "actor", "action", "object", "outcome", "details")


@app.command("list")
def list_(
    since: Annotated[
        str, typer.Option(help="A day or time (2026-12-31T08:00, UTC), or ago: 12h, 7d.")
    ] = "",
    until: Annotated[str, typer.Option(help="The same: before then.")] = "",
    actor: Annotated[str, typer.Option(help="A part of who did it.")] = "",
    action: Annotated[str, typer.Option(help="A part of what was done.")] = "",
    about: Annotated[
        str | None, typer.Option("--object", help="To what exactly: a thumbprint, a login …")
    ] = None,
    most: Annotated[int, typer.Option(help="The last so many.", min=1)] = 1000,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List what was changed, oldest first."""
    begin, end = _moment(since), _moment(until)
    found = with_app(
        config,
        lambda app: app.database.audit.find(
            about, actor=actor, event=action, since=begin, until=end, most=most
        ),
    )
    rows("records", COLUMNS, map(_row, found), json)


@app.command()
def verify(
    noted: Annotated[
        str, typer.Option(help="A head that was printed before: NUMBER:HASH.")
    ] = "",
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Whether the audit log is whole. Exit code 1 where it is not.

    It prints the head. Note it elsewhere: with `--noted` a later run finds that the database
    was put back to an older state, too.
    """

    async def work(app: App, progress: Progress) -> Verified:
        task = progress.add_task("verifying", total=None)
        return await verify_chain(
            app.database.audit, app.master, noted, lambda: progress.advance(task)
        )

    quiet = json or not err.is_terminal
    with Progress(console=err, transient=True, disable=quiet) as progress:
        found = with_app(config, lambda app: work(app, progress))
    if json:
        as_json(asdict(found) | {"whole": not found.why})
    elif found.why:
        say(f"broken at record {found.broken}: {found.why}")
        say(f"good up to record {found.holds_to} of {found.records}")
    else:
        say(f"whole: {found.records} records")
        say(f"head, to be noted elsewhere: {found.head}")
    if found.why:
        raise typer.Exit(1)


def _row(entry: AuditEntry) -> dict[str, Any]:
    link = entry.link
    return {
        "number": link.number,
        "time": f"{entry.at:%Y-%m-%d %H:%M:%S}",
        "actor": link.actor,
        "node": link.node,
        "action": link.event,
        "object": link.about,
        "outcome": link.outcome,
        "details": link.detail,
        "hash": entry.hash,
    }


def _moment(text: str) -> datetime | None:
    """A time as people write it; without a zone it is UTC."""
    if not text:
        return None
    if text[:-1].isdecimal() and text[-1] in _UNITS:
        try:
            return now() - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        except OverflowError:
            raise _no_time(text) from None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _no_time(text) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _no_time(text: str) -> AdminError:
    return AdminError(
        f"'{text}' is no time", mend="write 2026-12-31, 2026-12-31T08:00, or 7d for a week ago"
    )
