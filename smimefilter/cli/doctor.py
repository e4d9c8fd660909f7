"""`smimefilter doctor`: looks at everything, and says how to mend what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import typer

from smimefilter import config as settings
from smimefilter.app import (
    App,
    now,
    open_app,
    probe_listener,
    probe_next_hop,
    read_config,
    rehearse,
)
from smimefilter.base.errors import AdminError, AdminErrors
from smimefilter.flow.activity import ACTIVE_FOR
from smimefilter.flow.audit import verify
from smimefilter.flow.checkup import Finding, Grade, look_over

from .common import DEFAULT_CONFIG, Config
from .show import Json, as_json, out, say

_COLOURS = {Grade.GOOD: "green", Grade.WARNING: "yellow", Grade.BAD: "red"}


def doctor(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """Look at settings, master key, database, policies, certificates, ports and next hops.

    Exit code 1 when something is bad; warnings alone leave it at 0.
    """
    findings = asyncio.run(_all(config))
    if json:
        as_json([{**_data(finding)} for finding in findings])
    else:
        for finding in findings:
            mark = f"[{_COLOURS[finding.grade]}]{finding.grade:<8}[/]"
            out.print(mark, end="")
            mend = f" ({finding.mend})" if finding.mend else ""
            say(f"{finding.about}: {finding.what}{mend}")
    if any(finding.grade is Grade.BAD for finding in findings):
        raise typer.Exit(1)


async def _all(file: Path) -> list[Finding]:
    try:
        config = read_config(file)
    except AdminError as error:
        return list(_bad("settings", error))
    findings = [Finding(Grade.GOOD, "settings", str(file))]
    findings += [finding async for finding in _network(config)]
    try:
        async with open_app(config) as app:
            findings.append(Finding(Grade.GOOD, "master key", "opens this database"))
            findings += await _installation(app)
    except AdminError as error:
        findings += _bad("installation", error)
    return findings


async def _installation(app: App) -> list[Finding]:
    store = await app.database.states.load()
    what = f"{len(store.certificates)} certificates, {len(store.keys)} keys"
    findings = [Finding(Grade.GOOD, "database", f"revision {store.revision}, {what}")]
    try:
        state = await app.snapshots().load()
    except AdminError as error:
        return [*findings, *_bad("policies", error)]
    try:
        rehearse(app)
    except AdminError as error:
        findings += _bad("settings", error)
    scopes = len(state.snapshot.tree.files)
    findings.append(Finding(Grade.GOOD, "policies", f"{scopes} scopes in files"))
    findings.append(await _audit_log(app))
    users = await app.database.active_users.since(now() - ACTIVE_FOR)
    sources = await app.database.crl_sources.all()
    keys = app.ring(store.keys)
    ours = [one.thumbprint for one in await app.database.authorities.all()]
    moment = state.snapshot.at(now())
    return findings + look_over(store, moment, users, sources, keys, ours)


async def _audit_log(app: App) -> Finding:
    found = await verify(app.database.audit, app.master)
    if not found.why:
        return Finding(Grade.GOOD, "audit log", f"whole, {found.records} records")
    what = f"broken at record {found.broken}: {found.why}"
    return Finding(Grade.BAD, "audit log", what, "see docs/audit.md for what that says")


async def _network(config: settings.Config) -> AsyncIterator[Finding]:
    for listener in config.listeners:
        about = f"listener {listener.protocol} {listener.address}:{listener.port}"
        grade, what, mend = await probe_listener(listener)
        yield Finding(Grade(grade), about, what, mend)
    for name, hop in {"next-hop": config.next_hop, **config.next_hops}.items():
        about = f"{name} {hop.host}:{hop.port}"
        try:
            yield Finding(Grade.GOOD, about, await probe_next_hop(config, hop))
        except AdminError as error:
            yield Finding(Grade.BAD, about, error.what, error.mend)


def _bad(about: str, error: AdminError) -> list[Finding]:
    errors = error.errors if isinstance(error, AdminErrors) else (error,)
    return [Finding(Grade.BAD, one.where or about, one.what, one.mend) for one in errors]


def _data(finding: Finding) -> dict[str, str]:
    return {
        "grade": finding.grade.value,
        "about": finding.about,
        "what": finding.what,
        "mend": finding.mend,
    }
