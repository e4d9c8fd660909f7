"""`smimefilter bulk`: many requests at once, from a CSV file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from smimefilter.app import Office
from smimefilter.flow.enrol import Looked, handler_for, preview
from smimefilter.ports.requests import RequestState, StoredRequest

from .common import DEFAULT_CONFIG, Config, in_office, read_bytes
from .pending import row_of
from .requests import AddUser, Days, Digest, Handler, Key
from .show import Json, as_json, err, rows, say

app = typer.Typer(help="Many requests at once, from a CSV file.", no_args_is_help=True)

_BEFORE = {
    RequestState.PENDING: "waits",
    RequestState.ISSUED: "issued",
    RequestState.REFUSED: "refused before",
    RequestState.GIVEN_UP: "given up before",
}


@app.command("preview")
def preview_(
    file: Annotated[Path, typer.Argument(help="The CSV file.")],
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """What a CSV file asks for, row by row, who is passed over, and what became of it where
    it was submitted before."""
    content = read_bytes(file)

    async def work(found: Office) -> list[dict[str, Any]]:
        before = await found.bulk.before(content)
        return [
            _looked(one) | _known(before.get(one.wanted.address))
            for one in preview(found.moment, content)
        ]

    columns = ("row", "address", "common name", "organisation", "skipped", "before")
    rows("requests", columns, in_office(config, work), json)


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="The CSV file.")],
    handler: Handler = "",
    days: Days = None,
    key: Key = None,
    digest: Digest = None,
    add_user: AddUser = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Request all that a CSV file asks for. The same file again goes on where it ended. Exit
    code 1 when a request was refused."""
    content = read_bytes(file)

    async def work(
        found: Office, progress: Progress
    ) -> tuple[list[Looked], list[StoredRequest], list[StoredRequest]]:
        moment = found.moment
        looked = preview(moment, content, days=days, key=key, digest=digest, add_user=add_user)
        by = partial(handler_for, moment) if not handler else lambda _: handler
        others = await found.bulk.elsewhere(content, by, named=bool(handler))
        wanted = sum(not one.skipped for one in looked)
        task = progress.add_task("requesting", total=wanted)
        done = await found.bulk.submit(
            content, looked, by, done=lambda _: progress.advance(task)
        )
        return looked, done, others

    quiet = json or not err.is_terminal
    with Progress(console=err, transient=True, disable=quiet) as progress:
        looked, done, others = in_office(config, lambda found: work(found, progress))
    skipped = [
        one
        for one in looked
        if one.skipped and one.wanted.address not in {r.address for r in done}
    ]
    if json:
        as_json([row_of(one) for one in done] + [_looked(one) for one in skipped])
    else:
        for one in skipped:
            say(f"skipped: row {one.row.number}, {one.wanted.address}: {one.skipped}")
        if others:
            names = ", ".join(sorted({one.handler for one in others}))
            say(f"asked before of {names}, and not again: {len(others)}")
        for left in done:
            if left.state is not RequestState.ISSUED:
                say(f"{left.state}: row {left.position}, {left.address}: {left.outcome}")
        counts = [f"{sum(r.state is state for r in done)} {state}" for state in RequestState]
        say(", ".join([*counts, f"{len(skipped)} skipped"]))
    if any(one.state is RequestState.REFUSED for one in done):
        raise typer.Exit(1)


def _known(before: StoredRequest | None) -> dict[str, Any]:
    if before is None:
        return {"before": "", "handler": "", "outcome": ""}
    how = {"handler": before.handler, "outcome": before.outcome}
    return {"before": _BEFORE[before.state], **how}


def _looked(one: Looked) -> dict[str, Any]:
    return {
        "row": one.row.number,
        "address": one.wanted.address,
        "common name": one.wanted.common_name,
        "organisation": one.wanted.organisation,
        "first name": one.wanted.given_name,
        "last name": one.wanted.surname,
        "skipped": one.skipped,
    }
