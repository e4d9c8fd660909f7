"""`smimefilter doctor`: looks at everything, and says how to mend what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import typer

from smimefilter import config as settings
from smimefilter.app import App, now, office, open_app, read_config
from smimefilter.base.errors import AdminError, AdminErrors, KeyTrouble
from smimefilter.daemon import probe_listener, probe_next_hop, rehearse
from smimefilter.files.modes import exposed
from smimefilter.flow.activity import ACTIVE_FOR
from smimefilter.flow.audit import verify
from smimefilter.flow.checkup import Finding, Grade, look_over
from smimefilter.flow.office_checkup import handlers_of, look_over_office
from smimefilter.handlers.registry import Registry
from smimefilter.policy.tree import Tree
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.ports.requests import RequestState

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
    findings += _exposed(config, file)
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
    findings += _token(app)
    keys = app.ring(store.keys)
    ours = [one.thumbprint for one in await app.database.authorities.all()]
    moment = state.snapshot.at(now())
    findings += look_over(store, moment, users, sources, keys, ours)
    try:
        return findings + await _office(app, state.snapshot.tree)
    except AdminError as error:
        return findings + [one for one in _bad("settings", error) if one not in findings]


async def _office(app: App, tree: Tree) -> list[Finding]:
    pending = await app.database.requests.all([RequestState.PENDING])
    async with office(app) as found:
        names = handlers_of(pending, tree)
        troubles = {name: await _trouble(found.registry, name) for name in names}
        findings = look_over_office(pending, tree, troubles, found.post)
    folder = app.config.notify.templates
    if folder is not None and not folder.is_dir():
        mend = "make it, or name another one in `notify: templates`"
        findings.append(Finding(Grade.WARNING, f"letters in {folder}", "no such folder", mend))
    return findings


async def _trouble(registry: Registry, name: str) -> str:
    """Why a handler cannot be asked as it is set up; empty where it can."""
    try:
        await (await registry.opened(name)).close()
    except AdminError as error:
        return error.what
    except HandlerTrouble as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - somebody else's package
        return f"it cannot be opened: {type(error).__name__}"
    return ""


def _exposed(config: settings.Config, file: Path) -> list[Finding]:
    """What other users of the system can do to the files; the filter does not start where
    they can write."""
    found = exposed(config, file)
    if not found:
        return [Finding(Grade.GOOD, "files", "closed to others")]
    return [
        Finding(
            Grade.BAD if one.is_writable else Grade.WARNING, str(one.path), one.what, one.mend
        )
        for one in found
    ]


def _token(app: App) -> list[Finding]:
    token = app.token
    if token is None:
        return []
    about = f"token '{token.label}'"
    try:
        return [Finding(Grade.GOOD, about, token.state())]
    except KeyTrouble as error:
        what = str(error).removeprefix(f"{about}: ")
        return [Finding(Grade.BAD, about, what, "see docs/hsm.md; mail that needs it waits")]


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
