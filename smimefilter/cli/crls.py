"""`smimefilter crl`: certificate revocation lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smimefilter.app import App, now
from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import SHORTEST_PREFIX
from smimefilter.flow.imports import import_crls
from smimefilter.pki.crl import Crl
from smimefilter.pki.details import crl_issuer
from smimefilter.ports.stores import CrlEntry

from .certificates import sources_of
from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, rows, say, summary

app = typer.Typer(help="Certificate revocation lists.", no_args_is_help=True)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="PEM or DER files.")],
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Store CRLs. They count from then on, as far as their issuer's signature is good."""
    sources = sources_of(files)
    summary(with_app(config, lambda app: import_crls(app.database.crls, sources)), json)


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List CRLs."""
    entries = with_app(config, lambda app: app.database.crls.all())
    columns = ("issuer", "number", "entries", "issued", "next update", "sha256")
    rows("CRLs", columns, [_row(entry) for entry in entries], json)


@app.command("remove")
def remove_(
    sha256: Annotated[str, typer.Argument(help="The beginning of its SHA-256.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take a CRL out of the store."""

    async def work(app: App) -> str:
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
        await app.database.crls.remove(found[0].sha256)
        return crl_issuer(found[0].der)

    say(f"removed the CRL of {with_app(config, work)}")


def _row(entry: CrlEntry) -> dict[str, Any]:
    crl = Crl.read(entry.der)
    late = " (past)" if crl.next_update and crl.next_update < now() else ""
    until = f"{crl.next_update:%Y-%m-%d %H:%M}{late}" if crl.next_update else "not said"
    return {
        "issuer": crl_issuer(entry.der),
        "number": crl.number,
        "entries": crl.count,
        "issued": f"{crl.this_update:%Y-%m-%d %H:%M}",
        "next update": until,
        "sha256": entry.sha256,
        "origin": entry.origin,
        "added": entry.added.isoformat(),
    }
