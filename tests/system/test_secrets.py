"""A filter that runs, as other users of the system see it: no secret, and no open files."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.commands import Commands
from tests.support.postoffice import ALICE, BOB, DATABASE, GINA, PostOffice, Stock, letter
from tests.support.program import Program, shipped_settings
from tests.support.sink import Sink
from tests.support.smime import encrypted

pytestmark = pytest.mark.system

# The filter, with a thread that tells whether its memory can be dumped.
TOLD_OF = """
import ctypes, sys, threading
def tell():
    while True:
        with open("ask", "rb"):
            pass
        with open("told", "w") as out:
            out.write(str(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)))
threading.Thread(target=tell, daemon=True).start()
from smimefilter.cli import main
main()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that others can enter; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def office(stock: Stock, home: Path) -> Iterator[PostOffice]:
    """A filter that has not been started."""
    with Sink() as sink:
        stock.copy_to(home)
        (home / DATABASE).chmod(0o600)
        settings = shipped_settings(home, port=0, next_hop=sink.port)
        (home / "told.py").write_text(TOLD_OF)
        program = Program(home, settings, command=(sys.executable, str(home / "told.py")))
        for name in ("ask", "told"):
            os.mkfifo(home / name)
        office = PostOffice(stock, program, sink)
        yield office
        program.kill()


def secrets_of(office: PostOffice) -> list[bytes]:
    """Parts of what nobody may see."""
    found = [(office.home / "master.key").read_bytes().strip()[8:40]]
    key = office.who(ALICE).key
    for form in (Encoding.PEM, Encoding.DER):
        text = key.private_bytes(form, PrivateFormat.PKCS8, NoEncryption())
        found.append(text[200:240])
    return [*found, found[-1].hex().encode(), office.people.password_file.read_bytes().strip()]


def test_a_running_filter_shows_no_secret(office: PostOffice) -> None:
    program = office.program
    program.start()
    (reply,) = office.hand_over(ALICE, [BOB], letter(ALICE, BOB))
    assert reply.startswith("250")
    (reply,) = office.hand_over(
        GINA, [ALICE], encrypted(letter(GINA, ALICE), office.who(ALICE))
    )
    assert reply.startswith("250")
    process = Path(f"/proc/{program.pid}")
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    limits = (process / "limits").read_text()
    program.run("doctor", "--json")
    program.stop()
    seen += program.log().encode()
    for secret in secrets_of(office):
        assert secret not in seen
    (cores,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert cores.split()[4:6] == ["0", "0"]


def test_a_running_filter_is_not_dumped(office: PostOffice) -> None:
    """Not by programs that take dumps from the kernel either, which no limit stops."""
    office.program.start()
    (office.home / "ask").write_bytes(b"")
    assert (office.home / "told").read_text() == "0"


@pytest.mark.parametrize(
    ("name", "mode"),
    [("policies", 0o777), ("policies/global.yaml", 0o666), (DATABASE, 0o666)],
)
def test_what_others_can_write_keeps_it_from_starting(
    office: PostOffice, name: str, mode: int
) -> None:
    path = office.home / name
    path.chmod(mode)
    done = office.program.run("serve", fails=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"smimefilter: {path}: others can write it (mode {mode:04o}) (run: ")
    found = Commands(office.program.config)("doctor", "--json", code=1).json
    (finding,) = [one for one in found if one["about"] == str(path)]
    assert finding["grade"] == "bad"


def test_what_others_can_read_is_told(office: PostOffice) -> None:
    path = office.home / DATABASE
    path.chmod(0o644)
    office.program.start()
    (line,) = [
        one
        for one in office.program.wait_for_event("file open to others")
        if one["file"] == str(path)
    ]
    assert line["level"] == "warning"
    assert line["mend"] == f"run: chmod 600 {path}*"
    found = Commands(office.program.config)("doctor", "--json", code=0).json
    assert [one["grade"] for one in found if one["about"] == str(path)] == ["warning"]


def test_files_that_commands_make_are_closed(office: PostOffice) -> None:
    """A key that is exported, a master key, and a database, under whatever umask."""
    before = os.umask(0)
    try:
        run = Commands(office.program.config)
        thumbprint = office.who(ALICE).thumbprint[:16]
        key = office.home / "alice.p12"
        run("key", "export", thumbprint, "--to", str(key), "--password-file", "-", stdin="x\n")
        run("key", "rotate", "--new", str(office.home / "new.key"))
    finally:
        os.umask(before)
    for one in (key, office.home / "new.key", office.home / DATABASE):
        assert one.stat().st_mode & 0o777 == 0o600, one
    (office.home / DATABASE).unlink()
    (office.home / "master.key").unlink()
    before = os.umask(0)
    try:
        run("init")
    finally:
        os.umask(before)
    for one in ("master.key", DATABASE):
        assert (office.home / one).stat().st_mode & 0o777 == 0o600, one
    assert not [*office.home.glob(".*")]
