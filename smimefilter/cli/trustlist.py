"""`smimefilter ctl`: the certificate trust list, white and black, by SHA-512 thumbprint."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from smimefilter.app import App
from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import whole_thumbprint
from smimefilter.trust.ctl import Listing, TrustListEntry

from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, facts, out, rows

app = typer.Typer(help="The certificate trust list.", no_args_is_help=True)

Thumbprint = Annotated[
    str,
    typer.Argument(
        help="SHA-512, with or without colons, see `certificate show`; the beginning will do "
        "of one that is in the store."
    ),
]
Which = Annotated[Listing, typer.Argument(help="white: trusted without a path; black: never.")]


@app.command()
def add(
    thumbprint: Thumbprint,
    listing: Which,
    allow_expired: Annotated[
        bool, typer.Option("--allow-expired", help="White only: use it although expired.")
    ] = False,
    note: Annotated[
        str | None,
        typer.Option(help="Why, for whoever reads the list; without it an old one stays."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """White-list or black-list a certificate; it need not be in the store."""
    if allow_expired and listing is Listing.BLACK:
        raise AdminError("--allow-expired is for white-listed certificates only")

    async def work(app: App) -> tuple[str, bool]:
        digits = await whole_thumbprint(app.database.certificates, thumbprint)
        old = {entry.thumbprint: entry.note for entry in await app.database.trust_list.all()}
        why = old.get(digits, "") if note is None else note
        entry = TrustListEntry(digits, listing, allow_expired, why)
        return digits, await app.database.trust_list.put(entry)

    digits, new = with_app(config, work)
    out.print(f"{'added' if new else 'replaced'}: {listing} {digits}")


@app.command()
def remove(thumbprint: Thumbprint, config: Config = DEFAULT_CONFIG) -> None:
    """Take a certificate off the list."""

    async def work(app: App) -> str:
        digits = await _listed(app, thumbprint)
        await app.database.trust_list.remove(digits)
        return digits

    out.print(f"removed {with_app(config, work)}")


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List all entries."""
    rows(
        "trust list entries",
        ("listing", "allow-expired", "subject", "note", "thumbprint"),
        with_app(config, _entries),
        json,
    )


@app.command()
def show(thumbprint: Thumbprint, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """One entry."""

    async def look(app: App) -> dict[str, Any]:
        digits = await _listed(app, thumbprint)
        return next(one for one in await _entries(app) if one["thumbprint"] == digits)

    facts(with_app(config, look).items(), json)


async def _listed(app: App, thumbprint: str) -> str:
    """The thumbprint of an entry. Raises `AdminError` where there is none."""
    listed = [entry.thumbprint for entry in await app.database.trust_list.all()]
    digits = await whole_thumbprint(app.database.certificates, thumbprint, listed)
    if digits not in listed:
        raise AdminError(
            "not on the trust list", where=digits[:16], mend="smimefilter ctl list"
        )
    return digits


async def _entries(app: App) -> list[dict[str, Any]]:
    index = (await app.snapshots().load()).snapshot.certificates
    found = []
    for entry in await app.database.trust_list.all():
        certificate = index.by_thumbprint(entry.thumbprint)
        found.append(
            {
                "listing": entry.listing.value,
                "allow-expired": entry.allow_expired,
                "subject": certificate.subject if certificate else "(not in store)",
                "note": entry.note,
                "thumbprint": entry.thumbprint,
            }
        )
    return found
