"""What other users of the system can do with the files of an installation.

Who can write a policy, a letter or the database decides what is encrypted and who is trusted;
who can read the database has its addresses, and keys that only the master key guards. Group
access is the administrator's to give. A file in a folder that others cannot enter is closed to
them, whatever its own mode says. The files of the master key and of the token's PIN are checked
where they are read (`keys/secretfile.py`). Raises nothing: what cannot be looked at is told of
where it is used.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from smimefilter.config import Config, hand_over_file

_SQLITE: Final = "sqlite+aiosqlite:///"
_BESIDE: Final = ("", "-wal", "-shm", "-journal")  # what SQLite keeps with its file
_READ, _WRITE, _ENTER = stat.S_IROTH, stat.S_IWOTH, stat.S_IXOTH


@dataclass(frozen=True, slots=True)
class Exposed:
    """Something that is open to others, and how that is mended."""

    path: Path
    what: str
    mend: str
    is_writable: bool  # then nothing can be relied on


def exposed(config: Config, settings: Path | None = None) -> list[Exposed]:
    """All that is open to others and must not be; `settings`: the file of them."""
    return [*_written(config, settings), *_read(config, settings)]


def _written(config: Config, settings: Path | None) -> Iterator[Exposed]:
    folders = [config.policies]
    if config.notify.templates is not None:
        folders.append(config.notify.templates)
    files: list[Path] = [] if settings is None else [settings]
    for folder in folders:
        yield from _open_to(_WRITE, [folder, *_files(folder)], "write", "o-w")
    if config.token is not None:
        files.append(config.token.module)
    if (journal := hand_over_file(config)) is not None:  # what is in it is believed
        files.append(journal)
    yield from _open_to(_WRITE, files, "write", "o-w")
    yield from _database(config, _WRITE, "write")


def _read(config: Config, settings: Path | None) -> Iterator[Exposed]:
    if settings is not None and _holds_secrets(config) and not _mode(settings) & _WRITE:
        for one in _open_to(_READ, [settings], "read", "o-r"):
            yield replace(one, what=f"{one.what}, and it holds a secret")
    if not any(_database(config, _WRITE, "write")):  # which is told already
        yield from _database(config, _READ, "read")
    keys = [one.tls.key for one in config.listeners if one.tls is not None]
    yield from _open_to(_READ | _WRITE, keys, "read", "600")
    sms = config.notify.sms
    if sms is not None and "folder" in sms.settings:  # passwords, until they are sent
        yield from _open_to(_READ | _WRITE, [Path(sms.settings["folder"])], "read", "700")


def _open_to(bits: int, paths: Iterable[Path], verb: str, mode: str) -> Iterator[Exposed]:
    for path in paths:
        found = _mode(path)
        if found & bits and _is_reachable(path):
            what = f"others can {verb} it (mode {stat.S_IMODE(found):04o})"
            yield Exposed(path, what, f"run: chmod {mode} {path}", verb == "write")


def _holds_secrets(config: Config) -> bool:
    """A password for the proxy or the database, or what an SMS provider gave."""
    sms = config.notify.sms
    return (
        config.fetch.proxy is not None
        or re.search(r"://[^/@]*:[^/@]*@", config.database) is not None
        or (sms is not None and sms.transport != "spool")
    )


def _is_reachable(path: Path) -> bool:
    """Whether others can come as far as its folder, by each one above."""
    return all(_mode(folder) & _ENTER for folder in path.resolve().parents)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.is_file())
    except OSError:
        return []


def _database(config: Config, bits: int, verb: str) -> Iterator[Exposed]:
    """One line for the file and those beside it."""
    if config.database.startswith(_SQLITE):
        file = config.database.removeprefix(_SQLITE)
        paths = [Path(file + more) for more in _BESIDE]
        for one in islice(_open_to(bits, paths, verb, "600"), 1):
            yield replace(one, mend=f"run: chmod 600 {file}*")
