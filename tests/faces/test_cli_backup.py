"""`smimefilter backup` beside a running filter, `smimefilter restore` into an empty node."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from smimefilter.pki.export import certificates_pem
from tests.support.commands import Commands, run
from tests.support.postoffice import (
    ALICE,
    BOB,
    DATABASE,
    Installation,
    PostOffice,
    Stock,
    filter_alone,
    letter,
)
from tests.support.program import Program, shipped_settings
from tests.support.sink import Sink

Entries = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def saved(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of an installation."""
    file = tmp_path_factory.mktemp("saved") / "node.tar.gz"
    done = installation.command("backup", str(file))
    assert "the master key is not in it" in done.out
    return file


class Node:
    """An empty node: settings and a master key, nothing else."""

    def __init__(self, home: Path, master: Path) -> None:
        home.mkdir()
        self.home = home
        self.program = Program(home, shipped_settings(home, port=0, next_hop=1))
        self.command = Commands(self.program.config)
        shutil.copy(master, home / "master.key")

    def left(self) -> set[str]:
        """What is there beside what was there."""
        there = {path.name for path in self.home.iterdir()}
        return there - {"master.key", self.program.config.name, "serve.log"}


@pytest.fixture
def node(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(tmp_path_factory.mktemp("other") / "home", installation.home / "master.key")


def entries(file: Path) -> Entries:
    with tarfile.open(file) as tar:
        return [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def written(file: Path, found: Entries) -> None:
    with tarfile.open(file, "w:gz") as tar:
        for entry, content in found:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_only_its_owner_reads_a_backup_and_no_key_is_in_it(
    saved: Path, installation: Installation
) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert list(saved.parent.iterdir()) == [saved]
    content = gzip.decompress(saved.read_bytes())
    key = (installation.home / "master.key").read_bytes().strip()
    assert key not in content
    assert b"PRIVATE KEY" not in content
    names = [entry.name for entry, _ in entries(saved)]
    assert names[:4] == ["manifest.json", "manifest.seal", "database.jsonl", "settings.yaml"]
    assert "policies/global.yaml" in names
    assert "such a file already" in installation.command.complaint("backup", str(saved))
    nowhere = str(saved.parent / "none" / "x")
    assert "cannot write it" in installation.command.complaint("backup", nowhere)
    (last,) = installation.command("audit", "list", "--most", "1", "--json").json
    assert (last["action"], last["object"]) == ("backup made", str(saved))


def test_a_restored_node_signs_and_decrypts(
    stock: Stock, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path / "node.tar.gz"
    home = tmp_path_factory.mktemp("running")
    with filter_alone(stock, home) as office:
        office.command("backup", str(file))  # while it runs
        office.hand_over(ALICE, [BOB], letter(ALICE, BOB))
        (to_bob,) = office.sink.wait_for(1)
        assert office.read(to_bob, BOB)
    other = Node(tmp_path / "other", home / "master.key")
    assert "restored the backup" in other.command("restore", str(file)).out
    assert other.command("audit", "verify").out.startswith("whole: ")
    (last,) = other.command("audit", "list", "--most", "1", "--json").json
    assert last["action"] == "restored"
    with filter_restored(stock, other) as again:
        again.hand_over(ALICE, [BOB], letter(ALICE, BOB))
        (mail,) = again.sink.wait_for(1)
        assert b"Grapefruit" in again.read(mail, BOB)  # signed by Alice, whom openssl trusts
        enciphered = enciphered_to_alice(again, tmp_path)
        again.hand_over("x@free.test", [ALICE], enciphered)
        opened = again.sink.wait_for(2)[-1]
        assert b"Closed until now." in opened.content
        assert again.command("audit", "verify").out.startswith("whole: ")


@contextmanager
def filter_restored(stock: Stock, node: Node) -> Iterator[PostOffice]:
    """The filter of a node that was restored, with a sink behind it."""
    with Sink() as sink:
        settings = shipped_settings(node.home, port=0, next_hop=sink.port)
        settings["hostname"] = "filter.test"
        with Program(node.home, settings) as program:
            yield PostOffice(stock, program, sink)


def enciphered_to_alice(office: PostOffice, folder: Path) -> bytes:
    file = folder / "alice.pem"
    file.write_bytes(certificates_pem([office.who(ALICE).certificate]))
    body = b"Content-Type: text/plain\r\n\r\nClosed until now.\r\n"
    return subprocess.run(
        ["openssl", "cms", "-encrypt", "-aes-256-cbc", "-from", "x@free.test", "-to", ALICE,
         "-subject", "x", str(file)],
        input=body, check=True, capture_output=True,
    ).stdout  # fmt: skip


def test_all_of_it_is_there_again(saved: Path, installation: Installation, node: Node) -> None:
    node.command("restore", str(saved))
    for listed in ("certificate list", "key list", "root list", "policy list", "account list"):
        asked = (*listed.split(), "--json")
        assert node.command(*asked).json == installation.command(*asked).json
    policies = node.home / "policies" / "global.yaml"
    assert policies.read_text() == (installation.home / "policies/global.yaml").read_text()
    assert stat.S_IMODE((node.home / DATABASE).stat().st_mode) == 0o600
    assert node.left() == {"policies", DATABASE}
    said = node.command.complaint("restore", str(saved))
    assert "policy files already" in said
    shutil.rmtree(node.home / "policies")
    before = (node.home / DATABASE).read_bytes()
    assert "there is a database already" in node.command.complaint("restore", str(saved))
    assert (node.home / DATABASE).read_bytes() == before
    assert node.left() == {DATABASE}


def test_settings_come_from_the_backup_where_there_are_none(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, other = installation.home, tmp_path_factory.mktemp("other")
    settings = yaml.safe_load((home / "smimefilter.yaml").read_text())
    settings.update(
        {"database": f"sqlite+aiosqlite:///{other}/x.db", "policies": "policies",
         "master-key": str(home / "master.key")}
    )  # fmt: skip
    old = home / "relative.yaml"
    old.write_text(yaml.safe_dump(settings | {"database": installation_database(home)}))
    run("backup", str(other / "b.tar.gz"), "--config", str(old))
    for file in (home / DATABASE, *home.glob(f"{DATABASE}-*")):
        file.unlink()
    new = other / "new.yaml"
    done = run("restore", str(other / "b.tar.gz"), "--config", str(new))
    assert "settings in" not in done.out
    assert new.read_bytes() == old.read_bytes()
    assert (other / "policies" / "global.yaml").exists()
    assert run("audit", "verify", "--config", str(new)).out.startswith("whole: ")


def installation_database(home: Path) -> str:
    return f"sqlite+aiosqlite:///{home / DATABASE}"


# what is refused


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2000])


def _nonsense(file: Path) -> None:
    file.write_bytes(b"nonsense" * 100)


def _a_bit(file: Path) -> None:
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[content.index(b"CN=alice")] ^= 1
    file.write_bytes(gzip.compress(bytes(content)))


def _a_part_less(file: Path) -> None:
    written(file, [one for one in entries(file) if not one[0].name.startswith("policies/")])


def _manifest(**changes: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        (entry, text), *others = entries(file)
        manifest = json.dumps(json.loads(text) | changes).encode()
        written(file, [(entry, manifest), *others])

    return change


def _traversal(file: Path) -> None:
    found = entries(file)
    manifest = json.loads(found[0][1])
    name = "policies/../../../escaped.yaml"
    old = next(one for one in found if one[0].name == "policies/global.yaml")
    manifest["parts"][name] = manifest["parts"].pop("policies/global.yaml")
    old[0].name = name
    found[0] = (found[0][0], json.dumps(manifest).encode())
    written(file, found)


def _link(file: Path) -> None:
    found = entries(file)
    for number, (entry, _) in enumerate(found):
        if entry.name == "policies/global.yaml":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            found[number] = (entry, b"")
    written(file, found)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_truncated, "no backup, or a damaged one"),
        (_nonsense, "no backup, or a damaged one"),
        (_a_bit, "no backup, or a damaged one"),
        (_a_part_less, "no backup, or a damaged one"),
        (_manifest(node="other"), "the backup was changed"),
        (_manifest(schema="9999"), "from a newer version (0.1.0, schema 9999)"),
        (_manifest(format=2), "from a newer version"),
        (_manifest(counts=7), "the backup was changed"),
        (_manifest(schema=7), "no backup, or a damaged or newer one"),
        (_manifest(more=1), "no backup, or a damaged or newer one"),
        (_manifest(parts=[]), "no backup, or a damaged one"),
        (_traversal, "a name that leads elsewhere"),
        (_link, "no backup, or a damaged one"),
        (Path.unlink, "no such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    saved: Path, node: Node, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(saved)
    assert why in node.command.complaint("restore", str(saved))
    assert node.left() == set()
    assert not list(node.home.parent.rglob("escaped.yaml"))


def test_another_master_key_is_refused(saved: Path, node: Node) -> None:
    (node.home / "master.key").write_text("ab" * 32)
    said = node.command.complaint("restore", str(saved))
    assert "the backup was made under another master key" in said
    (node.home / "master.key").unlink()
    assert "the master key does not exist" in node.command.complaint("restore", str(saved))
    assert node.left() == set()


def test_what_cannot_be_put_in_place_leaves_nothing(
    saved: Path, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _to: Path) -> Path:
        raise OSError(28, "No space left on device", "policies")

    monkeypatch.setattr(Path, "rename", full)
    said = node.command.complaint("restore", str(saved))
    assert "cannot be written: no space left on device" in said
    assert node.left() == set()
