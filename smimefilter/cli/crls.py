"""`smimefilter crl`: certificate revocation lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from smimefilter.app import App, now, updating
from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import SHORTEST_PREFIX
from smimefilter.flow.crl_intake import FAILURES, Outcome, Update
from smimefilter.flow.crl_states import State, state_of
from smimefilter.flow.imports import import_crls
from smimefilter.pki.crl import Crl, UnreadableCrl
from smimefilter.pki.details import crl_issuer, scope_text
from smimefilter.plan.snapshot import Moment
from smimefilter.ports.stores import CrlEntry, CrlSource

from .certificates import sources_of
from .common import DEFAULT_CONFIG, Config, told, with_app
from .show import Json, err, facts, rows, say, summary

app = typer.Typer(help="Certificate revocation lists.", no_args_is_help=True)

Prefix = Annotated[str, typer.Argument(help="The beginning of its SHA-256.")]


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="PEM or DER files.")],
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Store CRLs. They count from then on, as far as their issuer's signature is good."""
    sources = sources_of(files)
    summary(with_app(config, lambda app: import_crls(app.database.crls, sources)), json)


@app.command()
def update(
    urls: Annotated[
        list[str] | None, typer.Argument(help="Of those that `crl sources` lists; else all.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Fetch CRLs now, from where certificates say.

    Exit code 1 when a URL gave none that can be used; those that did are stored all the same.
    """
    with Progress(console=err, transient=True, disable=json) as progress:
        updates = with_app(config, lambda app: _update(app, urls or [], progress))
    columns = ("outcome", "url", "what")
    rows("CRL sources", columns, [_updated(one) for one in updates], json)
    if any(one.outcome in FAILURES for one in updates):
        raise typer.Exit(1)


async def _update(app: App, urls: list[str], progress: Progress) -> list[Update]:
    async with updating(app) as updates:
        known = await updates.follow()
        for url in urls:
            if url not in known:
                mend = "list those with: smimefilter crl sources"
                raise AdminError("no certificate names this URL", where=url, mend=mend)
        task = progress.add_task("fetching", total=len(urls or known))
        found = await updates.update(urls or known, lambda _: progress.advance(task))
    good = sum(one.outcome not in FAILURES for one in found)
    await told(app, "CRLs fetched", ", ".join(urls) or "all", f"{good} of {len(found)} good")
    left = {*(urls or known)} - {one.source.url for one in found}
    busy = "another process is fetching it right now"
    others = [Update(Outcome.LEFT, CrlSource(url, now(), outcome=busy)) for url in left]
    return sorted([*found, *others], key=lambda one: one.source.url)


def _updated(update: Update) -> dict[str, Any]:
    source = update.source
    return {"outcome": update.outcome.value, "url": source.url, "what": source.outcome}


@app.command()
def sources(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List where CRLs are fetched from, and how that went."""

    async def work(app: App) -> list[CrlSource]:
        async with updating(app) as updates:
            await updates.follow()
        return await app.database.crl_sources.all()

    columns = ("url", "outcome", "tried", "succeeded", "failures", "due")
    rows("CRL sources", columns, [_source(one) for one in with_app(config, work)], json)


def _source(source: CrlSource) -> dict[str, Any]:
    times = {"tried": source.tried, "succeeded": source.succeeded, "due": source.due}
    return {
        "url": source.url,
        "outcome": source.outcome or "not tried yet",
        **{name: time and f"{time:%Y-%m-%d %H:%M}" for name, time in times.items()},
        "failures": source.failures,
        "crl": source.sha256,
    }


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List CRLs, each with what it is worth now."""
    columns = ("state", "issuer", "number", "entries", "issued", "next update", "sha256", "why")
    rows("CRLs", columns, with_app(config, _listed), json)


@app.command()
def show(sha256: Prefix, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Everything about a CRL, and what it is worth now."""

    async def work(app: App) -> list[tuple[str, Any]]:
        entry = await _one(app, sha256)
        moment = (await app.snapshots().load()).snapshot.at(now())
        return list(_facts(entry, moment).items())

    facts(with_app(config, work), json)


async def _listed(app: App) -> list[dict[str, Any]]:
    moment = (await app.snapshots().load()).snapshot.at(now())
    return [_facts(entry, moment) for entry in await app.database.crls.all()]


@app.command("remove")
def remove_(sha256: Prefix, config: Config = DEFAULT_CONFIG) -> None:
    """Take a CRL out of the store."""

    async def work(app: App) -> str:
        entry = await _one(app, sha256)
        await app.database.crls.remove(entry.sha256)
        return crl_issuer(entry.der)

    say(f"removed the CRL of {with_app(config, work)}")


async def _one(app: App, sha256: str) -> CrlEntry:
    """The one CRL whose SHA-256 begins so."""
    digits = sha256.lower().replace(":", "")
    if len(digits) < SHORTEST_PREFIX:
        raise AdminError(
            f"'{sha256}' is not enough of a SHA-256",
            mend=f"write its first {SHORTEST_PREFIX} hex digits or more",
        )
    entries = await app.database.crls.all()
    found = [entry for entry in entries if entry.sha256.startswith(digits)]
    if len(found) != 1:
        count = "no CRL has" if not found else f"{len(found)} CRLs have"
        raise AdminError(
            f"{count} a SHA-256 that begins with {sha256}",
            mend="list them with: smimefilter crl list",
        )
    return found[0]


def _facts(entry: CrlEntry, moment: Moment) -> dict[str, Any]:
    try:
        crl = Crl.read(entry.der)
    except UnreadableCrl as error:
        return {"state": State.INVALID.value, "why": str(error), **_stored(entry)}
    state = state_of(crl, moment)
    ends = f"{crl.next_update:%Y-%m-%d %H:%M}" if crl.next_update else "not said"
    return {
        "state": state.state.value,
        "why": state.why,
        "issuer": crl_issuer(entry.der),
        "signed by": state.signer,
        "kind": f"delta, to no. {crl.base_number}" if crl.is_delta else "complete",
        "for": scope_text(crl.scope),
        "number": crl.number,
        "entries": crl.count,
        "issued": f"{crl.this_update:%Y-%m-%d %H:%M}",
        "next update": ends,
        **_stored(entry),
    }


def _stored(entry: CrlEntry) -> dict[str, Any]:
    return {
        "sha256": entry.sha256,
        "origin": entry.origin,
        "added": entry.added.isoformat(),
    }
