"""What every command needs: the configuration option, and running a use case to its end."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from smimefilter.app import App, Office, now, office, open_app, read_config
from smimefilter.base.errors import AdminError
from smimefilter.ports.audit import AuditRecord

T = TypeVar("T")

DEFAULT_CONFIG: Final = Path("/etc/smimefilter/smimefilter.yaml")

Config = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="SMIMEFILTER_CONFIG",
        help="The daemon's settings.",
        show_default=str(DEFAULT_CONFIG),
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        help="File whose first line is the password; '-' is standard input. Asked for "
        "when needed and absent.",
    ),
]


def in_office(config: Path, work: Callable[[Office], Any]) -> Any:
    """Run something on the certificate authority of an installation."""

    async def run(app: App) -> Any:
        async with office(app) as found:
            return await work(found)

    return with_app(config, run)


def with_app(config: Path, work: Callable[[App], Awaitable[T]]) -> T:
    """Open the configured installation, run `work` on it, close it again."""

    async def run() -> T:
        async with open_app(read_config(config)) as app:
            return await work(app)

    return asyncio.run(run())


async def told(app: App, event: str, about: str, detail: str = "") -> None:
    """Write into the audit log what is no change of the database."""
    await app.database.audit.add([AuditRecord(now(), about, event, detail)])


def read_password(file: Path | None, prompt: str = "Password") -> str:
    """A password from a file, standard input or the terminal; never from the command line,
    where other users see it."""
    if file is None:
        if not sys.stdin.isatty():
            raise AdminError(
                "a password is needed", mend="give it with --password-file FILE, or '-'"
            )
        return str(typer.prompt(prompt, hide_input=True))
    if str(file) == "-":
        return sys.stdin.readline().rstrip("\r\n")
    return read_bytes(file).decode("utf-8", "surrogateescape").split("\n")[0].rstrip("\r")


def read_bytes(file: Path) -> bytes:
    """A file's content, or one line that says why not."""
    try:
        return file.read_bytes()
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        mend = "name a file that is there, and that we may read"
        raise AdminError(f"cannot read it: {what}", where=str(file), mend=mend) from None


def refuse_to_overwrite(file: Path, *, force: bool) -> None:
    """Raises `AdminError` where a file is there already, unless it is to be replaced."""
    if file.exists() and not force:
        mend = "name another one, or say --force"
        raise AdminError("there is such a file already", where=str(file), mend=mend)


def write_bytes(file: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a new file whole or not at all; secret ones are readable by us alone."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, 0o600 if secret else 0o644), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        what = (error.strerror or str(error)).lower()
        mend = "name a file in a folder that we may write to"
        raise AdminError(f"cannot write it: {what}", where=str(file), mend=mend) from None
