"""`smimefilter pending`: requests that wait for their certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smimefilter.app import App, Office, office
from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import chain_of
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.request import csr_pem
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.trust.verdict import Purpose

from .certificates import from_file
from .common import (
    DEFAULT_CONFIG,
    Config,
    Force,
    in_office,
    refuse_to_overwrite,
    with_app,
    write_bytes,
)
from .show import Json, as_json, facts, rows, say

app = typer.Typer(help="Requests that wait for their certificate.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(help="Beginnings of their ids, 4 digits or more.")]
Id = Annotated[str, typer.Argument(help="The beginning of its id, 4 digits or more.")]
COLUMNS = ("id", "state", "address", "handler", "outcome", "due")


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List requests that wait."""
    states = () if all_ else (RequestState.PENDING,)
    found = with_app(config, lambda app: app.database.requests.all(states))
    rows("requests", COLUMNS, map(row_of, found), json)


@app.command()
def show(id_: Id, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Everything about a request, and what was done for it."""

    async def run(app: App) -> list[tuple[str, Any]]:
        async with office(app) as found:
            one = await found.requests.find(id_)
        records = await app.database.audit.find(one.id)
        done = [f"{r.at:%Y-%m-%d %H:%M:%S} {r.event}: {r.detail}".rstrip(": ") for r in records]
        asked = [(name.replace("_", " "), value) for name, value in one.fields.items()]
        return [*row_of(one).items(), *asked, ("history", done)]

    facts(with_app(config, run), json)


@app.command()
def reschedule(ids: Ids, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Ask their handlers now, and not when it is their turn."""

    async def work(found: Office) -> list[StoredRequest]:
        wanted = [(await found.requests.find(one)).id for one in ids]
        await found.requests.reschedule(wanted)
        return await found.requests.work(wanted)

    rows("requests", COLUMNS, map(row_of, in_office(config, work)), json)


@app.command()
def delete(ids: Ids, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Forget requests, with their keys."""

    async def work(found: Office) -> tuple[list[str], list[str]]:
        wanted = {(await found.requests.find(one)).id for one in ids}
        gone = {one for one in sorted(wanted) if await found.requests.remove([one])}
        return sorted(gone), sorted(wanted - gone)

    gone, left = in_office(config, work)
    if json:
        as_json({"deleted": gone, "left": left})
    else:
        say(f"deleted {len(gone)}")
    if left:
        raise AdminError(f"{len(left)} are being worked on right now", mend="try again")


@app.command()
def download(
    id_: Id,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file; else it is printed.")
    ] = None,
    force: Force = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """The CSR of a request (PEM), for its CA."""

    async def work(found: Office) -> bytes:
        return csr_pem(await found.requests.csr(await found.requests.find(id_)))

    pem = in_office(config, work)
    if out is None:
        typer.echo(pem.decode(), nl=False)
        return
    refuse_to_overwrite(out, force=force)
    write_bytes(out, pem)
    say(f"wrote {out}")


@app.command()
def upload(
    files: Annotated[list[Path], typer.Argument(help="Certificates: PEM, DER or PKCS#7.")],
    request_: Annotated[str, typer.Option("--request", help="For this one alone.")] = "",
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Bring certificates to the requests that wait for them; each is matched by its key.
    Exit code 1 when one is refused."""
    brought = {one: file for file in reversed(files) for one in from_file(file)}
    names = ", ".join(map(str, files))

    async def run(app: App) -> list[dict[str, Any]]:
        async with office(app) as found:
            only = (await found.requests.find(request_)).id if request_ else ""
            done = await found.requests.upload(list(brought), only, names)
            await found.snapshots.load()
            return [
                {
                    "outcome": "refused" if one is None else str(one.state),
                    "file": str(brought[certificate]),
                    "certificate": certificate.subject,
                    "address": "" if one is None else one.address,
                    "why": why or await _standing(app, found, certificate),
                }
                for certificate, one, why in done
            ]

    answers = with_app(config, run)
    columns = ("outcome", "file", "certificate", "address", "why")
    rows("certificates", columns, answers, json)
    if not answers or any(one["outcome"] == "refused" for one in answers):
        raise typer.Exit(1)


async def _standing(app: App, found: Office, certificate: Certificate) -> str:
    """What is still wrong with one that was taken: nobody may be known who issued it."""
    last = (certificate, *await chain_of(app.database.certificates, certificate))[-1]
    if not last.is_self_issued:
        return f"its issuer is not in the store, import it: {last.issuer}"
    verdict = found.moment.verdict(certificate, Purpose.ANY, found.moment.view(""))
    return "" if verdict.usable else "; ".join(map(str, verdict.reasons))


def row_of(one: StoredRequest) -> dict[str, Any]:
    """A request, as lists show it."""
    waits = one.state is RequestState.PENDING
    return {
        "id": one.id[:8],
        "state": str(one.state),
        "address": one.address,
        "handler": one.handler,
        "outcome": one.outcome,
        "due": f"{one.due:%Y-%m-%d %H:%M}" if waits else "",
        "tries": one.tries,
        "given up": f"{one.give_up:%Y-%m-%d}" if waits else "",
        "thumbprint": one.thumbprint,
        "request": one.id,
    }
