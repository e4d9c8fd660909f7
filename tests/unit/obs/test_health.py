"""Alive, ready, degraded: what is said of the filter, and by which status."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from smimefilter.obs import health
from smimefilter.obs.health import BAD, DEGRADED, Checked, Health


def says(state: str = "good", why: str = "") -> health.Check:
    return lambda: Checked(state, why)


def fails() -> Checked:
    raise ValueError("secret")


@pytest.mark.parametrize(
    ("live", "ready", "status", "is_live", "is_ready"),
    [
        (says(), says(), "ready", True, True),
        (says(), says(DEGRADED, "x"), "degraded", True, True),
        (says(), says(BAD, "x"), "not ready", True, False),
        (says(BAD, "x"), says(), "not ready", False, False),
        (says(BAD, "x"), says(DEGRADED, "x"), "not ready", False, False),
        (says(), fails, "not ready", True, False),
    ],
)
def test_what_is_said(
    live: health.Check, ready: health.Check, status: str, is_live: bool, is_ready: bool
) -> None:
    sut = Health({"loop": live}, {"database": ready})
    good, body = sut.ready()
    assert (good, body["status"]) == (is_ready, status)
    assert set(body["checks"]) == {"loop", "database"}
    assert "secret" not in str(body)
    good, body = sut.live()
    assert (good, body["status"]) == (is_live, "live" if is_live else "not live")
    assert set(body["checks"]) == {"loop"}


def asked(app: health.App, path: str, method: str = "GET") -> tuple[str, bytes]:
    said: list[Any] = []
    environ = {"PATH_INFO": path, "REQUEST_METHOD": method}
    content = b"".join(app(environ, lambda status, _headers: said.append(status)))
    return said[0], content


def test_pages_beside_the_numbers() -> None:
    def numbers(_environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"numbers"]

    app = Health({}, {"x": says(BAD, "not yet")}).beside(numbers)
    assert asked(app, "/metrics") == ("200 OK", b"numbers")
    assert asked(app, "/health/live")[0] == "200 OK"
    status, content = asked(app, "/health/ready")
    assert status == "503 Service Unavailable"
    assert b'{"state": "bad", "why": "not yet"}' in content
    assert asked(app, "/health/ready", "HEAD")[1] == b""


async def test_an_event_loop_that_turns() -> None:
    check = health.answers(asyncio.get_running_loop())
    assert await asyncio.to_thread(check) == Checked()


def test_an_event_loop_that_hangs_or_has_ended() -> None:
    loop, going_on = asyncio.new_event_loop(), threading.Event()
    loop.call_soon(going_on.wait)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert "does not answer" in health.answers(loop, within=0.01)().why
    going_on.set()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(asyncio.sleep(0))  # what was asked meanwhile
    loop.close()
    assert health.answers(loop)().why == "the event loop has ended"


async def test_a_keeper_that_ended() -> None:
    assert health.keeper(lambda: None)() == Checked()
    task = asyncio.create_task(asyncio.sleep(0))
    assert health.keeper(lambda: task)() == Checked()
    await task
    assert health.keeper(lambda: task)().state == BAD


def test_listeners() -> None:
    assert health.listeners(lambda: {"lmtp": True})() == Checked()
    down = health.listeners(lambda: {"lmtp": True, "smtp": False})()
    assert (down.state, down.why) == (BAD, "not listening: smtp")
