"""`smimefilter`: the commands for an installation as a whole, and the groups below it."""

from __future__ import annotations

from typing import Annotated

import typer
import uvloop

from smimefilter import __version__
from smimefilter.app import initialise, read_config
from smimefilter.config import MOST_WORKERS
from smimefilter.daemon import serve as run_filter

from . import (
    accounts,
    atlas,
    audit,
    authority,
    backup,
    bulk,
    certificates,
    correspondents,
    crls,
    demo,
    doctor,
    explain,
    handlers,
    keys,
    pending,
    policy,
    requests,
    revoking,
    roots,
    trustlist,
    verify,
)
from .common import DEFAULT_CONFIG, Config
from .show import out, say

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=MOST_WORKERS,
        help="Processes that take mail; 1 is this one alone. By default what the settings say.",
    ),
]

app = typer.Typer(
    name="smimefilter",
    help="An S/MIME gateway: signs, encrypts and relays mail by policy, and says why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(policy.app, name="policy")
certificates.app.command("verify")(verify.verify)
certificates.app.command("request")(requests.request)
certificates.app.command("send")(requests.send)
certificates.app.command("revoke")(revoking.revoke)
crls.app.command("create")(revoking.create_crl)
app.add_typer(certificates.app, name="certificate")
app.add_typer(keys.app, name="key")
app.add_typer(roots.app, name="root")
app.add_typer(crls.app, name="crl")
app.add_typer(trustlist.app, name="ctl")
app.add_typer(correspondents.app, name="correspondent")
app.add_typer(authority.app, name="ca")
app.add_typer(pending.app, name="pending")
app.add_typer(bulk.app, name="bulk")
app.add_typer(handlers.handler, name="handler")
app.add_typer(atlas.app, name="atlas")
app.add_typer(accounts.app, name="account")
app.add_typer(audit.app, name="audit")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(f"smimefilter {__version__}")


@app.command()
def init(config: Config = DEFAULT_CONFIG) -> None:
    """Set up what the settings name: master key, policy folder, database. Nothing that is
    there already is touched."""
    for line in uvloop.run(initialise(read_config(config))):
        say(line)


@app.command()
def serve(config: Config = DEFAULT_CONFIG, workers: Workers = None) -> None:
    """Run the filter until SIGTERM; SIGHUP reads the policies again, and with several workers
    the settings."""
    run_filter(config, workers)
