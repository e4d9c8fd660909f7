"""A backup as a file: a tar, gzip, with a manifest first that has the SHA-256 of each part.

    manifest.json   manifest.seal   database.jsonl   settings.yaml   policies/…

Written to a temporary name beside the file, readable by its owner alone, and renamed when it is
whole. Read into a folder: only regular files that the manifest names, below it, each with the
size and sum that it says.

Leaves what is in the manifest to `flow/backup.py`. Raises `AdminError`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from smimefilter.base.errors import AdminError

MANIFEST: Final = "manifest.json"
SEAL: Final = "manifest.seal"
_BLOCK: Final = 1 << 20
_LONGEST_MANIFEST: Final = 16 << 20
_DAMAGED: Final = (tarfile.TarError, EOFError, zlib.error, ValueError, KeyError, TypeError)


def summed(file: IO[bytes]) -> dict[str, Any]:
    """Size and SHA-256 of a file, as manifests have them."""
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK):
        digest.update(block)
        size += len(block)
    return {"size": size, "sha256": digest.hexdigest()}


def write_archive(
    to: Path, manifest: bytes, seal: bytes, parts: Mapping[str, IO[bytes]]
) -> None:
    """Write a new file whole or not at all."""
    part = to.with_name(f".{to.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    own = {MANIFEST: io.BytesIO(manifest), SEAL: io.BytesIO(seal)}
    try:
        with os.fdopen(os.open(part, flags, 0o600), "wb") as out:
            with tarfile.open(fileobj=out, mode="w:gz", compresslevel=6) as tar:
                for name, content in (own | dict(parts)).items():
                    entry = tarfile.TarInfo(name)
                    entry.mode, entry.size = 0o600, content.seek(0, os.SEEK_END)
                    content.seek(0)
                    tar.addfile(entry, content)
            out.flush()
            os.fsync(out.fileno())
        part.replace(to)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            what = (error.strerror or str(error)).lower()
            mend = "name a file in a folder that we may write to"
            raise AdminError(f"cannot write it: {what}", where=str(to), mend=mend) from None
        raise


def read_archive(file: Path, into: Path) -> tuple[bytes, bytes, dict[str, Path]]:
    """Manifest, its seal, and the parts by name, each a file in the folder `into`."""
    try:
        with tarfile.open(file, mode="r|gz") as tar:
            entries = iter(tar)
            manifest = _small(tar, next(entries, None), MANIFEST)
            seal = _small(tar, next(entries, None), SEAL)
            wanted: dict[str, dict[str, Any]] = dict(json.loads(manifest)["parts"])
            parts = {}
            for number, entry in enumerate(entries):
                told = wanted.pop(entry.name)
                parts[entry.name] = into / str(number)
                _take(tar, entry, parts[entry.name], told)
            if wanted:
                raise ValueError("parts are missing")
            return manifest, seal, parts
    except OSError as error:
        if isinstance(error, tarfile.TarError) or not error.strerror:  # gzip's own
            raise _damaged(file) from None
        said = error.strerror.lower()
        raise AdminError(
            f"cannot be read: {said}", where=str(file), mend="name a backup"
        ) from None
    except _DAMAGED:
        raise _damaged(file) from None


def safe_name(name: str) -> PurePosixPath:
    """The place of a part below a folder. Raises `AdminError` for one that leads elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or {"..", ""} & {*path.parts} or "\0" in name or not path.parts:
        raise AdminError("the backup has a name that leads elsewhere", where=repr(name))
    return path


def _small(tar: tarfile.TarFile, entry: tarfile.TarInfo | None, name: str) -> bytes:
    if entry is None or entry.name != name or not entry.isreg():
        raise ValueError("not in its place")
    if entry.size > _LONGEST_MANIFEST:
        raise ValueError("too long")
    content = tar.extractfile(entry)
    assert content is not None
    return content.read()


def _take(
    tar: tarfile.TarFile, entry: tarfile.TarInfo, to: Path, told: Mapping[str, Any]
) -> None:
    safe_name(entry.name)
    content = tar.extractfile(entry) if entry.isreg() else None
    if content is None or entry.size != told["size"]:
        raise ValueError("no file, or of another size")
    with os.fdopen(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as out:
        while block := content.read(_BLOCK):
            out.write(block)
        if summed(out) != dict(told):
            raise ValueError("another sum")


def _damaged(file: Path) -> AdminError:
    return AdminError(
        "no backup, or a damaged one", where=str(file), mend="take another copy of it"
    )
