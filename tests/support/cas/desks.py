"""A desk for requests over a database, with a real handler that speaks to a service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from smimefilter.flow.requests import Handlers, RequestDesk
from smimefilter.flow.wanted import Wanted
from smimefilter.keys.master import MasterKey
from smimefilter.ports.handlers import Handler, Kind
from smimefilter.ports.requests import StoredRequest
from smimefilter.store.database import Database
from tests.support.pki import NOW
from tests.unit.flow.test_revalidation import Journal

MASTER = MasterKey(bytes(range(32)))
ALICE = Wanted(address="alice@in.test", common_name="Alice", key="rsa2048", days=90)


@dataclass
class Desk:
    """Requests for one kind of handler."""

    database: Database
    kind: Any
    settings: Mapping[str, Any]
    now: datetime = NOW
    journal: Journal = field(default_factory=Journal)

    def opened(self) -> Handler:
        """The handler, as the registry opens it."""
        settings = self.kind.settings.model_validate(dict(self.settings))
        return cast(Handler, self.kind.opened(settings, cast(Any, _Services(self))))

    def desk(self) -> RequestDesk:
        """As a process that was just started has it."""

        async def opened(_: str) -> Handler:
            return self.opened()

        kinds: Mapping[str, type[Kind]] = {"remote": self.kind}
        return RequestDesk(
            requests=self.database.requests,
            certificates=self.database.certificates,
            handlers=Handlers(lambda: kinds, opened),
            sealer=MASTER,
            clock=lambda: self.now,
            journal=self.journal,
            finish=lambda _: (),
            chance=lambda: 0.0,
        )

    async def ask(self, wanted: Wanted = ALICE) -> StoredRequest:
        """Request a certificate; how that goes."""
        desk = self.desk()
        (stored,) = await desk.submit([wanted], "remote")
        (done,) = await desk.work([stored.id])
        return done

    async def again(self, request: StoredRequest) -> StoredRequest:
        """The same, when it is its turn."""
        self.now = max(self.now, (await self.desk().find(request.id)).due)
        (done,) = await self.desk().work([request.id])
        return done

    async def state(self, request: StoredRequest) -> Mapping[str, Any]:
        """What the handler had remembered."""
        stored = await self.desk().find(request.id)
        return self.desk()._opened(stored).state or {}


@asynccontextmanager
async def closing(handler: Handler) -> AsyncIterator[Handler]:
    """A handler, closed at the end."""
    try:
        yield handler
    finally:
        await handler.close()


class Died(BaseException):
    """Like kill -9."""


def deadly(real: Callable[..., Any], at: int, when: str) -> Callable[..., Any]:
    """`real`, which dies before or after it is called for the time `at`."""
    number = 0

    async def called(*args: Any, **more: Any) -> Any:
        nonlocal number
        number += 1
        if (number, when) == (at, "before"):
            raise Died
        answer = await real(*args, **more)
        if (number, when) == (at, "after"):
            raise Died
        return answer

    return called


class _Services:
    def __init__(self, desk: Desk) -> None:
        self.clock = lambda: desk.now
