"""`smimefilter backup` and `smimefilter restore`: an installation as one file, and from it."""

from __future__ import annotations

import asyncio
import base64
import io
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.progress import Progress

from smimefilter import __version__
from smimefilter.app import App, config_of, fill, master_key_of, now
from smimefilter.base.errors import AdminError
from smimefilter.config import Config as Settings
from smimefilter.files.archive import read_archive, safe_name, summed, write_archive
from smimefilter.files.policies import read_files
from smimefilter.flow.audit import verify
from smimefilter.flow.backup import (
    DATABASE,
    POLICIES,
    SETTINGS,
    Manifest,
    opened_manifest,
    sealed_manifest,
)
from smimefilter.store.tables import SCHEMA

from .common import (
    DEFAULT_CONFIG,
    Config,
    Force,
    read_bytes,
    refuse_to_overwrite,
    told,
    with_app,
    write_bytes,
)
from .show import err, say


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, such as node.tar.gz.")],
    force: Force = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write database, policy files and settings to one file; the filter may run meanwhile.

    The master key is not in it: keep a copy of that in another place. Without it a backup
    cannot be restored; whoever has both has all private keys.
    """
    refuse_to_overwrite(file, force=force)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("rows", total=None)
        rows = with_app(
            config,
            lambda app: _backup(app, file, config, lambda n: progress.advance(task, n)),
        )
    say(f"wrote {file}: {rows} rows")
    say("the master key is not in it: keep a copy of that apart")


async def _backup(app: App, file: Path, config: Path, seen: Callable[[int], None]) -> int:
    policies = app.config.policies
    with ExitStack() as stack:
        try:
            table = stack.enter_context(tempfile.TemporaryFile(dir=file.parent))
            counts = await app.database.dump(table.write, seen)
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            mend = "name a file in a folder that has room, and that we may write to"
            raise AdminError(f"cannot write it: {what}", where=str(file), mend=mend) from None
        parts: dict[str, IO[bytes]] = {
            DATABASE: table,
            SETTINGS: io.BytesIO(read_bytes(config)),
        }
        for name, text in read_files(policies).items():
            parts[f"{POLICIES}{name}"] = io.BytesIO(text.encode())
        head = await verify(app.database.audit, app.master)
        manifest = Manifest(
            version=__version__,
            schema=SCHEMA,
            created=now().isoformat(timespec="seconds"),
            node=app.hostname,
            one_policy_file=policies.is_file(),
            private_settings=_is_private(config),
            counts=counts,
            check=base64.b64encode(await app.database.secrets.check_value() or b"").decode(),
            audit=head.head,
            parts={name: summed(content) for name, content in parts.items()},
        )
        write_archive(file, *sealed_manifest(manifest, app.master), parts)
    rows = sum(counts.values())
    await told(app, "backup made", str(file), f"{rows} rows, audit head {head.head}")
    return rows


def _is_private(file: Path) -> bool:
    return not file.stat().st_mode & 0o004


def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Fill an empty node from a backup: its database, which may be of the other kind, its
    policy files, and its settings where there are none yet.

    The master key has to be in its place already.
    """
    with (
        tempfile.TemporaryDirectory(prefix="smimefilter-") as folder,
        Progress(console=err, transient=True, disable=not err.is_terminal) as progress,
    ):
        text, seal, parts = read_archive(file, Path(folder))
        if SETTINGS not in parts or DATABASE not in parts:
            raise AdminError("no database or no settings in it", where=str(file))
        own = config if config.exists() else parts[SETTINGS]
        settings = config_of(read_bytes(own).decode("utf-8", "replace"), config)
        master = master_key_of(settings)
        manifest = opened_manifest(text, seal, master, SCHEMA, str(file))
        task = progress.add_task("rows", total=sum(manifest.counts.values()))
        with (
            _placed(settings, config, manifest, parts) as finish,
            parts[DATABASE].open("rb") as lines,
        ):
            asyncio.run(
                fill(
                    settings,
                    master,
                    schema=manifest.schema,
                    lines=lines,
                    counts=manifest.counts,
                    finish=finish,
                    seen=lambda count: progress.advance(task, count),
                )
            )
    say(f"restored the backup of {manifest.node} from {manifest.moment:%Y-%m-%d %H:%M} UTC")
    if own is config:
        say(f"the settings in {config} are the ones from before; those of the backup were left")
    say("see whether all is well: smimefilter doctor; smimefilter audit verify")


@contextmanager
def _placed(
    settings: Settings, config: Path, manifest: Manifest, parts: Mapping[str, Path]
) -> Any:
    """What puts policy files, and settings where there are none, in their places at once;
    they are taken away again where what comes after fails."""
    policies = settings.policies
    _refuse_filled(policies)
    staged = policies.with_name(f".{policies.name}.{secrets.token_hex(8)}")
    was_there, done = policies.is_dir(), []
    try:
        _stage(staged, manifest, parts)

        def finish() -> None:
            try:
                if was_there:
                    policies.rmdir()
                staged.rename(policies)
            except OSError as error:
                raise _unwritable(error, policies) from None
            done.append(policies)
            if not config.exists():
                secret = manifest.private_settings
                write_bytes(config, parts[SETTINGS].read_bytes(), secret=secret)
                done.append(config)

        yield finish
    except BaseException as error:
        for path in (staged, *done):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if was_there:
            policies.mkdir(exist_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(error, policies) from None
        raise


def _unwritable(error: OSError, policies: Path) -> AdminError:
    what = (error.strerror or str(error)).lower()
    return AdminError(
        f"policy files cannot be written: {what}",
        where=error.filename or str(policies),
        mend="make their folder, and be its owner",
    )


def _refuse_filled(policies: Path) -> None:
    if policies.exists() and not (policies.is_dir() and not any(policies.iterdir())):
        raise AdminError(
            "there are policy files already, and they are not replaced",
            where=str(policies),
            mend="take them away, or name another place in the settings",
        )


def _stage(staged: Path, manifest: Manifest, parts: Mapping[str, Path]) -> None:
    found = {
        name.removeprefix(POLICIES): path
        for name, path in parts.items()
        if name.startswith(POLICIES)
    }
    if manifest.one_policy_file:
        for path in found.values():
            write_bytes(staged, path.read_bytes())
        return
    staged.mkdir(mode=0o755)
    for name, path in found.items():
        place = staged / safe_name(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        place.chmod(0o644)
