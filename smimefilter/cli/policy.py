"""`smimefilter policy`: what is set where, in files and in the database, and what holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smimefilter.app import App, read_config
from smimefilter.base.address import BadAddress
from smimefilter.base.errors import AdminError
from smimefilter.files.policies import PolicyFiles
from smimefilter.flow.preferences import set_preference, unset_preference
from smimefilter.policy.preferences import ALL, RESET, Preference
from smimefilter.policy.tree import DEFAULT, View
from smimefilter.ports.stores import StoredPreference

from .common import DEFAULT_CONFIG, Config, read_password, with_app
from .handlers import check_preference
from .show import Json, out, rows, say

app = typer.Typer(help="Preferences.", no_args_is_help=True)

Scope = Annotated[
    str, typer.Argument(help="global, example.com, *.example.com or alice@example.com.")
]
Name = Annotated[str, typer.Argument(help="The preference; see docs/preferences.md.")]
_NOBODY = ("global", "<>")
SECRET = "(secret)"  # noqa: S105 - what is shown in its place


@app.command()
def check(
    path: Annotated[Path | None, typer.Argument(help="A folder or file of policies.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Read policy files and say what is wrong with them, if anything is."""
    scopes = PolicyFiles(path or read_config(config).policies).load()
    settings = sum(len(found) for found in scopes.values())
    out.print(f"good: {settings} settings at {len(scopes)} scopes")


@app.command()
def show(
    address: Annotated[
        str,
        typer.Argument(help="Whose; 'global', or '<>' for the null sender: what is for all."),
    ],
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Every preference as it holds for an address, with its scope and source; and what is set
    elsewhere on the way but does not hold, because a nearer scope or the database says
    otherwise."""
    view = with_app(config, lambda app: _view(app, "" if address in _NOBODY else address))
    layers = [
        {"preference": name, **layer}
        for name, preference in ALL.items()
        for layer in _layers(view, preference)
        if layer["holds"] or layer["source"] != DEFAULT
    ]
    rows("preferences", ("preference", "value", "scope", "source", "holds"), layers, json)


@app.command("set")
def set_(
    scope: Scope,
    name: Name,
    value: Annotated[
        list[str] | None,
        typer.Argument(help="The value; 'default' resets; several make a list."),
    ] = None,
    value_file: Annotated[
        Path | None,
        typer.Option("--value-file", help="Read it from a file; for secrets. '-' is stdin."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Set a preference in the database, where it wins over the files at the same scope."""
    raw = _raw(name, value or [], value_file)
    check_preference(name, raw)
    stored = with_app(
        config,
        lambda app: set_preference(app.database.preferences, app.master, scope, name, raw),
    )
    shown = SECRET if stored.wrapped else "default" if stored.value is None else stored.value
    say(f"{stored.scope}: {stored.name} = {_text(shown)}")


@app.command()
def unset(scope: Scope, name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Take a preference out of the database again; what files say holds then."""
    gone = with_app(config, lambda app: unset_preference(app.database.preferences, scope, name))
    if not gone:
        raise AdminError(
            f"{name} is not set in the database at {scope}",
            mend="list what is with: smimefilter policy list",
        )
    say(f"{scope}: {name} is no longer set in the database")


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List what is set in the database."""
    found = with_app(config, lambda app: app.database.preferences.all())
    rows("preferences in the database", ("scope", "name", "value"), map(_stored, found), json)


async def _view(app: App, address: str) -> View:
    tree = (await app.snapshots().load()).snapshot.tree
    try:
        return tree.view(address)
    except BadAddress as error:
        mend = "write one such as alice@example.com"
        raise AdminError(str(error), where=address, mend=mend) from None


def _layers(view: View, preference: Preference[Any]) -> list[dict[str, Any]]:
    return [
        {
            "value": _shown(preference, layer.value),
            "scope": layer.scope,
            "source": layer.source,
            "holds": layer.holds,
        }
        for layer in view.layers(preference)
    ]


def _shown(preference: Preference[Any], value: Any) -> Any:
    if value is RESET:
        return "default"
    if value is None:
        return None
    return SECRET if preference.secret else preference.dump(value)


def _raw(name: str, values: list[str], file: Path | None) -> object:
    preference = ALL.get(name)
    secret = preference is not None and preference.secret
    if file is not None:
        return read_password(file)
    if secret and values:
        raise AdminError(
            f"{name} is a secret, and other users see command lines",
            mend="give it with --value-file FILE, or '-' for standard input",
        )
    if not values:
        return read_password(None, name) if secret else _missing(name)
    listed = preference is not None and preference.kind.listed
    return values if listed and len(values) > 1 else " ".join(values)


def _missing(name: str) -> object:
    raise AdminError(f"no value for {name}", mend="write it after the name")


def _stored(one: StoredPreference) -> dict[str, Any]:
    value = SECRET if one.wrapped else "default" if one.value is None else one.value
    return {"scope": one.scope, "name": one.name, "value": value}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
