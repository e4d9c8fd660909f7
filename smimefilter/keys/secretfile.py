"""Reading a small secret from a file that nobody else may read, or from a systemd credential.

A file must be one (no pipe, no device), belong to us or to root, and be closed to group and
others. systemd guards the folder of credentials; the mode of a file in it shows an access list,
not who may read it. Raises `AdminError`, which never shows what is in the file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from smimefilter.base.errors import AdminError

LONGEST: Final = 1024  # bytes that are read
_FOREIGN_BITS: Final = 0o077  # group and others


def read_secret(path: Path, what: str, missing: str, *, private: bool = True) -> bytes:
    """Its first `LONGEST` bytes. `what` it is ("the master key") and what to do where it is
    `missing` go into the error; `private`: nobody else may reach it."""
    try:
        # not blocking: the path may name a pipe that nobody writes to
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            _check(os.fstat(file.fileno()), path, what, missing, private=private)
            return file.read(LONGEST)
    except FileNotFoundError:
        raise AdminError(f"{what} does not exist", where=str(path), mend=missing) from None
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        mend = "make the daemon's user its owner, with mode 600"
        raise AdminError(f"{what} cannot be read: {said}", where=str(path), mend=mend) from None


def _check(
    found: os.stat_result, path: Path, what: str, missing: str, *, private: bool
) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise AdminError(f"{what} must be a file", where=str(path), mend=missing)
    if not private:
        return
    if found.st_uid not in {0, os.geteuid()}:
        raise AdminError(
            f"{what} belongs to another user",
            where=str(path),
            mend=f"run: chown root {path}",
        )
    if found.st_mode & _FOREIGN_BITS:
        raise AdminError(
            f"others can read {what} (mode {stat.S_IMODE(found.st_mode):04o})",
            where=str(path),
            mend=f"run: chmod 600 {path}",
        )
