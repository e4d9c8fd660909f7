"""The folder of results: made anew, never in the place of anything but an earlier demo's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from smimefilter.base.errors import AdminError
from smimefilter.cli.common import write_bytes

MARKER: Final = ".smimefilter-demo"  # says whose folder it is
ANOTHER: Final = "choose another folder with --output DIR"
CONTENTS: Final = """\
What `smimefilter demo` did.

  N-.../sent.eml         a mail as it was handed to the filter
  N-.../arrived-*.eml    the copies that the next hop got
  N-.../explain.json     what was decided, and why
  N-.../opened-by-*.eml  what the recipient's key made of an encrypted copy
  N-.../verified-*.eml   the content of a good signature
  N-.../altered-*.eml    a signed copy with letters changed
  policies/              the policies in force
  people/                certificates, CRLs and keys; their password is in people/password
  filter.log             the filter's log, a JSON object a line
  results.json           everything that was decided and checked

What the openssl program was asked, to be repeated in this folder; after a ! it has to fail:

"""


class Results:
    """The folder; names of files in it are relative."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    @classmethod
    def prepare(cls, output: Path) -> Results:
        """An empty folder. Raises `AdminError` for one with the files of somebody else."""
        try:
            _empty(output)
            output.mkdir(parents=True, exist_ok=True)
            (output / MARKER).touch()
        except OSError as error:
            raise _unusable(output, error) from None
        return cls(output.resolve())

    def write(self, name: str, content: bytes) -> None:
        """A file, and the folder that it is in. Raises `AdminError`."""
        file = self.folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(file.parent, error) from None
        write_bytes(file, content)

    def write_json(self, name: str, value: object) -> None:
        """A file for programs."""
        text = json.dumps(value, indent=2, ensure_ascii=False)
        self.write(name, f"{text}\n".encode())

    def read(self, name: str) -> bytes:
        """A file's content; nothing where there is none."""
        file = self.folder / name
        return file.read_bytes() if file.is_file() else b""

    def conclude(self, outcome: dict[str, Any], commands: Iterable[str]) -> None:
        """The outcome as a whole, and what is where."""
        self.write_json("results.json", outcome)
        lines = "".join(f"  {command}\n" for command in commands)
        self.write("README.txt", (CONTENTS + lines).encode())


def _unusable(folder: Path, error: OSError) -> AdminError:
    what = (error.strerror or str(error)).lower()
    return AdminError(f"cannot be used for results: {what}", where=str(folder), mend=ANOTHER)


def _empty(folder: Path) -> None:
    if not folder.exists():
        return
    inside = list(folder.iterdir())
    if inside and not (folder / MARKER).is_file():
        raise AdminError("holds files that no demo made", where=str(folder), mend=ANOTHER)
    for entry in inside:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()
