"""What supervisor and workers tell each other, and what each of them has."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from smimefilter.base.errors import AdminError
from smimefilter.config import Config, NextHop, shared
from smimefilter.smtp.sockets import listening
from smimefilter.workers.assignment import VARIABLE, Assignment, inherited, read_assignment
from smimefilter.workers.contact import RELOAD, Contact
from smimefilter.workers.crew import LONGEST_WAIT, _wait, called
from smimefilter.workers.sockets import Door, Doors
from smimefilter.workers.supervisor import Work
from tests.support.ports import ReservedPort


def door(port: int = 0) -> Door:
    return Door("smtp", "127.0.0.1", port, lambda: listening("127.0.0.1", port, "smtp"))


def test_an_assignment_arrives_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Assignment(
        name="s.yaml", text="näme: x\n" * 50_000, number=2, sockets=((3,), (4, 5)), of=3
    )
    ours, theirs = socket.socketpair()
    monkeypatch.setenv(VARIABLE, str(theirs.detach()))
    with ours:
        saying = Thread(target=ours.sendall, args=(given.line() + RELOAD,))
        saying.start()  # more than a socket holds
        found = read_assignment()
        saying.join()
        assert found is not None
        assignment, line = found
        assert assignment == given
        assert not assignment.leads
        assert line.recv(100) == RELOAD  # is left for whoever listens then
        line.close()
    assert VARIABLE not in os.environ
    assert read_assignment() is None


@pytest.mark.parametrize("number", ["x", "999", "-1"])
def test_no_supervisor_there(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, number)
    with pytest.raises(AdminError, match="no supervisor there"):
        read_assignment()


def test_settings_are_in_no_repr() -> None:
    assert "hidden" not in repr(Assignment(text="hidden"))
    assert "hidden" not in repr(Work("s.yaml", "hidden", 2, (), None))


async def test_a_worker_hears_its_supervisor_until_that_is_gone() -> None:
    ours, theirs = socket.socketpair()
    contact, heard = Contact(Assignment(), theirs), []

    async def reload() -> None:
        heard.append("reload")

    hearing = asyncio.create_task(contact.hear({RELOAD: reload}))
    contact.ready()
    assert ours.recv(100) == b"ready\n"
    ours.sendall(b"what?\n" + RELOAD + RELOAD)
    ours.close()
    await asyncio.wait_for(hearing, 10)
    assert heard == ["reload", "reload"]
    contact.alive()  # to nobody
    theirs.close()


def test_doors_stay_open_as_long_as_they_are_named() -> None:
    sut, any_port = Doors(), [door(), door()]
    before = sut.open(any_port)
    assert len({one.getsockname() for (one,) in before}) == 2
    assert sut.open(any_port) == before
    assert sut.open([door()]) == before[:1]
    with ReservedPort() as taken:
        more = sut.open([door(), door(), door(taken.number)])
        assert more[:2] == before
        assert [one.fileno() == -1 for (one,) in more] == [False] * 3
        sut.keep([door(taken.number)])
        assert [one.fileno() == -1 for (one,) in more] == [True, True, False]
        sut.close()


def test_where_one_cannot_be_opened_none_is() -> None:
    sut = Doors()
    with socket.create_server(("127.0.0.1", 0)) as other, ReservedPort() as free:
        taken = other.getsockname()[1]
        with pytest.raises(AdminError, match=r"cannot listen for smtp: .* in use"):
            sut.open([door(free.number), door(taken)])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", free.number))


def test_inherited_sockets_go_no_further() -> None:
    (one,) = listening("127.0.0.1", 0, "smtp")
    (found,) = inherited([one.detach()])
    assert not found.get_inheritable()
    found.close()


def test_waits_double_from_the_second_end_on() -> None:
    assert [_wait(soon) for soon in range(6)] == [0, 0, 1, 2, 4, 8]
    assert _wait(1000) == LONGEST_WAIT


def test_how_a_process_ended() -> None:
    assert [called(one) for one in (0, 3, -signal.SIGKILL, -250)] == [
        "exit 0",
        "exit 3",
        "SIGKILL",
        "signal 250",
    ]


@pytest.mark.parametrize(("workers", "share"), [(1, 20), (3, 7), (64, 1)])
def test_connections_to_next_hops_are_shared_out(workers: int, share: int) -> None:
    config = Config(next_hops={"inside": NextHop(connections=20)}, policies=Path("p"))
    found: Any = shared(config, workers)
    assert found.next_hop.connections == found.next_hops["inside"].connections == share
    assert found.policies == config.policies
