"""`smimefilter certificate revoke` and `crl create`: taking back what a CA of ours issued."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from smimefilter.app import App, Office, office
from smimefilter.flow.authority import Authority, serials_of
from smimefilter.flow.certificates import find
from smimefilter.flow.revoking import LIFT, REASONS
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.details import crl_issuer
from smimefilter.ports.stores import Shelf

from .common import DEFAULT_CONFIG, Config, with_app
from .show import say

T = TypeVar("T")
Reason = Annotated[
    str, typer.Option(help=f"One of {', '.join(REASONS)}; the last one ends certificateHold.")
]


def revoke(
    thumbprint: Annotated[str, typer.Argument(help="The beginning of its thumbprint.")],
    reason: Reason = "unspecified",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Revoke a certificate that a CA of ours issued: its CRL is made anew, and counts here at
    once."""

    async def work(app: App, found: Office) -> tuple[Certificate, str]:
        entry = await find(app.database.certificates, thumbprint, Shelf.CERTIFICATES)
        by = await found.authority.revoke_certificate(entry.certificate, reason)
        return entry.certificate, by.certificate.subject

    (certificate, issuer), fallen = _watched(config, work)
    done = "no longer on hold:" if reason == LIFT else "revoked"
    say(f"{done} {certificate.subject}, serial {certificate.serial_hex}, by {issuer}")
    _tell(fallen)


def create_crl(
    serials: Annotated[
        list[str] | None, typer.Argument(help="Serial numbers to revoke, in hex.")
    ] = None,
    ca: Annotated[str, typer.Option(help="Of `ca list`; else the default one.")] = "",
    days: Annotated[int | None, typer.Option(help="Days until the next one, 1 to 366.")] = None,
    digest: Annotated[str | None, typer.Option(help="sha256, sha384 or sha512.")] = None,
    reason: Reason = "unspecified",
    anew: Annotated[
        bool, typer.Option("--anew", help="Nothing stays revoked but these; needs --force.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even where something is revoked no longer.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make a CRL of a CA of ours, with these serial numbers beside those of before. It goes
    into the CRL store in the place of the last one."""
    numbers = dict.fromkeys(serials_of(serials or []), reason)

    async def work(_: App, found: Office) -> bytes:
        return await found.authority.revoke(
            ca, numbers, days=days, digest=digest, anew=anew, force=force
        )

    der, fallen = _watched(config, work)
    say(f"made a CRL of {crl_issuer(der)}")
    _tell(fallen)


def _watched(
    config: Config, work: Callable[[App, Office], Awaitable[T]]
) -> tuple[T, Authority | None]:
    """What comes of work, and the CA that issued by default before and does not now."""

    async def run(app: App) -> tuple[T, Authority | None]:
        async with office(app) as found:
            before = await _default(found)
            done = await work(app, found)
            return done, None if await _default(found) else before

    return with_app(config, run)


async def _default(found: Office) -> Authority | None:
    return next((one for one in await found.authority.all() if one.is_default), None)


def _tell(fallen: Authority | None) -> None:
    if fallen is not None:
        say(
            f"{fallen.certificate.subject} issues no longer, and no other CA does: "
            "choose one with: smimefilter ca default"
        )
