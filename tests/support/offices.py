"""A certificate authority over a database, with a handler that does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, cast

from pydantic import BaseModel

from smimefilter.flow.authority import AuthorityDesk
from smimefilter.flow.new_authority import NewAuthority
from smimefilter.flow.requests import Done, Handlers, RequestDesk, Step
from smimefilter.keys.master import MasterKey
from smimefilter.keys.wrapped import KeyVault
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.ports.handlers import Empty, Order, Outcome, Remember
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from smimefilter.trust.ctl import TrustList
from smimefilter.trust.engine import judge
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.verdict import Purpose, TrustRules, Verdict
from tests.support.pki import NOW
from tests.unit.flow.test_revalidation import Journal

MASTER = MasterKey(bytes(range(32)))
Answer = Callable[[Order, Remember], Any]


class Told:
    """A handler that answers as it is told; downloads and uploads."""

    title: ClassVar[str] = "told"
    settings: ClassVar[type[BaseModel]] = Empty
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = True
    can_upload: ClassVar[bool] = True

    def __init__(self, answer: Answer, orders: list[Order]) -> None:
        self._answer = answer
        self._orders = orders

    @classmethod
    def opened(cls, settings: Any, services: Any) -> Told:
        raise NotImplementedError

    async def request(self, order: Order, remember: Remember) -> Outcome:
        self._orders.append(order)
        return cast(Outcome, await self._answer(order, remember))

    async def test(self) -> str:
        return "told"

    async def close(self) -> None:
        pass


@dataclass
class Office:
    """Desks over a database; `answer` is what the handler does."""

    database: Database
    answer: Answer = None  # type: ignore[assignment]
    steps: Callable[[Done], Sequence[Step]] = lambda _: ()
    now: datetime = NOW
    orders: list[Order] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        database = self.database
        self.authority = AuthorityDesk(
            authorities=database.authorities,
            certificates=database.certificates,
            crls=database.crls,
            sealer=MASTER,
            unwrapped=KeyVault(MASTER).unwrapped,
            clock=lambda: self.now,
            crl_days=lambda: 7,
            digest=lambda: "sha256",
            judge=self.judged,
            journal=self.journal,
        )
        if self.answer is None:
            self.answer = self.built_in
        self.desk = self.another_desk()

    def another_desk(self) -> RequestDesk:
        """As another process, or this one started again, has it."""

        async def opened(_: str) -> Told:
            return Told(self.answer, self.orders)

        kinds: Mapping[str, Any] = {"told": Told}
        return RequestDesk(
            requests=self.database.requests,
            certificates=self.database.certificates,
            handlers=Handlers(lambda: kinds, cast(Any, opened)),
            sealer=MASTER,
            clock=lambda: self.now,
            journal=self.journal,
            finish=self._left,
            chance=lambda: 0.0,
        )

    def _left(self, done: Done) -> Sequence[Step]:
        return self.steps(done)

    async def built_in(self, order: Order, _: Remember) -> Outcome:
        return await self.authority.issue(order)

    async def judged(self, certificate: Certificate) -> Verdict:
        """What is in the database says of it."""
        store = await self.database.states.load()
        known = Knowledge(
            roots=[e.certificate for e in store.certificates if e.shelf is Shelf.ROOTS],
            authorities=[
                e.certificate for e in store.certificates if e.shelf is Shelf.CERTIFICATES
            ],
            crls=[Crl.read(entry.der) for entry in store.crls],
            trust_list=TrustList(store.trust_list),
        )
        return judge(certificate, Purpose.ANY, self.now, TrustRules(), known)

    async def with_ca(self, **special: Any) -> Office:
        """With a root and an intermediate."""
        wanted = {"root_name": "Office Root", "name": "Office CA", "key": "p256"} | special
        await self.authority.create(NewAuthority(**wanted))
        return self
