"""What others can do with the files of an installation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from smimefilter.config import Config, Fetch, Listener, Notify, ServerTls, Sms
from smimefilter.files.modes import exposed


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that others can enter, as /etc/smimefilter is; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "policies").mkdir(mode=0o755)
        for one, mode in (("policies/global.yaml", 0o644), ("db", 0o600), ("key", 0o600)):
            (folder / one).touch(mode)
            (folder / one).chmod(mode)
        (folder / "spool").mkdir(mode=0o700)
        yield folder


def config(home: Path) -> Config:
    return Config(
        database=f"sqlite+aiosqlite:///{home}/db",
        policies=home / "policies",
        listeners=(Listener(tls=ServerTls(certificate=home / "crt", key=home / "key")),),
        notify=Notify(
            templates=home / "letters", sms=Sms(settings={"folder": f"{home}/spool"})
        ),
    )


def test_an_installation_that_is_closed(home: Path) -> None:
    assert exposed(config(home), home / "settings.yaml") == []


@pytest.mark.parametrize(
    ("name", "mode", "verb", "writable"),
    [
        ("policies", 0o777, "write", True),
        ("policies", 0o1777, "write", True),
        ("policies/global.yaml", 0o666, "write", True),
        ("settings.yaml", 0o646, "write", True),
        ("letters", 0o777, "write", True),
        ("db", 0o604, "read", False),
        ("db", 0o606, "write", True),
        ("db-wal", 0o644, "read", False),
        ("key", 0o644, "read", False),
        ("spool", 0o705, "read", False),
    ],
)
def test_what_is_open(home: Path, name: str, mode: int, verb: str, writable: bool) -> None:
    path = home / name
    if name == "letters":
        path.mkdir()
    elif not path.exists():
        path.touch()
    path.chmod(mode)
    (found,) = exposed(config(home), home / "settings.yaml")
    assert found.path == path
    assert found.what == f"others can {verb} it (mode {mode:04o})"
    assert found.is_writable is writable
    assert found.mend.startswith("run: chmod ")
    _, _, bits, where = found.mend.split()
    assert path.match(where)
    path.chmod(int(bits, 8) if bits.isdigit() else path.stat().st_mode & ~0o002)
    assert exposed(config(home), home / "settings.yaml") == []


@pytest.mark.parametrize("mode", [0o770, 0o775])
def test_the_group_is_the_administrators_to_choose(home: Path, mode: int) -> None:
    (home / "policies").chmod(mode)
    assert exposed(config(home)) == []


def test_a_folder_that_nobody_enters(home: Path) -> None:
    """As systemd's StateDirectory is."""
    (home / "db").chmod(0o666)
    assert exposed(config(home))
    home.chmod(0o700)
    assert exposed(config(home)) == []


def test_another_database(home: Path) -> None:
    other = config(home).model_copy(update={"database": "postgresql+asyncpg://db.test/x"})
    assert exposed(other) == []


def test_settings_that_hold_a_secret(home: Path) -> None:
    settings = home / "settings.yaml"
    settings.touch()
    settings.chmod(0o644)
    assert exposed(config(home), settings) == []
    with_secret = [
        {"database": "postgresql+asyncpg://me:secret@db.test/x"},
        {"fetch": Fetch(proxy=SecretStr("http://me:secret@proxy.test:3128"))},
        {"notify": Notify(sms=Sms(transport="http", settings={"authorization": "secret"}))},
    ]
    for changes in with_secret:
        (found,) = exposed(config(home).model_copy(update=changes), settings)
        assert found.what == "others can read it (mode 0644), and it holds a secret"
        assert not found.is_writable
    settings.chmod(0o640)
    assert exposed(config(home).model_copy(update=with_secret[0]), settings) == []
