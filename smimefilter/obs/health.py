"""How the filter is, for those who restart it or send it mail: beside the numbers, over HTTP.

    /health/live    200, or 503 when it does not even answer itself: start it anew
    /health/ready   200 "ready" or "degraded", or 503 "not ready": send it no mail

The body is JSON: `status`, and `checks` by name, each with `state` (good, degraded, bad) and
`why`. Degraded is what works on by what is in memory. There is nothing in it that a mail, a key
or an address could be known by.

Leaves what is checked to whoever makes it. Checks are asked from threads, so they only look.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any, Final

from smimefilter.flow.snapshots import Snapshots

GOOD: Final = "good"
DEGRADED: Final = "degraded"
BAD: Final = "bad"
ANSWERS_WITHIN: Final = 5.0  # seconds that the event loop has to say a word in
_LIVE: Final = "/health/live"
_READY: Final = "/health/ready"

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Checked:
    """How one thing is."""

    state: str = GOOD
    why: str = ""


Check = Callable[[], Checked]


class Health:
    """Answers for what is checked."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        """Who is ready is live as well."""
        self._live: Final = dict(live)
        self._ready: Final = {**live, **ready}

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether it lives, and the body that says so."""
        return _answer(self._live, "live", "not live")

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether it takes mail, and the body that says so."""
        return _answer(self._ready, "ready", "not ready")

    def beside(self, numbers: App) -> App:
        """A web application that has both pages, and all else from `numbers`."""
        pages = {_LIVE: self.live, _READY: self.ready}

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            page = pages.get(environ.get("PATH_INFO", ""))
            if page is None:
                return numbers(environ, start)
            good, body = page()
            content = json.dumps(body).encode() + b"\n"
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
            ]
            start("200 OK" if good else "503 Service Unavailable", headers)
            return [] if environ.get("REQUEST_METHOD") == "HEAD" else [content]

        return app


def answers(loop: asyncio.AbstractEventLoop, within: float = ANSWERS_WITHIN) -> Check:
    """Whether an event loop still turns; to be asked from another thread."""

    def check() -> Checked:
        asked = asyncio.sleep(0)
        try:
            asyncio.run_coroutine_threadsafe(asked, loop).result(within)
        except Late:
            return Checked(BAD, f"the event loop does not answer within {within:g} seconds")
        except RuntimeError:
            asked.close()
            return Checked(BAD, "the event loop has ended")
        return Checked()

    return check


def keeper(task: Callable[[], asyncio.Task[None] | None]) -> Check:
    """Whether what keeps the snapshots current is at it; it begins after the listeners."""

    def check() -> Checked:
        found = task()
        if found is not None and found.done():
            return Checked(BAD, "nothing keeps policies and certificates current")
        return Checked()

    return check


def listeners(named: Callable[[], Mapping[str, bool]]) -> Check:
    """Whether each of these listens."""

    def check() -> Checked:
        down = [name for name, listens in named().items() if not listens]
        return Checked(BAD, f"not listening: {', '.join(down)}") if down else Checked()

    return check


def snapshots(found: Snapshots) -> Check:
    """Whether there is a state that mails can be decided from."""
    return lambda: Checked() if found.is_loaded else Checked(BAD, "nothing is loaded yet")


def database(found: Snapshots) -> Check:
    """Whether the database can be read, or mails are decided from memory."""

    def check() -> Checked:
        trouble = found.store_trouble()
        return Checked(DEGRADED, f"going on from memory: {trouble}") if trouble else Checked()

    return check


def policies(found: Snapshots) -> Check:
    """Whether the policy files that are there are those that hold."""

    def check() -> Checked:
        if found.policies_refused:  # why names places that are nobody's here
            return Checked(DEGRADED, "the old policies hold: the log says what is wrong")
        return Checked()

    return check


def _answer(checks: Mapping[str, Check], good: str, bad: str) -> tuple[bool, dict[str, Any]]:
    found = {name: _asked(check) for name, check in checks.items()}
    states = {one.state for one in found.values()}
    status = bad if BAD in states else DEGRADED if DEGRADED in states else good
    body = {name: {"state": one.state, "why": one.why} for name, one in found.items()}
    return BAD not in states, {"status": status, "checks": body}


def _asked(check: Check) -> Checked:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a check that fails has not said that all is well
        return Checked(BAD, f"cannot be checked: {type(error).__name__}")
