"""`smimefilter key token`: private keys in the PKCS#11 token that the settings name."""

from __future__ import annotations

from typing import Any

import typer

from smimefilter.app import App
from smimefilter.base.errors import AdminError
from smimefilter.flow.token import Belonging, belongings, link
from smimefilter.keys.token import Token
from smimefilter.ports.stores import CertificateEntry

from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, as_json, rows, say

app = typer.Typer(help="Private keys in a PKCS#11 token.", no_args_is_help=True)


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the private keys in the token, each with the certificates it belongs to."""

    async def work(app: App) -> list[dict[str, Any]]:
        found = await belongings(app.database.certificates, _token(app).inventory())
        ring = app.ring((await app.database.states.load()).keys)

        def state(entry: CertificateEntry) -> str:
            if not entry.has_key:
                return "not linked"
            linked = ring.in_token(entry.certificate.thumbprint)
            return "linked" if linked else "the store has the key too, and uses that"

        return [_row(one, [(entry, state(entry)) for entry in one.entries]) for one in found]

    columns = ("label", "id", "kind", "uses", "certificates", "note")
    rows("private keys in the token", columns, with_app(config, work), json)


def _row(one: Belonging, named: list[tuple[CertificateEntry, str]]) -> dict[str, Any]:
    return {
        "label": one.key.label,
        "id": one.key.id.hex(),
        "kind": one.key.kind,
        "uses": list(one.key.uses),
        "certificates": [
            f"{entry.certificate.subject} {entry.certificate.thumbprint[:16]} ({state})"
            for entry, state in named
        ],
        "thumbprints": [entry.certificate.thumbprint for entry, _ in named],
        "note": one.key.why,
    }


@app.command("link")
def link_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Use the private keys in the token for all certificates in the store that they belong to;
    of those whose key is in the store as well, that one stays in use."""

    async def work(app: App) -> list[CertificateEntry]:
        return await link(app.database.certificates, app.master, _token(app).inventory())

    linked = with_app(config, work)
    if json:
        as_json(
            [
                {"subject": one.certificate.subject, "thumbprint": one.certificate.thumbprint}
                for one in linked
            ]
        )
        return
    for one in linked:
        say(f"linked: {one.certificate.subject} {one.certificate.thumbprint[:16]}")
    say(f"{len(linked)} linked")


def _token(app: App) -> Token:
    if app.token is None:
        raise AdminError("the settings name no token", mend="name one as `token:`; docs/hsm.md")
    return app.token
