"""`smimefilter certificate`: the store of end-user and intermediate certificates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from smimefilter.app import App, now
from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.flow.certificates import (
    Form,
    Query,
    Validity,
    export_certificates,
    find,
    remove,
    search,
)
from smimefilter.flow.imports import Source, Summary, import_certificates
from smimefilter.flow.token import link
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.details import details
from smimefilter.pki.keyfile import UnreadableKeyFile
from smimefilter.pki.keyfile import read as read_keyfile
from smimefilter.plan.snapshot import Moment
from smimefilter.ports.keys import KeyRing
from smimefilter.ports.stores import CertificateEntry, Shelf
from smimefilter.trust.verdict import Purpose

from .common import (
    DEFAULT_CONFIG,
    Config,
    Force,
    read_bytes,
    refuse_to_overwrite,
    with_app,
    write_bytes,
)
from .show import Json, complain, everything, rows, say, summary

_THUMBPRINT = re.compile(r"(?:sha512:)?[0-9A-Fa-f: ]+", re.IGNORECASE)

app = typer.Typer(help="End-user and intermediate certificates.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(help="PEM, DER or PKCS#7 files.")]
COLUMNS = ("subject", "addresses", "expires", "key in", "standing", "thumbprint")


@app.command("import")
def import_(files: Files, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Store the certificates of files (.cer .crt .der .pem .p7b .p7c)."""
    sources = sources_of(files)

    async def work(app: App) -> Summary:
        store = app.database.certificates
        done = await import_certificates(store, sources, Shelf.CERTIFICATES)
        if app.token is not None:
            try:
                await link(store, app.master, app.token.inventory())
            except KeyTrouble as error:
                complain(f"{error}; private keys in it were not looked for: key token link")
        return done

    summary(with_app(config, work), json)


@app.command("list")
def list_(
    address: Annotated[str, typer.Option(help="An address, or a part of it.")] = "",
    subject: Annotated[str, typer.Option(help="A part of the subject.")] = "",
    issuer: Annotated[str, typer.Option(help="A part of the issuer.")] = "",
    serial: Annotated[str, typer.Option(help="A serial number, hex.")] = "",
    thumbprint: Annotated[str, typer.Option(help="The beginning of a SHA-512.")] = "",
    validity: Annotated[Validity, typer.Option(help="By date.")] = Validity.ALL,
    with_key: Annotated[bool, typer.Option("--with-key", help="Only with our key.")] = False,
    origin: Annotated[str, typer.Option(help="A part of how it came: 'signature of'.")] = "",
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List certificates, each with the verdict on it."""
    query = Query(address, subject, issuer, serial, thumbprint, validity, with_key, origin)
    listed = with_app(config, lambda app: listing(app, Shelf.CERTIFICATES, query))
    rows("certificates", COLUMNS, listed, json)


@app.command()
def show(
    which: Annotated[str, typer.Argument(help="A file, or the beginning of a thumbprint.")],
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Everything about a certificate, and the verdict on it with its reasons.

    Of a file, every certificate in it; without an installation, just what they say.
    """
    found = from_file(Path(which)) if Path(which).is_file() else []
    if not found:
        no_such_file(which)

    async def look(app: App) -> list[list[tuple[str, Any]]]:
        moment = (await app.snapshots().load()).snapshot.at(now())
        if found:
            return [[*details(one), *_verdicts(one, moment)] for one in found]
        entry = await find(app.database.certificates, which)
        one = entry.certificate
        ring = app.ring(dict(await _key_of(app, entry)))
        return [[*details(one), *_stored(entry, ring), *_verdicts(one, moment)]]

    if found and not config.exists():
        everything(([*details(one)] for one in found), json)
    else:
        everything(with_app(config, look), json)


async def _key_of(app: App, entry: CertificateEntry) -> list[tuple[str, bytes]]:
    found = await app.database.certificates.key(entry.certificate.thumbprint)
    return [] if found is None else [(found.thumbprint, found.blob)]


def _stored(entry: CertificateEntry, ring: KeyRing) -> Iterator[tuple[str, Any]]:
    where = "in the token" if ring.in_token(entry.certificate.thumbprint) else "in the store"
    yield "private key", where if entry.has_key else "none"
    yield "origin", entry.origin
    yield "added", f"{entry.added:%Y-%m-%d %H:%M:%S} UTC"


def _verdicts(certificate: Certificate, moment: Moment) -> Iterator[tuple[str, list[str]]]:
    view = moment.view(certificate.addresses[0] if certificate.addresses else "")
    for purpose in (Purpose.SIGN, Purpose.ENCRYPT, Purpose.ANY):
        verdict = moment.verdict(certificate, purpose, view)
        label = "trust" if purpose is Purpose.ANY else f"to {purpose}"
        yield label, [verdict.standing.value, *(f"  {reason}" for reason in verdict.reasons)]


@app.command()
def export(
    thumbprints: Annotated[list[str], typer.Argument(help="Beginnings of thumbprints.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write.")],
    form: Annotated[Form, typer.Option("--format", help="The file's format.")] = Form.PEM,
    force: Force = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write certificates to a file. Private keys: see `key export`."""
    refuse_to_overwrite(to, force=force)

    async def look(app: App) -> list[Certificate]:
        store = app.database.certificates
        return [(await find(store, thumbprint)).certificate for thumbprint in thumbprints]

    content = export_certificates(with_app(config, look), form)
    write_bytes(to, content)
    say(f"wrote {to}")


@app.command("remove")
def remove_(
    thumbprint: Annotated[str, typer.Argument(help="The beginning of a thumbprint.")],
    with_key: Annotated[
        bool, typer.Option("--with-key", help="And its private key, which is gone then.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take a certificate out of the store. One whose private key we hold needs `--with-key`."""
    shelf = Shelf.CERTIFICATES
    entry = with_app(
        config,
        lambda app: remove(app.database.certificates, thumbprint, shelf, with_key=with_key),
    )
    key = " and its private key" if entry.has_key else ""
    say(f"removed {entry.certificate.subject}{key}")


# shared with the groups for keys and roots


def sources_of(files: Sequence[Path]) -> list[Source]:
    """The files of a command, read."""
    return [Source(str(file), read_bytes(file)) for file in files]


def no_such_file(which: str) -> None:
    """Raises `AdminError` for what is no file and cannot be a thumbprint."""
    if not _THUMBPRINT.fullmatch(which):
        raise AdminError("no such file", where=which, mend="or write the hex of a thumbprint")


def from_file(file: Path) -> tuple[Certificate, ...]:
    """The certificates of a file, at least one."""
    try:
        found = read_keyfile(read_bytes(file), keys=False)
    except UnreadableKeyFile as error:
        raise AdminError(str(error), where=str(file)) from None
    if not found.certificates:
        why = f": {found.refused[0].why}" if found.refused else ""
        raise AdminError(f"no certificate in it{why}", where=str(file))
    return found.certificates


async def listing(app: App, shelf: Shelf, query: Query) -> list[dict[str, Any]]:
    """Rows of a list, each with a verdict."""
    moment = (await app.snapshots().load()).snapshot.at(now())
    entries = await search(app.database.certificates, shelf, query, moment.now)
    ring = app.ring(
        {one.thumbprint: one.blob for one in await app.database.certificates.keys()}
    )
    return [_row(entry, moment, ring) for entry in entries]


def _row(entry: CertificateEntry, moment: Moment, ring: KeyRing) -> dict[str, Any]:
    certificate = entry.certificate
    view = moment.view(entry.addresses[0] if entry.addresses else "")
    verdict = moment.verdict(certificate, Purpose.ANY, view)
    return {
        "subject": certificate.subject,
        "addresses": list(entry.addresses),
        "expires": f"{certificate.not_after:%Y-%m-%d}",
        "key": entry.has_key,
        "key in": _held(entry, ring),
        "standing": verdict.standing.value,
        "thumbprint": f"{certificate.thumbprint[:16]}",
        "sha512": certificate.thumbprint,
        "issuer": certificate.issuer,
        "serial": certificate.serial_hex,
        "origin": entry.origin,
        "added": entry.added.isoformat(),
        "reasons": [str(reason) for reason in verdict.reasons],
    }


def _held(entry: CertificateEntry, ring: KeyRing) -> str:
    if not entry.has_key:
        return ""
    return "token" if ring.in_token(entry.certificate.thumbprint) else "store"
