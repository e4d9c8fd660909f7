"""`smimefilter handler`: request handlers, who get certificates, and their settings."""

from __future__ import annotations

import base64
import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from smimefilter.app import Office, now
from smimefilter.base.errors import AdminError
from smimefilter.base.suggest import did_you_mean
from smimefilter.handlers.registry import broken, installed
from smimefilter.policy.preferences import CA_REQUEST_HANDLER
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.handlers import HandlerTrouble

from .common import DEFAULT_CONFIG, Config, in_office, read_bytes, with_app
from .show import Json, as_json, rows, say

handler = typer.Typer(help="Request handlers: who gets certificates.", no_args_is_help=True)


@handler.command("list")
def list_(config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the request handlers that are installed."""
    configured = with_app(config, lambda app: app.database.handlers.all())
    listed = [
        {
            "name": name,
            "title": kind.title,
            "answers": "later" if kind.answers_later else "at once",
            "download": kind.can_download,
            "upload": kind.can_upload,
            "configured": name in configured or not kind.settings.model_fields,
        }
        for name, kind in sorted(installed().items())
    ]
    listed += [
        {"name": name, "title": f"cannot be loaded: {why}", "configured": False}
        for name, why in sorted(broken().items())
    ]
    columns = ("name", "title", "answers", "download", "upload", "configured")
    rows("request handlers", columns, listed, json)


@handler.command()
def show(name: str, config: Config = DEFAULT_CONFIG, json: Json = False) -> None:
    """The settings of a handler, and what each is; secrets are not shown."""

    async def work(found: Office) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        values = await found.registry.shown(name)
        listed = [
            {
                "setting": field,
                "value": _short(values[field]),
                "needed": one.is_required(),
                "what": one.description,
            }
            for field, one in found.registry.fields(name).items()
        ]
        return values, listed

    values, listed = in_office(config, work)
    if json:
        as_json(values)
    else:
        rows("settings", ("setting", "value", "needed", "what"), listed, json_=False)


def _short(value: Any) -> Any:
    """PEM as what it is, and not on many lines."""
    count = value.count("-----BEGIN ") if isinstance(value, str) else 0
    return f"PEM, {count} in it" if count else value


@handler.command()
def configure(
    name: str,
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="setting=value; setting=@FILE reads a file; setting= resets."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="All settings as JSON; '-' is stdin.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Set settings of a handler. Secrets come from files: other users see command lines. A file
    that is no text, such as PKCS#12, is kept as base64."""
    changes = _of_file(file) if file is not None else {}
    inline = set()
    for one in settings or []:
        field, is_set, value = one.partition("=")
        if not is_set:
            raise AdminError(f"'{one}' sets nothing", mend="write setting=value")
        field = field.strip().replace("-", "_")
        if value.startswith("@"):
            value = _text(read_bytes(Path(value[1:])))
        elif value:
            inline.add(field)
        changes[field] = value or None

    async def work(found: Office) -> list[str]:
        for field in inline & found.registry.secrets(name):
            raise AdminError(
                f"{field} is a secret, and other users see command lines",
                mend=f"give it with {field}=@FILE, or all as JSON with --file -",
            )
        changed = ", ".join(sorted(changes))
        return await found.registry.configure(
            name, changes, AuditRecord(now(), name, "configured", changed)
        )

    missing = in_office(config, work)
    if json:
        as_json({"handler": name, "set": sorted(changes), "missing": missing})
        return
    say(f"{name}: set {', '.join(sorted(changes)) or 'nothing'}")
    if missing:
        say(f"still missing: {', '.join(missing)}")


def check_preference(name: str, value: object) -> None:
    """Raises `AdminError` where a preference is to name a request handler that is none."""
    wanted = str(value).strip().lower()
    if name != CA_REQUEST_HANDLER.name or value is None or wanted in {"default", *installed()}:
        return
    hint = did_you_mean(wanted, installed())
    why = broken().get(wanted)
    raise AdminError(
        f"the request handler '{wanted}' cannot be loaded: {why}"
        if why
        else f"there is no request handler '{wanted}'" + (f" ({hint})" if hint else ""),
        mend="list them with: smimefilter handler list",
    )


def _of_file(file: Path) -> dict[str, Any]:
    try:
        found = json_module.loads(
            typer.get_text_stream("stdin").read() if str(file) == "-" else read_bytes(file)
        )
    except ValueError as error:
        raise AdminError(f"not JSON: {error}", where=str(file)) from None
    if not isinstance(found, dict):
        raise AdminError("not a JSON object", where=str(file))
    return found


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        return base64.b64encode(content).decode()


@handler.command("test")
def try_(name: str, config: Config = DEFAULT_CONFIG) -> None:
    """Whether a handler can work: whether its CA answers, and takes us."""

    async def work(found: Office) -> str:
        try:
            opened = await found.registry.opened(name)
            try:
                return await opened.test()
            finally:
                await opened.close()
        except HandlerTrouble as trouble:
            raise AdminError(str(trouble) or trouble.public, where=name) from None

    say(f"{name}: {in_office(config, work)}")
