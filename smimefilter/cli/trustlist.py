"""`smimefilter ctl`: the certificate trust list, white and black, by SHA-512 thumbprint."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from smimefilter.app import App
from smimefilter.base.errors import AdminError
from smimefilter.base.thumbprint import thumbprint_of
from smimefilter.trust.ctl import Listing, TrustListEntry

from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, facts, out, rows

app = typer.Typer(help="The certificate trust list.", no_args_is_help=True)

Thumbprint = Annotated[
    str, typer.Argument(help="SHA-512, with or without colons; see `certificate show`.")
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
    digits = _canonical(thumbprint)

    async def work(app: App) -> bool:
        old = {entry.thumbprint: entry.note for entry in await app.database.trust_list.all()}
        why = old.get(digits, "") if note is None else note
        entry = TrustListEntry(digits, listing, allow_expired, why)
        return await app.database.trust_list.put(entry)

    new = with_app(config, work)
    out.print(f"{'added' if new else 'replaced'}: {listing} {digits}")


@app.command()
def remove(thumbprint: Thumbprint, config: Config = DEFAULT_CONFIG) -> None:
    """Take a certificate off the list."""
    digits = _canonical(thumbprint)
    if not with_app(config, lambda app: app.database.trust_list.remove(digits)):
        raise AdminError(
            "not on the trust list", where=digits[:16], mend="smimefilter ctl list"
        )
    out.print(f"removed {digits}")


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
    digits = _canonical(thumbprint)
    for entry in with_app(config, _entries):
        if entry["thumbprint"] == digits:
            facts(entry.items(), json)
            return
    raise AdminError("not on the trust list", where=digits[:16], mend="smimefilter ctl list")


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


def _canonical(thumbprint: str) -> str:
    try:
        return thumbprint_of(thumbprint)
    except ValueError as error:
        raise AdminError(str(error)) from None
