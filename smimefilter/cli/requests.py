"""`smimefilter certificate request`, `certificate send`, `pending`, `bulk`: certificates are
got, and handed out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from smimefilter.app import App, Office, office
from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import chain_of, find
from smimefilter.flow.enrol import Looked, handler_for, preview, with_defaults
from smimefilter.flow.preferences import set_preference
from smimefilter.flow.send import generated, no_number, no_sender
from smimefilter.flow.wanted import Wanted
from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.request import csr_pem
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    CA_MAIL_SENDER,
    CA_PASSWORD_LENGTH,
    CA_STORE_PASSWORD,
    SMS_NUMBER,
)
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import Shelf

from .certificates import from_file
from .common import (
    DEFAULT_CONFIG,
    Config,
    Force,
    PasswordFile,
    in_office,
    read_bytes,
    read_password,
    refuse_to_overwrite,
    told,
    with_app,
    write_bytes,
)
from .show import Json, as_json, err, facts, rows, say

pending = typer.Typer(help="Requests that wait for their certificate.", no_args_is_help=True)
bulk = typer.Typer(help="Many requests at once, from a CSV file.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(help="Beginnings of their ids.")]
Id = Annotated[str, typer.Argument(help="The beginning of its id.")]
Handler = Annotated[str, typer.Option(help="Of `handler list`; else as preferences have it.")]
Days = Annotated[int | None, typer.Option(help="Days of validity.")]
Key = Annotated[str | None, typer.Option(help="rsa2048, rsa3072, rsa4096, p256 or p384.")]
Digest = Annotated[str | None, typer.Option(help="sha256, sha384 or sha512.")]
CrlUrl = Annotated[str | None, typer.Option(help="CRL distribution point; '' for none.")]
AddUser = Annotated[bool, typer.Option("--add-user", help="Add a user with this name.")]
Store = Annotated[
    bool | None,
    typer.Option(
        "--store-password/--no-store-password",
        help="Keep the password in the user's preferences; else as preferences have it.",
    ),
]
Legacy = Annotated[
    bool, typer.Option("--legacy", help="A key file for old programs: 3DES and SHA-1.")
]
SHORTEST_PASSWORD = 8
COLUMNS = ("id", "state", "address", "handler", "outcome", "due")


def request(
    address: Annotated[str, typer.Argument(help="The address it is for.")],
    common_name: Annotated[
        str | None, typer.Option("--common-name", "--cn", help="The name it is for.")
    ] = None,
    organisation: Annotated[str | None, typer.Option()] = None,
    first_name: Annotated[str | None, typer.Option()] = None,
    last_name: Annotated[str | None, typer.Option()] = None,
    days: Days = None,
    key: Key = None,
    digest: Digest = None,
    handler: Handler = "",
    crl_url: CrlUrl = None,
    add_user: AddUser = False,
    send: Annotated[
        bool, typer.Option("--send", help="Mail the key as a PKCS#12 file.")
    ] = False,
    send_to: Annotated[str, typer.Option(help="To this address and not its owner's.")] = "",
    legacy: Legacy = False,
    sms: Annotated[
        bool, typer.Option("--sms", help="Send the password by SMS to the user's number.")
    ] = False,
    store_password: Store = None,
    password_file: PasswordFile = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Request a certificate: issued at once, or pending, or refused and why (exit code 1).

    Without --password-file the password of a key file is made up; it is printed unless it goes
    by SMS or is stored."""

    async def work(found: Office) -> tuple[StoredRequest, str]:
        moment = found.moment
        wanted = with_defaults(
            moment,
            address,
            common_name=common_name,
            organisation=organisation,
            given_name=first_name,
            surname=last_name,
            days=days,
            key=key,
            digest=digest,
            crl_url=crl_url,
            add_user=add_user,
            send=send,
            send_to=send_to,
            legacy=legacy,
            sms=sms,
        )
        keep = send and _keeps_password(moment, wanted.address, store_password)
        wanted = replace(wanted, store_password=keep)
        by = handler or handler_for(moment, wanted.address)
        password, shown = "", ""
        _check_ways(moment, wanted)
        if send:
            password = _password(moment, wanted.address, password_file)
            shown = "" if password_file or sms or wanted.store_password else password
        (stored,) = await found.requests.submit([wanted], by, passwords=[password])
        worked = await found.requests.work([stored.id])
        return worked[0] if worked else stored, shown

    _check_options(sms=sms, send=send, send_to=send_to, file=password_file)
    done, password = in_office(config, work)
    if json:
        as_json(_row(done) | ({"password": password} if password else {}))
    else:
        _tell(done, password)
    if done.state is RequestState.REFUSED:
        raise typer.Exit(1)


def _check_options(*, sms: bool, send: bool, send_to: str, file: Path | None) -> None:
    """Raises `AdminError` for what goes with `--send` alone."""
    for name, given in (("--sms", sms), ("--send-to", send_to), ("--password-file", file)):
        if given and not send:
            raise AdminError(f"{name} is for a key that is sent", mend="say --send as well")
    try:
        address_key(send_to or "postmaster@localhost")
    except BadAddress as error:
        raise AdminError(str(error), where=send_to) from None


def _check_ways(moment: Moment, wanted: Wanted) -> None:
    """Raises `AdminError` where a key or its password is to be sent and cannot be."""
    view = moment.view(wanted.address)
    if wanted.send and view.get(CA_MAIL_SENDER).value is None:
        raise no_sender()
    if wanted.sms and view.get(SMS_NUMBER).value is None:
        raise no_number(wanted.address)


def _tell(done: StoredRequest, password: str) -> None:
    say(f"{done.state}: {done.address}: {done.outcome}")
    if done.thumbprint:
        say(f"thumbprint {done.thumbprint}")
    elif done.state is RequestState.PENDING:
        say(f"request {done.id}: see it with: smimefilter pending show {done.id[:8]}")
    if password:
        say(f"password of the key file: {password}")


def send(
    thumbprints: Annotated[
        list[str], typer.Argument(help="Beginnings of thumbprints, of certificates with keys.")
    ],
    to: Annotated[str, typer.Option(help="The recipient.")],
    legacy: Legacy = False,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Certificates of other addresses too.")
    ] = False,
    sms: Annotated[
        bool, typer.Option("--sms", help="Send the password by SMS to the user's number.")
    ] = False,
    store_password: Store = None,
    password_file: PasswordFile = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Mail certificates with their keys, each as a PKCS#12 file under one password. Without
    --password-file it is made up; it is printed unless it goes by SMS or is stored."""

    async def run(app: App) -> str:
        async with office(app) as found:
            moment, store = found.moment, app.database.certificates
            ring = app.ring((await app.database.states.load()).keys)
            identities = []
            for one in thumbprints:
                entry = await find(store, one, Shelf.CERTIFICATES)
                certificate = entry.certificate
                if not ring.has(certificate.thumbprint):
                    raise AdminError("there is no private key of it", where=certificate.subject)
                key = ring.private_key(certificate.thumbprint)
                chain = await chain_of(store, certificate)
                identities.append(Identity(certificate, key, chain))
            address = address_key(to)
            view = moment.view(address)
            password = _password(moment, address, password_file)
            await found.post.send(
                identities,
                address,
                view.get(CA_MAIL_SENDER).value,
                password,
                allow_mismatch=allow_mismatch,
                legacy=legacy,
            )
            for identity in identities:
                thumbprint = identity.certificate.thumbprint
                await told(app, "private key sent", thumbprint, f"to {address}")
            keep = _keeps_password(moment, address, store_password)
            if keep:
                await set_preference(
                    app.database.preferences, app.master, address, "pkcs12-password", password
                )
            if sms:
                await found.post.send_password(view.get(SMS_NUMBER).value, address, password)
            return "" if password_file or sms or keep else password

    password = with_app(config, run)
    say(f"sent {len(thumbprints)} to {to}")
    if password:
        say(f"password of the key files: {password}")


def _keeps_password(moment: Moment, address: str, asked: bool | None) -> bool:
    return moment.view(address).get(CA_STORE_PASSWORD).value if asked is None else asked


def _password(moment: Moment, address: str, file: Path | None) -> str:
    """One that was typed, or a new one."""
    if file is not None:
        password = read_password(file)
        if len(password) < SHORTEST_PASSWORD:
            raise AdminError(
                f"the password of a key file has {SHORTEST_PASSWORD} characters or more",
                where=str(file),
            )
        return password
    return generated(moment.view(address).get(CA_PASSWORD_LENGTH).value)


# pending


@pending.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List requests that wait."""
    states = () if all_ else (RequestState.PENDING,)
    found = with_app(config, lambda app: app.database.requests.all(states))
    rows("requests", COLUMNS, map(_row, found), json)


@pending.command()
def show(id_: Id, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Everything about a request, and what was done for it."""

    async def run(app: App) -> list[tuple[str, Any]]:
        async with office(app) as found:
            one = await found.requests.find(id_)
        records = await app.database.audit.find(one.id)
        done = [f"{r.at:%Y-%m-%d %H:%M:%S} {r.event}: {r.detail}".rstrip(": ") for r in records]
        asked = [(name.replace("_", " "), value) for name, value in one.fields.items()]
        return [*_row(one).items(), *asked, ("history", done)]

    facts(with_app(config, run), json)


@pending.command()
def reschedule(ids: Ids, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Ask their handlers now, and not when it is their turn."""

    async def work(found: Office) -> list[StoredRequest]:
        wanted = [(await found.requests.find(one)).id for one in ids]
        await found.requests.reschedule(wanted)
        return await found.requests.work(wanted)

    rows("requests", COLUMNS, map(_row, in_office(config, work)), json)


@pending.command()
def delete(ids: Ids, config: Config = DEFAULT_CONFIG) -> None:
    """Forget requests, with their keys."""

    async def work(found: Office) -> tuple[int, int]:
        wanted = {(await found.requests.find(one)).id for one in ids}
        return await found.requests.remove(wanted), len(wanted)

    gone, wanted = in_office(config, work)
    say(f"deleted {gone}")
    if gone < wanted:
        raise AdminError(f"{wanted - gone} are being worked on right now", mend="try again")


@pending.command()
def download(
    id_: Id,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file; else it is printed.")
    ] = None,
    force: Force = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """The CSR of a request (PEM), for its CA."""

    async def work(found: Office) -> bytes:
        return csr_pem(await found.requests.csr(await found.requests.find(id_)))

    pem = in_office(config, work)
    if out is None:
        typer.echo(pem.decode(), nl=False)
        return
    refuse_to_overwrite(out, force=force)
    write_bytes(out, pem)
    say(f"wrote {out}")


@pending.command()
def upload(
    files: Annotated[list[Path], typer.Argument(help="Certificates: PEM, DER or PKCS#7.")],
    request_: Annotated[str, typer.Option("--request", help="For this one alone.")] = "",
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Bring certificates to the requests that wait for them; each is matched by its key.
    Exit code 1 when one is refused."""
    certificates = [one for file in files for one in from_file(file)]

    async def work(found: Office) -> list[tuple[Certificate, StoredRequest | None, str]]:
        only = (await found.requests.find(request_)).id if request_ else ""
        return await found.requests.upload(certificates, only)

    found = in_office(config, work)
    answers = [
        {
            "outcome": "refused" if one is None else str(one.state),
            "certificate": certificate.subject,
            "address": "" if one is None else one.address,
            "why": why,
        }
        for certificate, one, why in found
    ]
    rows("certificates", ("outcome", "certificate", "address", "why"), answers, json)
    if not found or any(one is None for _, one, _ in found):
        raise typer.Exit(1)


# bulk


@bulk.command("preview")
def preview_(
    file: Annotated[Path, typer.Argument(help="The CSV file.")],
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """What a CSV file asks for, row by row, and who is passed over."""
    content = read_bytes(file)

    async def work(found: Office) -> list[Looked]:
        return preview(found.moment, content)

    columns = ("row", "address", "common name", "organisation", "skipped")
    rows("requests", columns, [_looked(one) for one in in_office(config, work)], json)


@bulk.command()
def submit(
    file: Annotated[Path, typer.Argument(help="The CSV file.")],
    handler: Handler = "",
    days: Days = None,
    key: Key = None,
    digest: Digest = None,
    add_user: AddUser = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Request all that a CSV file asks for. The same file again goes on where it ended. Exit
    code 1 when a request was refused."""
    content = read_bytes(file)

    async def work(
        found: Office, progress: Progress
    ) -> tuple[list[Looked], list[StoredRequest]]:
        moment = found.moment
        looked = preview(moment, content, days=days, key=key, digest=digest, add_user=add_user)
        by = partial(handler_for, moment) if not handler else lambda _: handler
        wanted = sum(not one.skipped for one in looked)
        task = progress.add_task("requesting", total=wanted)
        done = await found.bulk.submit(
            content, looked, by, done=lambda _: progress.advance(task)
        )
        return looked, done

    quiet = json or not err.is_terminal
    with Progress(console=err, transient=True, disable=quiet) as progress:
        looked, done = in_office(config, lambda found: work(found, progress))
    skipped = [
        one
        for one in looked
        if one.skipped and one.wanted.address not in {r.address for r in done}
    ]
    if json:
        as_json([_row(one) for one in done] + [_looked(one) for one in skipped])
    else:
        for one in skipped:
            say(f"skipped: row {one.row.number}, {one.wanted.address}: {one.skipped}")
        for left in done:
            if left.state is not RequestState.ISSUED:
                say(f"{left.state}: row {left.position}, {left.address}: {left.outcome}")
        counts = [f"{sum(r.state is state for r in done)} {state}" for state in RequestState]
        say(", ".join([*counts, f"{len(skipped)} skipped"]))
    if any(one.state is RequestState.REFUSED for one in done):
        raise typer.Exit(1)


def _row(one: StoredRequest) -> dict[str, Any]:
    waits = one.state is RequestState.PENDING
    return {
        "id": one.id[:8],
        "state": str(one.state),
        "address": one.address,
        "handler": one.handler,
        "outcome": one.outcome,
        "due": f"{one.due:%Y-%m-%d %H:%M}" if waits else "",
        "tries": one.tries,
        "given up": f"{one.give_up:%Y-%m-%d}" if waits else "",
        "thumbprint": one.thumbprint,
        "request": one.id,
    }


def _looked(one: Looked) -> dict[str, Any]:
    return {
        "row": one.row.number,
        "address": one.wanted.address,
        "common name": one.wanted.common_name,
        "organisation": one.wanted.organisation,
        "first name": one.wanted.given_name,
        "last name": one.wanted.surname,
        "skipped": one.skipped,
    }
