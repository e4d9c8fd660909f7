from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from smimefilter.base.errors import AdminError, AdminErrors
from smimefilter.files import policies
from smimefilter.files.policies import PolicyFiles
from smimefilter.policy.preferences import ENCRYPT, LOCALITY, MAY_SIGN_FOR, Encrypt, Locality
from smimefilter.policy.tree import Scopes, Tree

NEVER = "preferences: {encrypt: never}\n"
MANDATORY = "preferences: {encrypt: mandatory}\n"
SHIPPED = Path(__file__).parents[3] / "policies"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "policies"
    (path / "domains").mkdir(parents=True)
    (path / "global.yaml").write_text(NEVER)
    (path / "domains" / "x.yaml").write_text(f"domain: x.test\n{MANDATORY}")
    return path


def encrypt(scopes: Scopes, address: str) -> tuple[Encrypt, str]:
    found = Tree(scopes).view(address).get(ENCRYPT)
    return found.value, found.source


def test_a_folder_is_read(folder: Path) -> None:
    found = PolicyFiles(folder).load()
    assert encrypt(found, "a@x.test") == (Encrypt.MANDATORY, "domains/x.yaml:2")
    assert encrypt(found, "a@y.test") == (Encrypt.NEVER, "global.yaml:1")


def test_one_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"{NEVER}domains:\n- domain: x.test\n  {MANDATORY}")
    assert encrypt(PolicyFiles(file).load(), "a@x.test") == (Encrypt.MANDATORY, "all.yaml:4")


def test_what_is_left_alone(folder: Path) -> None:
    for name in (
        ".global.yaml.swp",
        ".hidden.yaml",
        "global.yaml~",
        "#global.yaml#",
        "README.md",
    ):
        (folder / name).write_text("preferences: [")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.yaml").write_text("[")
    (folder / "empty").mkdir()
    assert encrypt(PolicyFiles(folder).load(), "a@y.test")[0] is Encrypt.NEVER


def test_an_empty_folder_is_no_policy(tmp_path: Path) -> None:
    """It may be a file system that is not mounted yet: defaults would lift what it sets."""
    with pytest.raises(AdminError, match="no policy file"):
        PolicyFiles(tmp_path).load()
    (tmp_path / "global.yaml").touch()
    assert PolicyFiles(tmp_path).load() == {}


def test_files_that_vanish_do_not_lift_the_policy(folder: Path) -> None:
    files = PolicyFiles(folder)
    files.load()
    for file in folder.rglob("*.yaml"):
        file.unlink()
    with pytest.raises(AdminError, match="no policy file"):
        files.load()
    (folder / "global.yaml").touch()
    assert not any(files.load().values())


def test_errors_name_the_path_as_it_was_given(folder: Path) -> None:
    (folder / "global.yaml").write_text("preferences:\n  encypt: never\n")
    with pytest.raises(AdminError) as caught:
        PolicyFiles(folder).load()
    assert caught.value.where == f"{folder}/global.yaml:2:3"


def test_a_yml_and_what_is_not_utf8_are_errors(folder: Path) -> None:
    (folder / "domains" / "y.yml").write_text("domain: y.test\n")
    (folder / "users").mkdir()
    (folder / "users" / "latin.yaml").write_bytes(b"# fine\n# M\xfcller\n")
    with pytest.raises(AdminErrors) as caught:
        PolicyFiles(folder).load()
    assert [(one.where, bool(one.mend)) for one in caught.value.errors] == [
        (f"{folder}/domains/y.yml", True),
        (f"{folder}/users/latin.yaml:2", True),
    ]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AdminError) as caught:
        PolicyFiles(tmp_path / "none").load()
    assert caught.value.where == str(tmp_path / "none")
    assert "create" in caught.value.mend


@pytest.mark.parametrize("name", ["global.yaml", "domains"])
def test_what_cannot_be_read(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal is played."""
    refused = str(folder / name)
    real_read, real_scan = Path.read_text, os.scandir

    def read_text(self: Path, encoding: str | None = None) -> str:
        if str(self) == refused:
            raise PermissionError(13, "Permission denied")
        return real_read(self, encoding)

    def scandir(path: str | Path) -> object:
        if str(path) == refused:
            raise PermissionError(13, "Permission denied")
        return real_scan(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(AdminError, match="Permission denied"):
        PolicyFiles(folder).load()


def test_collection_of_garbage_goes_on_afterwards(folder: Path) -> None:
    PolicyFiles(folder).load()
    assert gc.isenabled()
    (folder / "global.yaml").write_text("[")
    with pytest.raises(AdminError):
        PolicyFiles(folder).load()
    assert gc.isenabled()


class Watched:
    """Files being watched; `changes` counts, `loaded` is what the last change brought."""

    def __init__(self, files: PolicyFiles) -> None:
        self.files = files
        self.loaded = files.load()
        self.changes = 0
        self._changed = asyncio.Event()

    async def on_change(self) -> None:
        self.changes += 1
        with suppress(AdminError):
            self.loaded = self.files.load()
        self._changed.set()

    async def change(self) -> None:
        async with asyncio.timeout(10):
            await self._changed.wait()
        self._changed.clear()


@asynccontextmanager
async def watched(path: Path, look_every: float = 30) -> AsyncIterator[Watched]:
    found = Watched(PolicyFiles(path, look_every=look_every))
    task = asyncio.create_task(found.files.watch(found.on_change))
    await asyncio.sleep(0.2)  # until the system tells about changes
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "SETTLE", 50)


async def test_changes_are_noticed(folder: Path) -> None:
    async with watched(folder) as found:
        (folder / "global.yaml").write_text(MANDATORY)
        await found.change()
        assert encrypt(found.loaded, "a@y.test")[0] is Encrypt.MANDATORY
        replacement = folder / "domains" / ".x.yaml.new"
        replacement.write_text(f"domain: x.test\n{NEVER}")
        replacement.rename(folder / "domains" / "x.yaml")
        await found.change()
        assert encrypt(found.loaded, "a@x.test")[0] is Encrypt.NEVER
        (folder / "domains" / "x.yaml").unlink()
        await found.change()
        assert encrypt(found.loaded, "a@x.test")[0] is Encrypt.MANDATORY


async def test_many_writes_are_one_change(folder: Path) -> None:
    async with watched(folder) as found:
        for number in range(20):
            (folder / "domains" / f"{number}.yaml").write_text(f"domain: d{number}.test\n")
        await found.change()
        await asyncio.sleep(0.3)
        assert found.changes <= 2


async def test_what_is_no_policy_changes_nothing(folder: Path) -> None:
    async with watched(folder) as found:
        (folder / ".global.yaml.swp").write_text("x")
        (folder / "README.md").write_text("x")
        await asyncio.sleep(0.4)
        assert found.changes == 0


async def test_a_change_before_the_watch_began_is_noticed(folder: Path) -> None:
    files = PolicyFiles(folder)
    files.load()
    (folder / "global.yaml").write_text(MANDATORY)
    changed = asyncio.Event()

    async def on_change() -> None:
        changed.set()

    task = asyncio.create_task(files.watch(on_change))
    async with asyncio.timeout(5):
        await changed.wait()
    task.cancel()


async def test_a_broken_file_is_noticed_and_so_is_its_mending(folder: Path) -> None:
    async with watched(folder) as found:
        (folder / "global.yaml").write_text("preferences: [")
        await found.change()
        assert encrypt(found.loaded, "a@y.test")[0] is Encrypt.NEVER
        (folder / "global.yaml").write_text(MANDATORY)
        await found.change()
        assert encrypt(found.loaded, "a@y.test")[0] is Encrypt.MANDATORY


async def test_a_replaced_folder_is_noticed(folder: Path, tmp_path: Path) -> None:
    fresh = Path(shutil.copytree(folder, tmp_path / "fresh"))
    (fresh / "global.yaml").write_text(MANDATORY)
    async with watched(folder, look_every=0.3) as found:
        shutil.move(folder, folder.with_name("old"))
        await found.change()
        assert encrypt(found.loaded, "a@y.test")[0] is Encrypt.NEVER
        shutil.move(fresh, folder)
        await found.change()
        assert encrypt(found.loaded, "a@y.test")[0] is Encrypt.MANDATORY


async def test_a_single_file_is_watched_through_replacements(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(NEVER)
    async with watched(file) as found:
        for text, value in ((MANDATORY, Encrypt.MANDATORY), (NEVER, Encrypt.NEVER)):
            fresh = tmp_path / ".fresh"
            fresh.write_text(text)
            fresh.rename(file)
            await found.change()
            assert encrypt(found.loaded, "a@y.test")[0] is value


async def test_without_notifications_files_are_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_paths: object, **_options: object) -> None:
        raise OSError(28, "no space left on device")  # the limit of inotify watches

    monkeypatch.setattr(policies, "awatch", none_left)
    async with watched(folder, look_every=0.05) as found:
        (folder / "global.yaml").write_text(MANDATORY)
        await found.change()
        assert encrypt(found.loaded, "a@y.test")[0] is Encrypt.MANDATORY


def test_the_shipped_policies_load_and_do_what_they_say() -> None:
    tree = Tree(PolicyFiles(SHIPPED).load())
    assert tree.view("anybody@example.com").get(LOCALITY).value is Locality.INTERNAL
    assert tree.view("director@example.com").get(ENCRYPT).value is Encrypt.MANDATORY
    assert tree.view("newsletter@example.com").get(ENCRYPT).value is Encrypt.NEVER
    assert "sales@example.com" in tree.view("crm@example.com").get(MAY_SIGN_FOR).value
    assert tree.view("a@sub.partner.example").get(ENCRYPT).value is Encrypt.MANDATORY
    assert tree.view("archive@clinic.example").get(ENCRYPT).value is Encrypt.NEVER
