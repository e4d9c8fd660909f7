"""Secrets are not in reprs, nor in what a defect writes; who has them is not dumped."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pydantic import BaseModel

import smimefilter
from smimefilter.keys.master import MasterKey
from smimefilter.obs.log import LogJournal, _Forward, make_log
from smimefilter.pki.build import Identity
from smimefilter.ports.handlers import Issued, Later
from tests.support.pki import root

ALICE = root().issue("Alice")
SECRET = "s3cr3t-b9f1"
_NAMES = re.compile(
    r"password|passphrase|\bpin\b|secret|token|api_?key|^keys?$|plain|credential|state|"
    r"authorization|master",
    re.IGNORECASE,
)
_TYPES = re.compile(r"bytes|str|Mapping|Any|object|dict")
NONE_OF_THEM = {  # by name they could be
    "NewAuthority.key": "a kind",
    "Wanted.key": "a kind",
    "OcspNeed.key": "what is asked for",
    "OrderObject.authorizations": "URLs",
    "Checked.state": "of health: good, degraded or bad",
    "Challenge.token": "one half of two, which goes by mail",
    "ChallengeMail.token": "the other half, which the CA's server is shown",
    "Token.token": "for the DNS",
    "Claim.token": "for the DNS",
    "Occasion.token": "a boundary",
    "Snapshot.keys": "thumbprints",
    "StoreState.keys": "wrapped",
}


def classes() -> Iterator[type[Any]]:
    for module in pkgutil.walk_packages(smimefilter.__path__, "smimefilter."):
        if re.search(r"__main__|migrations|fetch\.directory", module.name):
            continue
        found = importlib.import_module(module.name)
        for one in vars(found).values():
            if isinstance(one, type) and one.__module__ == module.name:
                yield one


def shown(one: type[Any]) -> Iterator[tuple[str, str]]:
    """Fields that its repr shows, and their types."""
    if dataclasses.is_dataclass(one):
        if hasattr(one.__repr__, "__wrapped__"):  # the generated one
            yield from ((f.name, str(f.type)) for f in dataclasses.fields(one) if f.repr)
    elif issubclass(one, BaseModel) and one.__repr__ is BaseModel.__repr__:
        for name, field in one.model_fields.items():
            if field.repr and "Secret" not in str(field.annotation):
                yield name, str(field.annotation)


def test_no_repr_shows_a_field_that_may_be_a_secret() -> None:
    found = {
        f"{one.__name__}.{name}"
        for one in classes()
        for name, kind in shown(one)
        if _NAMES.search(name) and _TYPES.search(kind)
    }
    assert found == set(NONE_OF_THEM)


def test_reprs_of_what_holds_secrets() -> None:
    key = ALICE.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for one in (
        Issued(ALICE.certificate, (), key),
        Later("soon", {"password": SECRET}),
        Identity(ALICE.certificate, ALICE.key),
        MasterKey(b"s3cr3t-b9f1s3cr3t-b9f1s3cr3t-b9f"),
    ):
        text = repr(one)
        assert SECRET not in text
        assert repr(key)[2:40] not in text


# defects


def defect() -> Exception:
    """One whose text has a secret, raised where a key is in scope."""
    pem = ALICE.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    try:
        raise ZeroDivisionError(f"{SECRET} {pem}")
    except ZeroDivisionError as error:
        return error


def lines_of(write: Any, form: str = "json") -> str:
    with open_log() as out:
        write(LogJournal(make_log(form, "debug", out)))
        out.seek(0)
        return out.read()


def open_log() -> Any:
    return tempfile.TemporaryFile("w+", encoding="utf-8")


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_log_of_a_defect(form: str) -> None:
    text = lines_of(lambda journal: journal.trouble("mail deferred: defect", defect()), form)
    assert "ZeroDivisionError" in text
    assert "test_secrets.py" in text
    assert SECRET not in text
    assert "PRIVATE KEY" not in text


def test_what_libraries_log_of_a_defect() -> None:
    def write(journal: LogJournal) -> None:
        error = defect()
        said = f"Task exception was never retrieved\nfuture: <Task exception={error!r}>"
        caught = (type(error), error, error.__traceback__)
        record = logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, said, None, caught)
        _Forward(journal.log).handle(record)

    line = json.loads(lines_of(write))
    assert line["event"] == "Task exception was never retrieved"
    assert line["error"] == "ZeroDivisionError"
    assert SECRET not in json.dumps(line)


@pytest.mark.parametrize("command", ["certificate list", "key list"])
def test_a_defect_of_a_command(tmp_path: Path, command: str) -> None:
    """Its traceback has places and no values, whatever is in scope."""
    script = f"""
import sys
from smimefilter.cli import main, common
def broken(config, work):
    key = "{SECRET}" + str(config)
    raise LookupError
import smimefilter.cli.certificates, smimefilter.cli.keys
smimefilter.cli.certificates.with_app = smimefilter.cli.keys.with_app = broken
sys.argv = ["smimefilter", *"{command}".split(), "--config", "x"]
main()
"""
    file = tmp_path / "broken.py"
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "LookupError" in done.stderr
    assert SECRET not in done.stderr.replace(f'key = "{SECRET}"', "")


# dumps


@pytest.mark.parametrize("command", ["version", "key list", "certificate show none"])
def test_no_command_is_dumped(tmp_path: Path, command: str) -> None:
    script = f"""
import ctypes, resource, sys
ask = lambda: (ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
before = ask()
from smimefilter.cli import main
sys.argv = ["smimefilter", *"{command} --config none".split()]
try:
    main()
except SystemExit:
    pass
print("asked", before[0], *ask())
"""
    file = tmp_path / "asking.py"
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "asked 1 0 (0, 0)"
