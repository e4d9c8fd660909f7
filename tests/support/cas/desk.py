"""Requests through the whole of the desk, over a real store, with one handler."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from smimefilter.flow.requests import Handlers, RequestDesk
from smimefilter.flow.wanted import Wanted
from smimefilter.keys.master import MasterKey
from smimefilter.pki.build import generate_key
from smimefilter.pki.request import make_csr
from smimefilter.ports.handlers import Handler, Kind, Order
from smimefilter.ports.requests import StoredRequest
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.support.pki import NOW, key_of

ALICE = "alice@example.com"
MASTER = MasterKey(bytes(32))


@dataclass
class Services:
    """What a handler may use."""

    now: datetime = NOW
    issuing: Any = None

    def clock(self) -> datetime:
        return self.now


class Memory:
    """`remember`, and what it was given."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    async def __call__(self, state: Any) -> None:
        self.states.append(dict(state))

    @property
    def last(self) -> dict[str, Any]:
        return self.states[-1] if self.states else {}


def order(state: Any = None, *, id_: str = "0a" * 16, address: str = ALICE) -> Order:
    """Alice's order."""
    csr = make_csr(key_of("p256", "Alice"), address=address, common_name="Alice Example")
    return Order(
        id=id_,
        address=address,
        common_name="Alice Example",
        organisation="",
        given_name="",
        surname="",
        csr=csr,
        days=365,
        digest="sha256",
        crl_url="",
        now=NOW,
        state=state or {},
    )


@dataclass
class Journal:
    """Keeps what it is told."""

    told: list[tuple[str, Any]] = field(default_factory=list)

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        self.told.append((what, error))

    def warn(self, event: str, **about: object) -> None:
        self.told.append((event, about))

    def note(self, event: str, **about: object) -> None:
        self.told.append((event, about))

    def mail(self, record: Any) -> None:
        raise AssertionError


class Desk:
    """A desk with one handler, and a clock that is turned by hand."""

    def __init__(self, database: Database, kind: type[Kind], settings: Any) -> None:
        self.services = Services()
        self.journal = Journal()
        self.database = database
        self.settings = settings  # those of the next time that the handler is opened

        async def opened(name: str) -> Handler:
            return kind.opened(self.settings, self.services)

        def finish(*done: Any) -> Any:
            raise AssertionError("nothing is left to do")

        self.desk = RequestDesk(
            requests=database.requests,
            certificates=database.certificates,
            handlers=Handlers(lambda: {"it": kind}, opened),
            sealer=MASTER,
            clock=self.services.clock,
            journal=self.journal,
            finish=finish,
            chance=lambda: 0.0,
        )

    async def request(self) -> StoredRequest:
        """A new request for Alice, worked on once."""
        wanted = Wanted(address=ALICE, common_name="Alice Example", key="p256")
        (stored,) = await self.desk.submit([wanted], "it")
        return await self.again(stored)

    async def again(self, request: StoredRequest) -> StoredRequest:
        """The same, worked on again an hour later."""
        self.services.now += timedelta(hours=1)
        (worked,) = await self.desk.work([request.id])
        return worked

    async def stored(self) -> list[Any]:
        """All certificates in the store."""
        entries = await self.database.certificates.all(Shelf.CERTIFICATES)
        return [one.certificate for one in entries]


def other_key() -> Any:
    """A public key that nobody asked a certificate for."""
    return generate_key("p256").public_key()
