"""`smimefilter certificate revoke` and `crl create`: taking back what a CA of ours issued."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from smimefilter.app import App, Office, office
from smimefilter.flow.authority_names import Authority, serials_of
from smimefilter.flow.certificates import find
from smimefilter.flow.issuance import certificates
from smimefilter.flow.revoking import LIFT, REASONS
from smimefilter.pki.crl import Crl
from smimefilter.pki.details import crl_issuer
from smimefilter.ports.stores import Shelf

from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, as_json, say

T = TypeVar("T")
Reason = Annotated[
    str, typer.Option(help=f"One of {', '.join(REASONS)}; the last one ends certificateHold.")
]
OfAuthority = Annotated[
    bool, typer.Option("--authority", help="Of a CA too, with all that it issued.")
]


def revoke(
    thumbprint: Annotated[str, typer.Argument(help="The beginning of its thumbprint.")],
    reason: Reason = "unspecified",
    authority: OfAuthority = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Revoke a certificate that a CA of ours issued: its CRL is made anew, and counts here at
    once."""

    async def work(app: App, found: Office) -> dict[str, Any]:
        entry = await find(app.database.certificates, thumbprint, Shelf.CERTIFICATES)
        one = entry.certificate
        below = await found.authority.below(one) if one.is_ca else 0
        by = await found.authority.revoke_certificate(one, reason, authority=authority)
        return {
            "certificate": one.subject,
            "serial": one.serial_hex,
            "thumbprint": one.thumbprint,
            "issuer": by.certificate.subject,
            "reason": reason,
            "fallen": 0 if reason == LIFT else below,
        }

    done, fallen = _watched(config, work)
    if json:
        as_json(done | _issues_no_longer(fallen))
        return
    what = "no longer on hold:" if reason == LIFT else "revoked"
    line = f"{what} {done['certificate']}, serial {done['serial']}, by {done['issuer']}"
    if done["fallen"]:
        line += f"; with it fall {certificates(done['fallen'])}"
    say(line)
    _tell(fallen)


def create_crl(
    serials: Annotated[
        list[str] | None, typer.Argument(help="Serial numbers to revoke, in hex.")
    ] = None,
    ca: Annotated[
        str, typer.Option(help="Its id (a beginning does) or name; else the default one.")
    ] = "",
    days: Annotated[int | None, typer.Option(help="Days until the next one, 1 to 366.")] = None,
    digest: Annotated[str | None, typer.Option(help="sha256, sha384 or sha512.")] = None,
    reason: Reason = "unspecified",
    anew: Annotated[
        bool, typer.Option("--anew", help="Nothing stays revoked but these; needs --force.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even where something is revoked no longer.")
    ] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Serial numbers too that the CA never issued.")
    ] = False,
    authority: OfAuthority = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Make a CRL of a CA of ours, with these serial numbers beside those of before. It goes
    into the CRL store in the place of the last one."""
    numbers = dict.fromkeys(serials_of(serials or []), reason)

    async def work(_: App, found: Office) -> bytes:
        return await found.authority.revoke(
            ca,
            numbers,
            days=days,
            digest=digest,
            anew=anew,
            force=force,
            unknown=unknown,
            authority=authority,
        )

    der, fallen = _watched(config, work)
    if json:
        as_json(_made(der) | _issues_no_longer(fallen))
        return
    say(f"made a CRL of {crl_issuer(der)}")
    _tell(fallen)


def _made(der: bytes) -> dict[str, Any]:
    crl = Crl.read(der)
    ends = crl.next_update
    return {
        "issuer": crl_issuer(der),
        "number": crl.number,
        "entries": crl.count,
        "issued": crl.this_update.isoformat(),
        "next update": ends and ends.isoformat(),
        "sha256": hashlib.sha256(der).hexdigest(),
    }


def _issues_no_longer(fallen: Authority | None) -> dict[str, Any]:
    return {"default no longer": fallen and fallen.id}


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
