"""`smimefilter ca`: certificate authorities of the gateway's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from smimefilter.app import App, office
from smimefilter.base.errors import AdminError
from smimefilter.flow.authority_names import Authority
from smimefilter.flow.certificates import Form, export_key, refuse_if_in_token
from smimefilter.flow.new_authority import NewAuthority
from smimefilter.flow.preferences import set_preference
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import ALL, CA_CRL_DAYS, CA_CRL_URL
from smimefilter.ports.keys import KeyRing
from smimefilter.trust.verdict import Purpose

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
from .handlers import check_preference
from .show import Json, as_json, err, rows, say

app = typer.Typer(help="Certificate authorities of our own.", no_args_is_help=True)

Which = Annotated[
    str, typer.Argument(help="Its common name, or a beginning of its id or thumbprint.")
]
SHOWN = 16  # digits of a thumbprint, for people


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Common name of the intermediate that issues.")],
    root: Annotated[str, typer.Option(help="Common name of the root; another one.")],
    days: Annotated[int, typer.Option(help="How long both are valid.")] = 7300,
    key: Annotated[
        str, typer.Option(help="rsa2048, rsa3072, rsa4096, p256 or p384.")
    ] = "rsa4096",
    digest: Annotated[str, typer.Option(help="sha256, sha384 or sha512.")] = "sha256",
    email: Annotated[str, typer.Option(help="An address in both; rarely wanted.")] = "",
    domain: Annotated[
        list[str] | None,
        typer.Option(help="The intermediate speaks for this domain alone; may be repeated."),
    ] = None,
    default: Annotated[
        bool, typer.Option(help="Issue with it where no other one is named.")
    ] = True,
    in_token: Annotated[
        bool, typer.Option("--in-token", help="Make both keys in the PKCS#11 token.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Weak keys too.")] = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Make a root and an intermediate below it. Both are stored with their keys and a first
    CRL; the root is trusted from then on."""

    async def work(app: App) -> list[dict[str, Any]]:
        async with office(app) as found:
            view = found.moment.view("")
            new_key = (app.new_token_key,) if in_token else ()
            made = await found.authority.create(
                NewAuthority(
                    root_name=root,
                    name=name,
                    days=days,
                    key=key,
                    digest=digest,
                    email=email,
                    crl_url=view.get(CA_CRL_URL).value or "",
                    crl_days=view.get(CA_CRL_DAYS).value,
                    domains=tuple(domain or ()),
                    make_default=default,
                    force=force,
                ),
                *new_key,
            )
            await found.snapshots.load()
            ring = app.ring((await app.database.states.load()).keys)
            return [_row(one, found.moment, ring) for one in made]

    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task("making keys", total=None)
        made = with_app(config, work)
    if json:
        as_json(made)
        return
    for one in made:
        say(f"{one['id']}  {one['subject']}")
    say(f"for others: smimefilter certificate export {made[0]['thumbprint'][:SHOWN]} --to FILE")


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the CAs, roots first, each with what it is worth now."""

    async def work(app: App) -> list[dict[str, Any]]:
        async with office(app) as found:
            ring = app.ring((await app.database.states.load()).keys)
            return [_row(one, found.moment, ring) for one in await found.authority.all()]

    listed = with_app(config, work)
    if not json:
        listed = [row | {"thumbprint": row["thumbprint"][:SHOWN]} for row in listed]
    columns = ("id", "subject", "standing", "default", "key", "expires", "CRL", "thumbprint")
    rows("CAs", columns, listed, json)


def _row(one: Authority, moment: Moment, ring: KeyRing) -> dict[str, Any]:
    verdict = moment.verdict(one.certificate, Purpose.ANY, moment.view(""))
    here = "token" if ring.in_token(one.certificate.thumbprint) else "here"
    return {
        "id": one.id,
        "subject": one.certificate.subject,
        "kind": "root" if one.root is None else "intermediate",
        "standing": verdict.standing.value,
        "default": one.is_default,
        "key": here if one.has_key else "offline",
        "expires": f"{one.certificate.not_after:%Y-%m-%d}",
        "CRL": one.crl_number,
        "thumbprint": one.certificate.thumbprint,
    }


@app.command("default")
def default_(which: Which, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Issue with this one from now on."""

    async def work(app: App) -> dict[str, Any]:
        async with office(app) as found:
            ring = app.ring((await app.database.states.load()).keys)
            return _row(await found.authority.make_default(which), found.moment, ring)

    done = with_app(config, work)
    if json:
        as_json(done)
    else:
        say(f"issues by default: {done['subject']}")


@app.command()
def offline(
    which: Which,
    to: Annotated[Path, typer.Option("--to", help="The file for its key, PKCS#12.")],
    days: Annotated[int, typer.Option(help="Days that its CRL lasts, 1 to 366.")] = 180,
    password_file: PasswordFile = None,
    force: Force = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take a root offline: make its CRL for a long while, write its key to a file under a
    password, and take it out of the database."""
    refuse_to_overwrite(to, force=force)
    password = read_password(password_file, "Password for the new file")

    async def work(app: App) -> Authority:
        async with office(app) as found:
            root = await found.authority.root(which)
            ring = app.ring((await app.database.states.load()).keys)
            refuse_if_in_token(ring, root.certificate)
            await found.authority.revoke(root.id, {}, days=days)
            store = app.database.certificates
            key = await export_key(store, ring, root.certificate, password, Form.PKCS12)
            write_bytes(to, key, secret=True)
            about = root.certificate.thumbprint
            await told(app, "private key exported", about, f"to {to}")
            return await found.authority.forget_key(root.id)

    done = with_app(config, work)
    say(f"wrote {to}: the only key of {done.certificate.subject}, keep copies in safe places")
    say(f"its next CRL is due within {days} days: docs/ca.md says how it is made")


@app.command()
def settings(
    name: Annotated[str, typer.Argument(help="A setting to change; none: show all.")] = "",
    value: Annotated[str, typer.Argument(help="Its value; 'default' resets it.")] = "",
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Show what new certificates are like, or change it for all. These are preferences:
    `policy set` changes them for a domain or a user alone."""
    wanted = name if name.startswith("ca-") or not name else f"ca-{name}"
    if name and not value:
        raise AdminError(
            f"no value for {name}",
            mend="write it after the name; 'default' resets it; without a name all are shown",
        )
    if name:
        check_preference(wanted, value)
        stored = with_app(
            config,
            lambda app: set_preference(
                app.database.preferences, app.master, "global", wanted, value
            ),
        )
        if json:
            as_json({"setting": stored.name, "value": stored.value})
        else:
            say(f"{stored.name} = {'default' if stored.value is None else stored.value}")
        return

    async def work(app: App) -> list[dict[str, Any]]:
        async with office(app) as found:
            view = found.moment.view("")
            return [
                {
                    "setting": one.name,
                    "value": one.dump(view.get(one).value),
                    "scope": view.get(one).source,
                    "what": one.doc,
                }
                for one in ALL.values()
                if one.name.startswith("ca-")
            ]

    rows("settings", ("setting", "value", "scope"), with_app(config, work), json)
