"""`smimefilter key`: private keys, and the master key that they are wrapped with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smimefilter.app import App
from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import Form, Query, export_key, find
from smimefilter.flow.imports import NeedsPassword, Summary, import_keys
from smimefilter.flow.secrets import Rotation, rotate_master_key
from smimefilter.keys.master import generate_master_key, load_master_key
from smimefilter.ports.stores import Shelf

from . import token
from .certificates import COLUMNS, listing, sources_of
from .common import (
    DEFAULT_CONFIG,
    Config,
    Force,
    PasswordFile,
    read_password,
    refuse_to_overwrite,
    told,
    with_app,
    write_bytes,
)
from .show import Json, rows, say, summary

app = typer.Typer(help="Private keys.", no_args_is_help=True)
app.add_typer(token.app, name="token")


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="PKCS#12 (.p12 .pfx) or PEM files.")],
    password_file: PasswordFile = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Store private keys with their certificates, wrapped under the master key."""
    sources = sources_of(files)
    password = None if password_file is None else read_password(password_file)

    def attempt(password: str | None) -> Summary:
        return with_app(
            config,
            lambda app: import_keys(app.database.certificates, app.master, sources, password),
        )

    try:
        done = attempt(password)
    except NeedsPassword:
        if password is not None:
            raise
        done = attempt(read_password(None))
    summary(done, json)


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the certificates that we hold the private key of."""
    query = Query(with_key=True)
    listed = with_app(config, lambda app: listing(app, Shelf.CERTIFICATES, query))
    rows("private keys", COLUMNS, listed, json)


@app.command()
def export(
    thumbprint: Annotated[str, typer.Argument(help="The beginning of a thumbprint.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write.")],
    form: Annotated[Form, typer.Option("--format", help="The file's format.")] = Form.PKCS12,
    password_file: PasswordFile = None,
    force: Force = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write a private key with its certificates to a file, under a password."""
    refuse_to_overwrite(to, force=force)
    password = read_password(password_file, "Password for the new file")

    async def work(app: App) -> bytes:
        store = app.database.certificates
        entry = await find(store, thumbprint)
        state = await app.database.states.load()
        ring = app.ring(state.keys)
        found = await export_key(store, ring, entry.certificate, password, form)
        await told(app, "private key exported", entry.certificate.thumbprint, f"to {to}")
        return found

    write_bytes(to, with_app(config, work), secret=True)
    say(f"wrote {to}")


@app.command()
def generate(
    file: Annotated[Path, typer.Argument(help="The new file; it must not exist yet.")],
) -> None:
    """Make a master key in a new file that only its owner can read."""
    generate_master_key(file)
    say(f"wrote {file}: keep a copy in a safe place")


@app.command()
def rotate(
    new: Annotated[
        Path, typer.Option("--new", help="File of the new master key; made if it is missing.")
    ],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Wrap all private keys and secrets under a new master key, at once or not at all.

    Afterwards put the new key in the place of the old one and restart the filter.
    """
    if not new.exists():
        generate_master_key(new)
        say(f"wrote {new}: keep a copy in a safe place")
    master = load_master_key(new)

    async def work(app: App) -> Rotation:
        if app.config.master_key and app.config.master_key.resolve() == new.resolve():
            raise AdminError(
                "this is the master key in use", where=str(new), mend="name a new file"
            )
        database = app.database
        return await rotate_master_key(
            database.states,
            database.certificates,
            database.requests,
            database.handlers,
            app.master,
            master,
        )

    done = with_app(config, work)
    say(f"rewrapped {done.keys} private keys and {done.preferences + done.others} secrets")
    say(f"now put {new} in the place of the old master key and restart: signing waits for it")
