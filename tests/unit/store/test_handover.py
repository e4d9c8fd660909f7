"""The hand-over journal: what it keeps, what it lets go, and who else may use it."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smimefilter.base.envelope import Delivered, Notified, Refused
from smimefilter.base.errors import AdminError, Status
from smimefilter.ports.stores import StoreTrouble
from smimefilter.store import handover
from smimefilter.store.handover import KEPT, SqliteHandOvers

START = datetime(2026, 1, 5, 10, tzinfo=UTC)
MAIL, OTHER = b"m" * 32, b"n" * 32
BOB, CAROL = b"b" * 32, b"c" * 32
OK = Delivered("4XYZ", "Ok: queued as 4XYZ")
TOLD = Notified(Refused(Status(5, "7.5"), "kein Zertifikat für Carol", by_policy=True))


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteHandOvers]:
    made = SqliteHandOvers(tmp_path / "h.db", clock, most=20)
    made.open()
    yield made
    await made.close()


def another(tmp_path: Path, clock: Clock) -> SqliteHandOvers:
    made = SqliteHandOvers(tmp_path / "h.db", clock, most=20)
    made.open()
    return made


async def test_what_is_kept_comes_back_as_it_was(journal: SqliteHandOvers) -> None:
    await journal.add(MAIL, {BOB: OK, CAROL: TOLD})
    await journal.add(OTHER, {BOB: Delivered()})
    assert journal.known(MAIL) == {BOB: OK, CAROL: TOLD}
    assert journal.known(OTHER) == {BOB: Delivered()}
    assert journal.known(b"x" * 32) == {}
    await journal.add(MAIL, {BOB: Delivered("other")})
    assert journal.known(MAIL)[BOB] == OK  # the first one counts
    await journal.forget(MAIL, [BOB])
    assert journal.known(MAIL) == {CAROL: TOLD}


async def test_others_see_it_and_it_outlives_them(
    journal: SqliteHandOvers, tmp_path: Path, clock: Clock
) -> None:
    second = another(tmp_path, clock)
    await journal.add(MAIL, {BOB: OK})
    assert second.known(MAIL) == {BOB: OK}
    await second.add(MAIL, {CAROL: TOLD})
    await second.close()
    assert journal.known(MAIL) == {BOB: OK, CAROL: TOLD}


async def test_old_entries_go_and_so_do_the_oldest_of_too_many(
    journal: SqliteHandOvers, tmp_path: Path, clock: Clock
) -> None:
    await journal.add(MAIL, {BOB: OK})
    clock.now += KEPT - timedelta(seconds=1)
    for number in range(20):
        await journal.add(OTHER, {bytes([number]): OK})
    second = another(tmp_path, clock)
    assert second.known(MAIL) == {}  # the 21st
    assert len(second.known(OTHER)) == 20
    clock.now += KEPT + timedelta(seconds=2)
    await another(tmp_path, clock).close()
    assert second.known(OTHER) == {}
    await second.close()


async def test_it_is_kept_small_while_it_runs(
    journal: SqliteHandOvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "_TIDIED_EVERY", 8)
    for number in range(64):
        await journal.add(MAIL, {bytes([number]): OK})
    assert len(journal.known(MAIL)) == 20


async def test_those_who_write_at_once_share_a_transaction(
    journal: SqliteHandOvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0
    commit = journal._commit

    def counted(changes: list[handover._Change]) -> None:
        nonlocal commits
        commits += 1
        commit(changes)

    monkeypatch.setattr(journal, "_commit", counted)
    await asyncio.gather(*(journal.add(bytes([n]), {BOB: OK}) for n in range(20)))
    assert commits <= 2
    assert all(journal.known(bytes([n])) for n in range(20))


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_it_is_for_its_owner_alone(journal: SqliteHandOvers, tmp_path: Path) -> None:
    await journal.add(MAIL, {BOB: OK})
    modes = modes_in(tmp_path)
    assert set(modes) == {"h.db", "h.db-wal", "h.db-shm", "h.db-claims"}
    assert set(modes.values()) == {0o600}


async def test_what_is_claimed_is_claimed_once(journal: SqliteHandOvers) -> None:
    assert journal.claim(MAIL)
    assert not journal.claim(MAIL)
    assert journal.claim(OTHER)
    journal.release(MAIL)
    assert journal.claim(MAIL)


_HOLDER = """
import sys, pathlib
from datetime import UTC, datetime
from smimefilter.store.handover import SqliteHandOvers
journal = SqliteHandOvers(pathlib.Path(sys.argv[1]), lambda: datetime.now(UTC))
journal.open()
print(journal.claim(b"m" * 32), flush=True)
sys.stdin.read()
"""


async def test_claims_hold_between_processes_and_end_with_them(
    journal: SqliteHandOvers, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / "h.db")]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"True\n"
    assert not journal.claim(MAIL)
    assert journal.claim(OTHER)
    process.kill()
    await process.wait()
    assert journal.claim(MAIL)


async def test_processes_may_set_it_up_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / "h.db")]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        for _ in range(6)
    ]
    said = [await process.communicate(b"") for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert max(out for out, _ in said) == b"True\n"


async def test_a_write_is_proven_once_in_a_while(
    journal: SqliteHandOvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[object] = []
    monkeypatch.setattr(journal, "_commit", commits.append)
    await journal.prove()
    await journal.prove()
    await journal.prove()
    assert len(commits) == 1


async def test_a_full_disk_is_trouble_before_and_after(journal: SqliteHandOvers) -> None:
    """As this process sees it: its files may grow no further."""
    await journal.add(MAIL, {BOB: OK})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StoreTrouble):
            await journal.add(MAIL, {CAROL: OK})
        with pytest.raises(StoreTrouble):
            await journal.prove()
        assert journal.known(MAIL) == {BOB: OK}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await journal.prove()
    await journal.add(MAIL, {CAROL: OK})
    assert journal.known(MAIL) == {BOB: OK, CAROL: OK}


async def test_one_that_is_closed_is_trouble(tmp_path: Path, clock: Clock) -> None:
    journal = another(tmp_path, clock)
    await journal.close()
    for use in (lambda: journal.known(MAIL), lambda: journal.claim(MAIL)):
        with pytest.raises(StoreTrouble):
            use()
    with pytest.raises(StoreTrouble):
        await journal.add(MAIL, {BOB: OK})
    journal.release(MAIL)


def _folder(path: Path) -> None:
    path.mkdir()


def _nonsense(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


@pytest.mark.parametrize("spoil", [_folder, _nonsense])
async def test_one_that_cannot_be_opened_is_said_plainly(
    tmp_path: Path, clock: Clock, spoil: object
) -> None:
    path = tmp_path / "h.db"
    spoil(path)  # type: ignore[operator]
    with pytest.raises(AdminError) as caught:
        another(tmp_path, clock)
    assert caught.value.where == str(path)
    assert "hand-over journal" in caught.value.what
    assert caught.value.mend


async def test_no_folder(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(AdminError):
        SqliteHandOvers(tmp_path / "no" / "h.db", clock).open()


async def test_a_damaged_one_is_said_plainly(tmp_path: Path, clock: Clock) -> None:
    journal = another(tmp_path, clock)
    for number in range(15):
        await journal.add(MAIL, {bytes([number]) * 32: Delivered("Q", "x" * 500)})
    await journal.close()
    with (tmp_path / "h.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(AdminError, match="damaged"):
        another(tmp_path, clock)
