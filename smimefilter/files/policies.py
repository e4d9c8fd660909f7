"""Policy files on disk: reading a folder of them (or one file), and noticing changes.

Taken is every `*.yaml` in the folder and below, but for hidden files and folders; other names
are left alone, `*.yml` is an error because it would silently be left alone.

Leaves what files mean to `policy/load.py`, keeping the good when a change is bad to `flow/`.
Raises `AdminError`.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

from watchfiles import awatch
from watchfiles.main import FileChange

from smimefilter.base.errors import AdminError, joined
from smimefilter.policy.load import load
from smimefilter.policy.tree import Scopes

LOOK_EVERY: Final = 30.0  # seconds; finds what notifications miss (NFS, a replaced folder)
SETTLE: Final = 300  # milliseconds without a further change before files are read

_Fingerprint = tuple[tuple[str, int, int, int], ...]


class PolicyFiles:
    """The policy files of a folder, or one file that holds everything."""

    def __init__(self, path: Path, *, look_every: float = LOOK_EVERY) -> None:
        self._path = path
        self._look_every = look_every
        self._seen: _Fingerprint = ()  # of the files as they were last read

    def load(self) -> Scopes:
        """What they set. Raises `AdminError` for all that is wrong.

        That there is none is wrong as well: a file system that is not there must not lift a
        policy.
        """
        self._seen = _fingerprint(self._path)  # before reading: a change while we read counts
        files = read_files(self._path)
        if not files:
            mend = "bring them back, or leave an empty global.yaml to have none"
            raise AdminError("there is no policy file", where=str(self._path), mend=mend)
        try:
            folder = self._path if self._path.is_dir() else self._path.parent
        except OSError as error:
            raise _unreadable(self._path, error) from None
        with _without_collection():
            return load(files, str(folder))

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Await `changed()` whenever the files are no longer what was last read, once they
        have settled. Runs until cancelled.

        Where the system gives no notifications, files are looked at every so often.
        """
        async for _ in self._occasions():
            now = await asyncio.to_thread(_fingerprint, self._path)
            if now != self._seen:
                self._seen = now
                await changed()

    async def _occasions(self) -> AsyncIterator[None]:
        """When to look: after notifications, and every so often without one."""
        yield
        while True:
            try:
                async with aclosing(self._notifications()) as notifications:
                    async for changes in notifications:
                        yield
                        if not changes:  # begin anew: the folder may have been replaced
                            break
            except (OSError, RuntimeError):  # not there now, or no notifications to be had
                await asyncio.sleep(self._look_every)
                yield

    def _notifications(self) -> AsyncGenerator[set[FileChange], None]:
        """Sets of changes, an empty one after `look_every` seconds without any."""
        folder = self._path.parent if self._path.is_file() else self._path
        return awatch(
            folder,  # never a file itself: editors put a new one in its place
            watch_filter=None,
            step=SETTLE,
            rust_timeout=int(self._look_every * 1000),
            yield_on_timeout=True,
            recursive=folder == self._path,
        )


def read_files(path: Path) -> dict[str, str]:
    """Texts by name relative to the folder. Raises `AdminError`."""
    files: dict[str, str] = {}
    errors: list[AdminError] = []
    for file in _policy_files(path):
        if file.suffix == ".yml":
            mend = f"rename it to {file.stem}.yaml"
            errors.append(AdminError("policy files end in .yaml", where=str(file), mend=mend))
            continue
        name = file.name if path == file else file.relative_to(path).as_posix()
        try:
            files[name] = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            errors.append(AdminError("not UTF-8", where=f"{file}:{line}", mend="convert it"))
        except OSError as error:
            errors.append(_unreadable(file, error))
    if errors:
        raise joined(errors)
    return files


def _policy_files(path: Path) -> Iterator[Path]:
    """The files that are policies or look like it, sorted. Raises `AdminError`."""
    try:
        if not path.is_dir():
            path.stat()
            yield path
            return
        yield from sorted(Path(entry) for entry in _walk(path))
    except OSError as error:
        raise _unreadable(path, error) from None


def _walk(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path))
            elif entry.name.endswith((".yaml", ".yml")):
                yield entry.path


def _fingerprint(path: Path) -> _Fingerprint:
    """Equal as long as no policy file changed; a folder that cannot be read has one, too."""
    found = []
    try:
        for file in _policy_files(path):
            stat = file.stat()
            found.append((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    except (AdminError, OSError) as error:
        found.append((str(error), 0, 0, 0))
    return tuple(found)


def _unreadable(path: Path, error: OSError) -> AdminError:
    mend = f"create it, or correct 'policies' in the configuration: {path}"
    if not isinstance(error, FileNotFoundError):
        mend = "make it readable for the user that smimefilter runs as"
    return AdminError(f"cannot be read: {error.strerror}", where=str(path), mend=mend)


@contextmanager
def _without_collection() -> Iterator[None]:
    """No cyclic garbage collection: policies of 100 000 users are a million small objects
    without a cycle, and walking them again and again doubles the time they take to load."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
