"""Speaking to GlobalSign Atlas (HVCA): JSON over mutual TLS, under a token that we log in for.

A token is good for ten minutes; we log in again after nine, and when it is not taken. What is
read is asked for again while the service is busy (503) or not ready (202); what orders is
never sent twice here. Leaves what is asked, and what the answers mean, to `atlas.py` and
`atlas_account.py`. RFC 6750 (bearer tokens), RFC 9457 (problem+json).

Raises `HandlerTrouble`; of it `Busy` for "later", `Problem` for a refusal of the service.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from smimefilter.ports.handlers import HandlerTrouble

from .globalsign import Answer, Remote

TOKEN_LIFE: Final = timedelta(minutes=9)  # of ten
PAUSES: Final = (1.0, 2.0, 3.0, 4.0, 5.0)  # seconds between tries
_JSON: Final = "application/json;charset=utf-8"


class Busy(HandlerTrouble):
    """Not ready or too busy, which is said to be over soon. Nothing was done."""


class Problem(HandlerTrouble):
    """The service does not do what it was asked."""

    INPUT: ClassVar[frozenset[int]] = frozenset({400, 409, 411, 413, 415, 422})

    def __init__(self, status: int, description: str, *, is_its_own: bool) -> None:
        """`is_its_own`: the service says so, and not something in front of it."""
        super().__init__(f"Atlas says {status}: {description}")
        self.code = status
        self.description = description
        self.is_its_own = is_its_own

    @property
    def is_for_good(self) -> bool:
        """Whether the same request will never be taken."""
        return self.is_its_own and self.code in self.INPUT


class AtlasClient:
    """A session with the service."""

    def __init__(
        self, remote: Remote, api_key: str, api_secret: str, clock: Callable[[], datetime]
    ) -> None:
        self._remote = remote
        self._key = api_key
        self._secret = api_secret
        self._clock = clock
        self._token = self._hidden_token = ""
        self._token_ends = clock()
        remote.hide(api_key)
        remote.hide(api_secret)

    async def close(self) -> None:
        """Let go of connections."""
        await self._remote.close()

    async def login(self) -> None:
        """Have a token that is good for a while."""
        if self._token and self._clock() < self._token_ends:
            return
        asked_at = self._clock()
        body = json.dumps({"api_key": self._key, "api_secret": self._secret}).encode()
        answer = await self._remote.ask(
            "POST", "/login", body=body, headers={"Content-Type": _JSON}
        )
        if answer.status == 503:
            raise Busy("Atlas is busy")
        if answer.status in {401, 403, 422}:
            raise HandlerTrouble("Atlas does not take the API key and secret")
        if answer.status != 200:
            raise problem_of(answer)
        token = _dictionary(_parsed(answer)).get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise HandlerTrouble("the login to Atlas gave no token")
        self._remote.hide(token, instead_of=self._hidden_token)
        self._hidden_token = token
        self._token, self._token_ends = token, asked_at + TOKEN_LIFE

    async def read(self, path: str, *, patient: bool = True) -> tuple[Any, Mapping[str, str]]:
        """Whatever JSON is there, and the headers that came with it. Raises `Busy` when it is
        not ready, after some tries where that is to be waited for."""
        answer = await self.ask("GET", path)
        for pause in PAUSES if patient else ():
            if answer.status not in {202, 503}:
                break
            await asyncio.sleep(pause)
            answer = await self.ask("GET", path)
        if answer.status in {202, 503}:
            why = "not ready with it" if answer.status == 202 else "busy"
            raise Busy(f"Atlas is {why}")
        if answer.status != 200:
            raise problem_of(answer)
        return _parsed(answer), answer.headers

    async def ask(self, method: str, path: str, content: Any = None) -> Answer:
        """One request, whatever becomes of it; logged in, and again where the token is not
        taken any more (then nothing was done, and it is sent once more)."""
        await self.login()
        answer = await self._sent(method, path, content)
        if answer.status == 401:
            self._token = ""
            await self.login()
            answer = await self._sent(method, path, content)
        return answer

    async def _sent(self, method: str, path: str, content: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}"}
        body = None
        if content is not None:
            headers["Content-Type"] = _JSON
            body = json.dumps(content).encode()
        return await self._remote.ask(method, path, body=body, headers=headers)


def problem_of(answer: Answer) -> Problem:
    """What an answer with an error says."""
    try:
        found = _dictionary(_parsed(answer))
    except HandlerTrouble:
        found = {}
    words = [found.get("description")]
    errors = found.get("errors")
    if isinstance(errors, dict):
        words += [f"{name}: {why}" for name, why in errors.items()]
    text = answer.shown("; ".join(str(one) for one in words if one))
    is_its_own = "problem+json" in answer.headers.get("Content-Type", "").lower()
    return Problem(answer.status, text or "no more than that", is_its_own=is_its_own)


def total_count(headers: Mapping[str, str]) -> int:
    """Of a list that comes in pages; more than any, where it is not told."""
    told = headers.get("Total-Count", "")
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 10 else sys.maxsize


def _parsed(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise HandlerTrouble("the answer of Atlas is not JSON") from None


def _dictionary(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise HandlerTrouble("the answer of Atlas is not what was asked for")
    return found
