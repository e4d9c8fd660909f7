"""`smimefilter certificate verify`: a verdict, and every step that led to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from smimefilter.app import App, now
from smimefilter.base.errors import AdminError
from smimefilter.base.reasons import Reason
from smimefilter.flow.certificates import find
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.details import key_text, signature_text
from smimefilter.plan.snapshot import trust_rules
from smimefilter.trust.trace import CrlSeen, Step, Trace, trace
from smimefilter.trust.trace import Path as TrustPath
from smimefilter.trust.verdict import Purpose

from .certificates import from_file, no_such_file
from .common import DEFAULT_CONFIG, Config, with_app
from .show import Json, as_json, say


def verify(
    which: Annotated[str, typer.Argument(help="A file, or the beginning of a thumbprint.")],
    at: Annotated[
        str, typer.Option(help="The time to verify for: ISO 8601, UTC unless it says.")
    ] = "",
    purpose: Annotated[Purpose, typer.Option(help="What it is to be used for.")] = Purpose.ANY,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Verify a certificate as mail does: the paths tried, each step, each CRL, the verdict.

    Of a file with several certificates the first end-user one is verified, and the others help
    to find a path; none of them is trusted for being there. Exit code 0 only when it may be
    used.
    """
    moment = _moment(at)
    found = from_file(Path(which)) if Path(which).is_file() else ()
    if not found:
        no_such_file(which)

    async def look(app: App) -> tuple[Certificate, Trace]:
        one = (
            _leaf(found)
            if found
            else (await find(app.database.certificates, which)).certificate
        )
        state = (await app.snapshots().load()).snapshot.at(moment)
        view = state.view(one.addresses[0] if one.addresses else "")
        knowledge = state.snapshot.trust.knowledge
        if len(found) > 1:
            knowledge = knowledge.with_certificates(found)
        return one, trace(one, purpose, moment, trust_rules(view), knowledge)

    one, result = with_app(config, look)
    if json:
        as_json(_data(one, moment, result))
    else:
        for line in _lines(one, moment, result):
            say(line)
        for url in dict.fromkeys(url for need in result.verdict.needs for url in need.urls[:1]):
            say(f"not asked here, the filter asks when a mail needs it: {url}")
    if not result.verdict.usable:
        raise typer.Exit(1)


def _moment(text: str) -> datetime:
    if not text:
        return now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AdminError(
            f"'{text}' is no time",
            where="--at",
            mend="write 2026-12-31 or 2026-12-31T12:00:00Z",
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _leaf(found: Iterable[Certificate]) -> Certificate:
    certificates_ = list(found)
    return next((one for one in certificates_ if not one.is_ca), certificates_[0])


# for programs


def _data(one: Certificate, at: datetime, result: Trace) -> dict[str, Any]:
    verdict = result.verdict
    return {
        "subject": one.subject,
        "sha512": one.thumbprint,
        "purpose": verdict.purpose.value,
        "at": at.isoformat(),
        "standing": verdict.standing.value,
        "usable": verdict.usable,
        "reasons": [_reason(reason) for reason in verdict.reasons],
        "paths": [
            {
                "worth": path.worth.value,
                "problems": [_reason(reason) for reason in path.problems],
                "steps": [_step(step) for step in path.steps],
            }
            for path in result.paths
        ],
    }


def _reason(reason: Reason) -> dict[str, str]:
    return {"because": reason.because.value, "about": reason.about, "text": str(reason)}


def _step(step: Step) -> dict[str, Any]:
    one = step.certificate
    return {
        "subject": one.subject,
        "issuer": one.issuer,
        "serial": one.serial_hex,
        "sha512": one.thumbprint,
        "root": step.is_root,
        "key": key_text(one),
        "signature": signature_text(one),
        "valid-from": one.not_before.isoformat(),
        "valid-until": one.not_after.isoformat(),
        "crls": [
            {
                "sha256": crl.sha256,
                "number": crl.number,
                "issued": crl.this_update.isoformat(),
                "next-update": crl.next_update.isoformat() if crl.next_update else None,
                "entries": crl.entries,
                "signed-by": crl.signer or None,
                "says": crl.says,
            }
            for crl in step.crls
        ],
    }


# for people


def _lines(one: Certificate, at: datetime, result: Trace) -> Iterator[str]:
    verdict = result.verdict
    yield f"{one.subject} {one.thumbprint[:16]}…, for {verdict.purpose} at {_time(at)}"
    for number, path in enumerate(result.paths, start=1):
        yield from _path_lines(number, path)
    yield f"verdict: {verdict.standing}"
    for reason in verdict.reasons:
        yield f"    {reason}"


def _path_lines(number: int, path: TrustPath) -> Iterator[str]:
    yield f"path {number}: {path.worth}"
    for step in path.steps:
        yield from _step_lines(step)
    for reason in path.problems:
        yield f"    {reason}"


def _step_lines(step: Step) -> Iterator[str]:
    one = step.certificate
    root = ", a trusted root" if step.is_root else ""
    yield f"    {one.subject} {one.thumbprint[:16]}…{root}"
    until = f"{_time(one.not_before)} to {_time(one.not_after)}"
    yield f"        {key_text(one)}, signed with {signature_text(one)} by {one.issuer}"
    yield f"        serial {one.serial_hex}, valid {until}"
    for crl in step.crls:
        yield f"        {_crl_text(crl)}"


def _crl_text(crl: CrlSeen) -> str:
    number = "" if crl.number is None else f" no. {crl.number}"
    until = f", next {_time(crl.next_update)}" if crl.next_update else ""
    by = f"signed by {crl.signer}" if crl.signer else "not signed by any CA at hand"
    entries = "1 entry" if crl.entries == 1 else f"{crl.entries} entries"
    return f"CRL{number} of {_time(crl.this_update)}{until}, {entries}, {by}: {crl.says}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
