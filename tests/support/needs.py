"""What a test needs of the system, and what happens where it is not there.

A missing program is a failure. With SMIMEFILTER_MISSING_OK=1 in the environment the test is
skipped with the reason instead; `make test` sets that, except in CI.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, NoReturn

import pytest

PACKAGES: Final = {  # Debian package by program, where the names differ
    "gpg": "gnupg",
    "gpg-agent": "gpg-agent",
    "certutil": "libnss3-tools",
    "cmsutil": "libnss3-tools",
    "gpgconf": "gnupg",
    "java": "default-jdk-headless",
    "pk12util": "libnss3-tools",
    "ldapmodify": "ldap-utils",
    "smtp-source": "postfix",
    "softhsm2-util": "softhsm2",
    "smtp-sink": "postfix",
    "systemd-analyze": "systemd",
}
PERL_PACKAGES: Final = {"Crypt::SMIME": "libcrypt-smime-perl"}  # Debian package by module
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def need(program: str) -> Path:
    """Where `program` is; without it the test fails, or is skipped where that is allowed."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        package = PACKAGES.get(program, program)
        _missing(f"the program {program} is missing (Debian package {package})")
    if program == "postfix" and os.geteuid() != 0:
        _missing("only root can start Postfix")
    if program == "swaks" and not _perl_has("Net::SSLeay"):
        _missing("swaks is without TLS (Debian package libnet-ssleay-perl)")
    return Path(found)


def need_module(name: str) -> None:
    """The same for a Python module that is not part of the development set-up."""
    if importlib.util.find_spec(name) is None:
        _missing(f"the Python module {name} is missing")


def need_file(file: Path, package: str) -> Path:
    """The same for a file of a Debian package."""
    if not file.exists():
        _missing(f"{file} is missing (Debian package {package})")
    return file


def need_postgres() -> Path:
    """The folder of PostgreSQL's programs, the newest there is."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda one: int(one.parts[4])
    )
    on_path = shutil.which("postgres", path=_PATH)
    if not found and on_path is None:
        _missing("the program postgres is missing (Debian package postgresql)")
    return (found[-1] if found else Path(str(on_path)).resolve()).parent


def need_perl(module: str) -> None:
    """The same for a Perl module."""
    if not _perl_has(module):
        _missing(
            f"the Perl module {module} is missing (Debian package {PERL_PACKAGES[module]})"
        )


def _perl_has(module: str) -> bool:
    trial = ["perl", f"-M{module}", "-e1"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def _missing(what: str) -> NoReturn:
    if os.environ.get("SMIMEFILTER_MISSING_OK") == "1":
        pytest.skip(what)
    pytest.fail(f"{what}; `make test` installs what it may", pytrace=False)
