"""`smimefilter atlas`: the account at GlobalSign Atlas that certificates are ordered with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from smimefilter.app import App, now, office
from smimefilter.base.errors import AdminError
from smimefilter.flow.imports import Summary
from smimefilter.handlers.atlas import Atlas
from smimefilter.handlers.atlas_account import Claim, Domains, Status, Token, import_chain
from smimefilter.handlers.atlas_client import AtlasClient
from smimefilter.handlers.atlas_setup import NAME, AtlasSetUp
from smimefilter.ports.handlers import HandlerTrouble

from .common import (
    DEFAULT_CONFIG,
    Config,
    Force,
    read_bytes,
    read_password,
    refuse_to_overwrite,
    told,
    with_app,
    write_bytes,
)
from .show import Json, as_json, facts, rows, say, summary

app = typer.Typer(help="GlobalSign Atlas: its set-up and domains.", no_args_is_help=True)
setup = typer.Typer(help="Set it up, step by step.", no_args_is_help=True)
domain = typer.Typer(help="Domains that the account may ask for.", no_args_is_help=True)
app.add_typer(setup, name="setup")
app.add_typer(domain, name="domain")

DomainName = Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain.")]
ClaimId = Annotated[str, typer.Option("--claim", help="The claim's id; else it is looked up.")]
COLUMNS = ("domain", "status", "expires", "assert by", "claim")


def _setting_up(config: Path, work: Callable[[AtlasSetUp], Any]) -> Any:
    async def run(app: App) -> Any:
        async with office(app) as found:
            return await work(AtlasSetUp(found.registry, now))

    return with_app(config, run)


def _with_account(config: Path, work: Callable[[AtlasClient, App], Any]) -> Any:
    async def run(app: App) -> Any:
        async with office(app) as found:
            try:
                handler = await found.registry.opened(NAME)
                assert isinstance(handler, Atlas)
                try:
                    return await work(handler.client, app)
                finally:
                    await handler.close()
            except HandlerTrouble as trouble:
                mend = (
                    ""
                    if str(trouble).startswith("Atlas")
                    else "see: smimefilter atlas setup show"
                )
                raise AdminError(str(trouble), where=NAME, mend=mend) from None

    return with_app(config, run)


# setting up


@setup.command()
def key(
    api_key_file: Annotated[Path, typer.Option(help="File whose first line is the API key.")],
    api_secret_file: Annotated[Path, typer.Option(help="The same with the API secret.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Keep the API credential that Atlas gave; '-' is standard input."""
    credential = read_password(api_key_file), read_password(api_secret_file)
    _setting_up(config, lambda found: found.credentials(*credential))
    say("kept the API credential; next: smimefilter atlas setup csr")


@setup.command()
def csr(
    common_name: Annotated[
        str, typer.Option("--common-name", "--cn", help="A name for the gateway.")
    ] = "smimefilter",
    kind: Annotated[str, typer.Option("--key", help="rsa2048, rsa3072, rsa4096.")] = "rsa2048",
    anew: Annotated[
        bool, typer.Option("--anew", help="Another key, in the place of one that waits.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file; else it is printed.")
    ] = None,
    force: Force = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """The CSR (PEM) for the mTLS certificate, to be pasted at Atlas. Asked for again it is made
    with the same key, until its certificate is brought."""
    if kind not in {"rsa2048", "rsa3072", "rsa4096"}:
        raise AdminError(f"no such kind of key: {kind}", mend="rsa2048, rsa3072 or rsa4096")
    if out is not None:
        refuse_to_overwrite(out, force=force)
    pem = _setting_up(config, lambda found: found.csr(common_name, kind, anew=anew))
    if out is None:
        typer.echo(pem.decode(), nl=False)
        return
    write_bytes(out, pem)
    say(f"wrote {out}")


@setup.command()
def certificate(
    file: Annotated[Path, typer.Argument(help="What Atlas made of the CSR: PEM, DER, PKCS#7.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Bring the mTLS certificate; from then on it is used."""
    content = read_bytes(file)
    found, missing = _setting_up(config, lambda found: found.certificate(content, str(file)))
    say(f"uses {found.subject} until {found.not_after:%Y-%m-%d}")
    if missing:
        say(f"still missing: {', '.join(missing)}")
    else:
        say(f"nothing is missing; try it: smimefilter handler test {NAME}")


@setup.command()
def show(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """How far it is, and what is next."""
    facts(_setting_up(config, lambda found: found.shown()), json)


# domains


@domain.command()
def register(name: DomainName, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Claim a domain: what has to be in its DNS."""

    async def work(client: AtlasClient, app: App) -> Token:
        token = await Domains(client).register(name)
        await told(app, "domain claimed at Atlas", token.domain, f"claim {token.claim}")
        return token

    _tell(_with_account(config, work), json)


@domain.command()
def reassert(
    name: DomainName, claim: ClaimId = "", config: Config = DEFAULT_CONFIG, json: Json = False
) -> None:
    """A new token for a claim whose time is over."""

    async def work(client: AtlasClient, app: App) -> Token:
        domains = Domains(client)
        token = await domains.reassert(await domains.find(name, claim))
        await told(app, "domain claimed anew at Atlas", token.domain, f"claim {token.claim}")
        return token

    _tell(_with_account(config, work), json)


@domain.command()
def validate(
    name: DomainName,
    authorization_domain: Annotated[
        str, typer.Option(help="A domain above it that has the token.")
    ] = "",
    claim: ClaimId = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Have Atlas look at the DNS. Exit code 1 when the domain is not verified by that."""

    async def work(client: AtlasClient, app: App) -> tuple[Claim, bool]:
        domains = Domains(client)
        found = await domains.find(name, claim)
        good = await domains.validate(found, authorization_domain)
        said = "verified" if good else "pending"
        await told(app, "domain validated at Atlas", found.domain, said)
        return found, good

    found, is_verified = _with_account(config, work)
    if is_verified:
        say(f"verified: {found.domain}")
        return
    say(f"pending: {found.domain}: not in the DNS yet, as Atlas sees it; try again later")
    raise typer.Exit(1)


@domain.command("list")
def list_(
    status: Annotated[Status | None, typer.Option(help="Those of one status.")] = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List the domains that the account claims."""
    found = _with_account(config, lambda client, _: Domains(client).claims(status))
    rows("claims", COLUMNS, map(_row, found), json)


@domain.command()
def delete(name: DomainName, claim: ClaimId = "", config: Config = DEFAULT_CONFIG) -> None:
    """Claim a domain no longer."""

    async def work(client: AtlasClient, app: App) -> Claim:
        domains = Domains(client)
        found = await domains.find(name, claim)
        await domains.delete(found)
        await told(app, "claim of a domain deleted at Atlas", found.domain, f"claim {found.id}")
        return found

    found = _with_account(config, work)
    say(f"deleted the claim {found.id} for {found.domain}")


@app.command("import-chain")
def import_chain_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Store the CA certificates of the account: its root is trusted from then on."""

    async def work(client: AtlasClient, app: App) -> Summary:
        return await import_chain(client, app.database.certificates)

    summary(_with_account(config, work), json)


def _tell(token: Token, json: bool) -> None:
    if json:
        as_json(asdict(token) | {"txt": token.txt})
        return
    facts(
        [
            ("claim", token.claim),
            ("token", token.token),
            ("DNS", token.txt),
            ("assert by", _when(token.assert_by)),
        ],
        json_=False,
    )
    say(f"when it is in the DNS: smimefilter atlas domain validate {token.domain}")


def _row(claim: Claim) -> dict[str, Any]:
    return {
        "domain": claim.domain,
        "status": claim.status,
        "created": _when(claim.created),
        "expires": _when(claim.expires),
        "assert by": _when(claim.assert_by),
        "claim": claim.id,
        "token": claim.token,
        "log": list(claim.log),
    }


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
