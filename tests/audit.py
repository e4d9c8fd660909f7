"""`make audit`: whether the packages in the lock files are known to be vulnerable.

pip-audit asks PyPI. Where that cannot be reached, or does not know the packages, nothing is
known of them, which is said: then at least every lock has to name the SHA-256 of each package,
so that nothing else than what was locked is ever installed. That is checked in either case.

    python -m tests.audit [LOCK …]

Exit code 1: a package is vulnerable, or not pinned by its hash.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).parents[1]
_PINNED: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)")
_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock file."""

    name: str
    version: str  # empty: not pinned
    hashes: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What pip-audit knew."""

    audited: int
    unknown: int  # packages that it knew nothing of
    vulnerable: tuple[str, ...]


def locks() -> list[Path]:
    """All lock files of the project."""
    return sorted(PROJECT.glob("requirements*.lock"))


def locked(text: str) -> Iterator[Locked]:
    """The packages of a lock file."""
    whole = re.sub(r"\\\n", " ", text)
    for line in whole.splitlines():
        requirement = line.partition(" #")[0].strip()
        if not requirement or requirement.startswith("#"):
            continue
        found = _PINNED.match(requirement)
        hashes = len(_HASH.findall(requirement))
        if found is None:
            yield Locked(requirement.split()[0], "", hashes)
        else:
            yield Locked(found[1].lower().replace("_", "-"), found[2], hashes)


def unpinned(text: str) -> list[str]:
    """Packages of a lock that others could be installed in the place of."""
    return [one.name for one in locked(text) if not one.version or not one.hashes]


def answer(text: str) -> Asked:
    """What pip-audit wrote as JSON. Raises `ValueError` where that is none."""
    found: list[dict[str, Any]] = json.loads(text)["dependencies"]
    vulnerable = tuple(
        f"{one['name']} {one['version']}: {flaw['id']}"
        for one in found
        for flaw in one.get("vulns", ())
    )
    audited = sum("skip_reason" not in one for one in found)
    return Asked(audited, len(found) - audited, vulnerable)


def ask(lock: Path) -> Asked | None:
    """What is known of the packages of a lock; None: nobody could be asked."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pip-audit")), "-r", str(lock), "--require-hashes",
         "--disable-pip", "--format", "json", "--progress-spinner", "off"],
        check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    try:
        return answer(done.stdout)
    except (ValueError, KeyError):
        return None


def main(wanted: list[Path]) -> int:
    """Say what was done and found; the exit code."""
    code = 0
    for lock in wanted:
        text = lock.read_text()
        open_ = unpinned(text)
        count = len([*locked(text)])
        if open_ or not count:
            print(f"{lock.name}: not pinned by SHA-256: {', '.join(open_) or 'nothing in it'}")
            code = 1
        else:
            print(f"{lock.name}: all {count} packages are pinned by SHA-256")
        asked = ask(lock)
        if asked is None or not asked.audited:
            print(f"{lock.name}: NOT audited: no data of vulnerabilities can be had here")
            continue
        print(f"{lock.name}: {asked.audited} packages audited, {len(asked.vulnerable)} flaws")
        if asked.unknown:
            print(f"{lock.name}: {asked.unknown} packages NOT audited: nothing known of them")
        for flaw in asked.vulnerable:
            print(f"{lock.name}: {flaw}")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]] or locks()))
