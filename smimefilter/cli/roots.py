"""`smimefilter root`: the root certificates that trust ends at. None are there at first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smimefilter.app import App
from smimefilter.base.errors import AdminError
from smimefilter.files.systemroots import system_roots
from smimefilter.flow.certificates import Query, remove
from smimefilter.flow.imports import Source, Summary, import_certificates
from smimefilter.pki.export import certificates_pem
from smimefilter.ports.stores import Shelf

from .certificates import COLUMNS, listing, sources_of
from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, err, rows, say, summary

app = typer.Typer(help="Trusted root certificates.", no_args_is_help=True)


@app.command("import")
def import_(
    files: Annotated[list[Path] | None, typer.Argument(help="PEM, DER or PKCS#7.")] = None,
    system: Annotated[
        bool, typer.Option("--system", help="The operating system's roots.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take a CA that is not self-issued as a root.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Trust the CA certificates of files, or those of the operating system."""
    sources = sources_of(files or [])
    if system:
        found = system_roots()
        if found.skipped:
            err.print(f"{found.skipped} of the system's roots cannot be read: left out")
        sources.append(Source("system roots", certificates_pem(found.certificates)))
    if not sources:
        raise AdminError("nothing to import", mend="name files, or give --system")

    async def work(app: App) -> Summary:
        store = app.database.certificates
        return await import_certificates(store, sources, Shelf.ROOTS, force=force)

    summary(with_app(config, work), json)


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List trusted roots."""
    listed = with_app(config, lambda app: listing(app, Shelf.ROOTS, Query()))
    rows("roots", [c for c in COLUMNS if c not in {"addresses", "key"}], listed, json)


@app.command("remove")
def remove_(
    thumbprint: Annotated[str, typer.Argument(help="The beginning of a thumbprint.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Trust a root no longer."""
    entry = with_app(
        config, lambda app: remove(app.database.certificates, thumbprint, Shelf.ROOTS)
    )
    say(f"removed {entry.certificate.subject}")
