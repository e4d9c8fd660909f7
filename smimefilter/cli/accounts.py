"""`smimefilter account`: logins for SMTP AUTH at the relay listener."""

from __future__ import annotations

from typing import Annotated

import typer

from smimefilter.flow.accounts import list_accounts, put_account, remove_account

from .common import DEFAULT_CONFIG, Config, PasswordFile, read_password, with_app
from .show import Json, rows, say

app = typer.Typer(help="Logins for SMTP AUTH.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(help="The login; best the mail address of its user.")]


@app.command()
def add(
    login: Login, password_file: PasswordFile = None, config: Config = DEFAULT_CONFIG
) -> None:
    """Add a login, or give it a new password."""
    password = read_password(password_file, "New password")
    new = with_app(config, lambda app: put_account(app.database.accounts, login, password))
    say(f"{'added' if new else 'new password for'} {login}")


@app.command()
def remove(login: Login, config: Config = DEFAULT_CONFIG) -> None:
    """Take a login away."""
    with_app(config, lambda app: remove_account(app.database.accounts, login))
    say(f"removed {login}")


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List logins."""
    found = with_app(config, lambda app: list_accounts(app.database.accounts))
    rows("logins", ("login",), [{"login": login} for login in found], json)
