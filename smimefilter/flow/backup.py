"""What a backup says of itself, and whether it is one that this program may restore.

The manifest is sealed under the master key, which is not in the backup: one that was changed,
or belongs to another master key, is refused before anything is done.

Leaves tables to `store/dump.py`, the file to `files/archive.py`. Raises `AdminError`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.ports.keys import Sealer

from .secrets import is_ours

DATABASE: Final = "database.jsonl"
SETTINGS: Final = "settings.yaml"
POLICIES: Final = "policies/"
_FORMAT: Final = 1
_PURPOSE: Final = "backup"  # of the manifest's seal; its name is empty


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup."""

    version: str  # of the program
    schema: str  # of the database
    created: str
    node: str
    one_policy_file: bool  # and not a folder of them
    private_settings: bool  # nobody but their owner could read them
    counts: Mapping[str, int]  # rows by table
    check: str  # base64: the check value of the master key
    audit: str  # head of the audit log, NUMBER:HASH
    parts: Mapping[str, Mapping[str, Any]]  # size and sha256 by name
    format: int = _FORMAT

    @property
    def moment(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.created)


def sealed_manifest(manifest: Manifest, sealer: Sealer) -> tuple[bytes, bytes]:
    """The manifest as a file, and its seal."""
    text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False).encode()
    return text, sealer.seal(_PURPOSE, "", hashlib.sha256(text).digest())


def opened_manifest(
    text: bytes, seal: bytes, sealer: Sealer, schema: str, where: str
) -> Manifest:
    """The manifest of a backup that can be restored where the newest schema is `schema`."""
    found = _read(text, where)
    if found.format > _FORMAT or found.schema > schema:
        raise AdminError(
            f"the backup is from a newer version ({found.version}, schema {found.schema})",
            where=where,
            mend="install that version of smimefilter",
        )
    if not is_ours(base64.b64decode(found.check), sealer):
        raise AdminError(
            "the backup was made under another master key",
            where=where,
            mend="put the key of that time where `master-key` in the settings says",
        )
    try:
        good = sealer.open(_PURPOSE, "", seal) == hashlib.sha256(text).digest()
    except KeyTrouble:
        good = False
    if not good:
        raise AdminError("the backup was changed", where=where, mend="take another copy of it")
    return found


def _read(text: bytes, where: str) -> Manifest:
    try:
        found = Manifest(**json.loads(text))
        base64.b64decode(found.check)
        if not isinstance(found.format, int) or not isinstance(found.schema, str):
            raise TypeError("not of a manifest")
    except (ValueError, TypeError, KeyError):
        raise AdminError(
            "no backup, or a damaged or newer one", where=where, mend="take another copy of it"
        ) from None
    return found
