"""`smimefilter correspondent`: what is known of those whose signed mail came in."""

from __future__ import annotations

from typing import Annotated

import typer

from smimefilter.app import App
from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError

from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, rows, say

app = typer.Typer(
    help="What the mail programs of correspondents say they read.", no_args_is_help=True
)


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List correspondents, and what their programs say they read."""
    found = with_app(config, lambda app: app.database.correspondents.all())
    columns = ("address", "reads", "seen")
    listed = [
        {
            "address": one.address,
            "reads": str(one.capabilities).split(),
            "seen": one.seen.isoformat(timespec="seconds"),
        }
        for one in found
    ]
    rows("correspondents", columns, listed, json)


@app.command()
def remove(
    address: Annotated[str, typer.Argument(help="The correspondent's address.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Forget what a correspondent's program reads; certificates stay. Until it is learnt again,
    mail to it is encrypted as every program reads it."""
    try:
        key = address_key(address)
    except BadAddress as error:
        raise AdminError(str(error), mend="write one such as bob@example.org") from None

    async def forget(app: App) -> None:
        if not await app.database.correspondents.remove(key):
            raise AdminError(
                f"nothing is known of {address}", mend="see: smimefilter correspondent list"
            )

    with_app(config, forget)
    say(f"forgot what {address} reads")
