"""Several workers as one filter: whatever becomes of one, mail is taken."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.crowd import Load, frozen, is_gone, ready_again, worker_pids
from tests.support.postoffice import ALICE, DAVE, PostOffice, Stock, filter_alone, letter
from tests.support.program import Program, ProgramTrouble, shipped_settings
from tests.support.sink import Stage

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def unharmed(stock: Stock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    """A filter of two workers, of which none is to die."""
    with filter_alone(stock, tmp_path_factory.mktemp("unharmed"), workers=2) as office:
        yield office


@pytest.fixture
def crowd(stock: Stock, tmp_path: Path) -> Iterator[PostOffice]:
    """A filter of two workers."""
    with filter_alone(stock, tmp_path, workers=2) as office:
        yield office


def change(office: PostOffice, **settings: Any) -> None:
    """Write other settings; nobody is told."""
    config = office.program.config
    known = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**known, **settings}))


def send(office: PostOffice, *, protocol: str = "smtp") -> None:
    (reply,) = office.hand_over(ALICE, [DAVE], letter(ALICE, DAVE), protocol=protocol)
    assert reply.startswith("250"), reply


def kill(office: PostOffice, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    office.program.wait_for_event("worker ended", pid=pid)


# ── one filter ────────────────────────────────────────────────────────────────────────────


def test_each_worker_serves_every_listener(unharmed: PostOffice) -> None:
    first, second = worker_pids(unharmed.program)
    for still in (first, second):
        with frozen(still):
            send(unharmed)
            send(unharmed, protocol="lmtp")
    assert len(unharmed.sink.mails) == 4
    (ready,) = unharmed.program.events("ready")
    assert (ready["workers"], ready["pid"]) == (2, unharmed.program.pid)
    assert [line["protocol"] for line in unharmed.program.events("listening")] == [
        "lmtp",
        "smtp",
    ]


def test_what_changes_reaches_all(unharmed: PostOffice) -> None:
    unharmed.command("policy", "set", DAVE.partition("@")[2], "sign", "always")
    unharmed.program.wait_for_event("store reloaded", number=2)
    unharmed.program.reload()
    unharmed.program.wait_for_event("policies reloaded", number=2)
    unharmed.program.wait_until(
        lambda: unharmed.program.states[-1] == "READY=1", "the end of it"
    )


def test_the_supervisor_has_neither_store_nor_key(unharmed: PostOffice) -> None:
    def files(pid: int) -> set[str]:
        folder = Path(f"/proc/{pid}/fd")
        return {str(one.readlink()) for one in folder.iterdir() if one.is_symlink()}

    database = str(unharmed.home / "smimefilter.db")
    assert database not in files(unharmed.program.pid)
    assert all(database in files(pid) for pid in worker_pids(unharmed.program))


def test_numbers_are_those_of_all_workers_and_outlast_them(
    stock: Stock, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()

    def shown(name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            found = re.findall(
                rf"^{name}(?:{{.*}})? (\S+)$", page.read().decode(), re.MULTILINE
            )
        return sum(map(float, found))

    with filter_alone(stock, tmp_path, workers=2, metrics={"port": port}) as office:
        first, second = worker_pids(office.program)
        with frozen(first):
            for _ in range(3):
                send(office)
        with frozen(second):
            for _ in range(4):
                send(office)
        assert shown("smimefilter_recipients_total") == 7
        assert shown("smimefilter_mail_seconds_count") == 7
        assert shown("smimefilter_mails_under_way") == 0
        office.sink.answer(Stage.CONTENT, "250 2.0.0 ok", delay=30, times=1)
        with ThreadPoolExecutor(1) as pool, frozen(second):
            held = pool.submit(send, office)
            office.program.wait_until(
                lambda: shown("smimefilter_mails_under_way") == 1, "a mail under way"
            )
            kill(office, first)
            with pytest.raises(smtplib.SMTPServerDisconnected):
                held.result()
        ready_again(office.program)
        assert shown("smimefilter_mails_under_way") == 0
        assert shown("smimefilter_recipients_total") == 7
        with frozen(second):
            send(office)
        assert shown("smimefilter_recipients_total") == 8
        change(office, threads_from=1000)
        office.program.reload()
        office.program.wait_for_event("settings reloaded", timeout=60)
        assert shown("smimefilter_recipients_total") == 8


def test_what_our_cas_publish_is_served_by_each(
    stock: Stock, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with filter_alone(stock, tmp_path, workers=2, publish={"port": port}) as office:
        for pid in worker_pids(office.program):
            with frozen(pid), pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/0123456789.crl", timeout=10)


def test_more_mail_than_the_settings_allow_is_turned_away_and_counted(
    stock: Stock, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, limits = free_port(), {"mails": 1, "wait": 0}
    with filter_alone(
        stock, tmp_path, workers=2, metrics={"port": port}, limits=limits
    ) as office:
        first, second = worker_pids(office.program)
        office.sink.answer(Stage.CONTENT, "250 2.0.0 ok", delay=5, times=1)
        with frozen(first), ThreadPoolExecutor(1) as pool:
            held = pool.submit(send, office)
            office.program.wait_until(lambda: "DATA" in office.sink.commands, "a mail")
            with pytest.raises(smtplib.SMTPResponseException, match=r"4\.3\.2 too many mails"):
                send(office)
            held.result()
        with frozen(second):
            send(office)
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
        assert b'smimefilter_turned_away_total{limit="mails"} 1.0' in page


# ── a worker that dies, or hangs ──────────────────────────────────────────────────────────


def test_a_worker_that_is_killed_is_replaced_and_nobody_is_refused(crowd: PostOffice) -> None:
    first, second = worker_pids(crowd.program)
    kill(crowd, first)
    send(crowd)
    with frozen(second):
        send(crowd)  # waits for the new one
    (ended,) = crowd.program.events("worker ended")
    assert (ended["worker"], ended["status"], ended["again_in"]) == (1, "SIGKILL", 0)
    ready_again(crowd.program)
    assert len(worker_pids(crowd.program)) == 2


def test_both_may_die_at_once_and_clients_wait(crowd: PostOffice) -> None:
    for pid in worker_pids(crowd.program):
        os.kill(pid, signal.SIGKILL)
    send(crowd)
    assert len(crowd.sink.mails) == 1


def test_one_that_dies_again_and_again_is_waited_with(crowd: PostOffice) -> None:
    key = crowd.home / "master.key"
    hidden = key.rename(crowd.home / "elsewhere.key")
    _, second = worker_pids(crowd.program)
    kill(crowd, second)
    lines = crowd.program.wait_for_event("worker ended", number=4, timeout=60, worker=2)
    waits = [line["again_in"] for line in lines]
    assert waits[:4] in ([0, 1, 2, 4], [0, 0, 1, 2])  # where the first one had lasted
    assert lines[1]["status"] == "exit 1"
    send(crowd)  # by the other one
    hidden.rename(key)
    ready_again(crowd.program)
    send(crowd)


def test_one_that_hangs_is_replaced(stock: Stock, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "12000000")  # six seconds of silence
    with filter_alone(stock, tmp_path, workers=2) as office:
        program = office.program
        program.wait_until(lambda: "WATCHDOG=1" in program.states, "a sign of life")
        first, _ = worker_pids(program)
        os.kill(first, signal.SIGSTOP)
        program.wait_for_event("worker hangs", timeout=60, pid=first)
        (ended,) = program.wait_for_event("worker ended", pid=first)
        assert ended["status"] == "SIGKILL"
        ready_again(program)
        told = program.states.count("WATCHDOG=1")
        program.wait_until(lambda: program.states.count("WATCHDOG=1") > told, "another one")
        send(office)


def test_workers_end_when_their_supervisor_is_gone(crowd: PostOffice) -> None:
    pids = worker_pids(crowd.program)
    crowd.program.kill()
    crowd.program.start()  # on the same database
    crowd.program.wait_until(lambda: all(map(is_gone, pids)), "the workers to end", 60)


# ── starting, reloading, ending ───────────────────────────────────────────────────────────


def test_a_start_that_cannot_work_says_why_and_ends(stock: Stock, tmp_path: Path) -> None:
    with ExitStack() as stack:
        office = stack.enter_context(filter_alone(stock, tmp_path, workers=2))
        program = office.program
        program.stop()
        (office.home / "master.key").rename(office.home / "elsewhere.key")
        with pytest.raises(ProgramTrouble, match="ended with 1"):
            program.start()
        assert "master.key" in program.log()
        assert "worker 1 ended (exit 1)" in program.log()


def test_the_command_line_says_how_many(stock: Stock, tmp_path: Path) -> None:
    """And workers are what their supervisor is, however it was started."""
    code = (
        "import sys; sys.argv += ['--workers', '2']; from smimefilter.cli import main; main()"
    )
    stock.copy_to(tmp_path)
    settings = shipped_settings(tmp_path, port=0, next_hop=1)
    with Program(tmp_path, settings, command=(sys.executable, "-c", code)) as program:
        (ready,) = program.events("ready")
        assert ready["workers"] == len(worker_pids(program)) == 2


def test_new_settings_while_mail_comes_in(crowd: PostOffice) -> None:
    """Every mail is taken, and not one connection refused."""
    program, port = crowd.program, crowd.program.port("smtp")
    old = worker_pids(program)
    with Load(port) as load:
        program.reload()
        program.wait_for_event("policies reloaded", number=2, timeout=60)
        for number, workers in enumerate((2, 3), start=1):
            change(crowd, hostname=f"number{number}.test", workers=workers)
            program.reload()
            program.wait_for_event("settings reloaded", number=number, timeout=120)
        program.wait_until(lambda: all(map(is_gone, old)), "the old ones to end", 60)
    assert load.sent
    assert len(crowd.sink.mails) == load.sent
    program.wait_until(lambda: len(worker_pids(program)) == 3, "the next ones to end", 60)
    assert program.events("worker ended") == []
    assert {b"by number2.test" in mail.content for mail in crowd.sink.mails} == {False, True}


def test_settings_that_cannot_work_change_nothing(
    crowd: PostOffice, free_port: Callable[[], int]
) -> None:
    port = free_port()
    program, before = crowd.program, worker_pids(crowd.program)
    refused = "settings not reloaded, the old ones stay"
    config = program.config.read_text()
    program.config.write_text("hostname: [\n")
    program.reload()
    (line,) = program.wait_for_event(refused)
    assert str(program.config) in line["error"]
    program.config.write_text(config)
    change(crowd, **{"master-key": "nowhere.key"}, metrics={"port": port}, listeners=[])
    program.reload()
    program.wait_for_event(refused, number=2, timeout=60)
    program.wait_until(lambda: program.states[-1] == "READY=1", "the end of it")
    assert worker_pids(program) == before
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)
    send(crowd, protocol="lmtp")
    kill(crowd, before[0])
    ready_again(program)  # by the settings that are in force, not by those in the file
    send(crowd)


def test_listeners_come_and_go_with_the_settings(
    crowd: PostOffice, free_port: Callable[[], int]
) -> None:
    port = free_port()
    change(crowd, listeners=[{"protocol": "smtp", "address": "127.0.0.1", "port": port}])
    crowd.program.reload()
    crowd.program.wait_for_event("settings reloaded", timeout=60)
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        assert client.ehlo()[0] == 250
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP("127.0.0.1", crowd.program.port("lmtp"), timeout=30)


def test_old_workers_end_as_well_when_it_is_told_to_stop(crowd: PostOffice) -> None:
    program = crowd.program
    old, client = worker_pids(program), smtplib.SMTP("127.0.0.1", program.port("smtp"))
    with ThreadPoolExecutor(1) as pool:
        crowd.sink.answer(Stage.CONTENT, "250 2.0.0 ok", delay=8)
        sent = pool.submit(client.sendmail, ALICE, [DAVE], letter(ALICE, DAVE))
        program.wait_until(lambda: "DATA" in crowd.sink.commands, "a mail")
        change(crowd, hostname="changed.test")
        program.reload()
        program.wait_for_event("settings reloaded", timeout=60)
        pids = {*old, *worker_pids(program)}
        assert program.stop() == 0
        assert sent.result() == {}
    client.close()
    assert all(map(is_gone, pids))


def test_mails_under_way_end_when_it_is_told_to_stop(crowd: PostOffice) -> None:
    crowd.sink.answer(Stage.CONTENT, "250 2.0.0 ok", delay=1)
    pids, port = worker_pids(crowd.program), crowd.program.port("smtp")

    def send_one(number: int) -> None:
        client = smtplib.SMTP("127.0.0.1", port, timeout=60)
        mail = letter(ALICE, DAVE, subject=f"number {number}")
        client.sendmail(ALICE, [DAVE], mail)  # raises where it is not taken
        client.close()

    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(send_one, number) for number in range(6)]
        crowd.program.wait_until(
            lambda: sum("DATA" in one for one in crowd.sink.commands) == 6, "six mails"
        )
        assert crowd.program.stop() == 0
        for one in sent:
            one.result()
    assert len(crowd.sink.mails) == 6
    assert all(map(is_gone, pids))
