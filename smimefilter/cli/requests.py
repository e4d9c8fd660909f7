"""`smimefilter certificate request` and `certificate send`: certificates are got, and handed
out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from smimefilter.app import App, Office, office
from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError
from smimefilter.flow.certificates import chain_of, find, refuse_if_in_token
from smimefilter.flow.enrol import handler_for, with_defaults
from smimefilter.flow.preferences import set_preference
from smimefilter.flow.send import generated
from smimefilter.pki.build import Identity
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    CA_MAIL_SENDER,
    CA_PASSWORD_LENGTH,
    CA_STORE_PASSWORD,
    SMS_NUMBER,
)
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import Shelf

from .common import (
    DEFAULT_CONFIG,
    Config,
    PasswordFile,
    in_office,
    read_password,
    told,
    with_app,
)
from .pending import row_of
from .show import Json, as_json, say

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
    another: Annotated[
        bool, typer.Option("--another", help="Also where one for the address waits already.")
    ] = False,
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
        if not another:
            await found.requests.refuse_second(wanted.address, by)
        password, shown = "", ""
        if send:
            found.post.check(moment.view(wanted.address), wanted.address, sms=sms)
            password = _password(moment, wanted.address, password_file)
            shown = "" if password_file or sms or wanted.store_password else password
        (stored,) = await found.requests.submit([wanted], by, passwords=[password])
        worked = await found.requests.work([stored.id])
        return worked[0] if worked else stored, shown

    _check_options(
        send=send,
        send_to=send_to,
        others={
            "--sms": sms,
            "--password-file": password_file,
            "--store-password": store_password,
            "--legacy": legacy,
        },
    )
    done, password = in_office(config, work)
    if json:
        as_json(row_of(done) | ({"password": password} if password else {}))
    else:
        _tell(done, password)
    if done.state is RequestState.REFUSED:
        raise typer.Exit(1)


def _check_options(*, send: bool, send_to: str, others: Mapping[str, object]) -> None:
    """Raises `AdminError` for what goes with `--send` alone."""
    for name, given in {"--send-to": send_to, **others}.items():
        if given and not send:
            raise AdminError(f"{name} is for a key that is sent", mend="say --send as well")
    if send_to:
        _key_of(send_to)


def _key_of(address: str) -> str:
    try:
        return address_key(address)
    except BadAddress as error:
        mend = "write one such as alice@example.com"
        raise AdminError(str(error), mend=mend) from None


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
    json: Json = False,
) -> None:
    """Mail certificates with their keys, each as a PKCS#12 file under one password. Without
    --password-file it is made up; it is printed unless it goes by SMS or is stored."""

    address = _key_of(to)

    async def run(app: App) -> tuple[list[Identity], str]:
        async with office(app) as found:
            moment, store = found.moment, app.database.certificates
            view = moment.view(address)
            found.post.check(view, address, sms=sms)
            ring = app.ring((await app.database.states.load()).keys)
            identities = []
            for one in thumbprints:
                entry = await find(store, one, Shelf.CERTIFICATES)
                certificate = entry.certificate
                if not ring.has(certificate.thumbprint):
                    raise AdminError("there is no private key of it", where=certificate.subject)
                refuse_if_in_token(ring, certificate)
                key = ring.private_key(certificate.thumbprint)
                chain = await chain_of(store, certificate)
                identities.append(Identity(certificate, key, chain))
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
            return identities, "" if password_file or sms or keep else password

    sent, password = with_app(config, run)
    if json:
        done = {"to": to, "sent": [one.certificate.thumbprint for one in sent]}
        as_json(done | ({"password": password} if password else {}))
        return
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
