"""What the flows ask of the database for the certificate authority, and the values of it.

A request is one row from the moment it is made: its private key is stored, wrapped, before
anybody is asked for a certificate, and what was issued is stored together with its key and the
request's end in one transaction. Who works on a request has it by a lease, and writes to it
only as long as it is his.

All methods may raise `StoreTrouble`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from smimefilter.pki.certificate import Certificate
from smimefilter.plan.challenge import AwaitedMail, ChallengeMail

from .audit import AuditRecord
from .stores import WrappedKey

REQUEST_SECRETS = "request"  # purpose of a request's sealed secrets; their name is its id
HANDLER_SETTINGS = "handler"  # of a handler's; their name is the handler's


class RequestState(StrEnum):
    """How far a request is."""

    PENDING = "pending"
    ISSUED = "issued"
    REFUSED = "refused"
    GIVEN_UP = "given-up"


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request as it is stored."""

    id: str  # 32 hex digits
    handler: str
    address: str  # key
    fields: Mapping[str, object]  # what is asked for, as JSON carries it
    secrets: bytes | None  # wrapped
    created: datetime
    due: datetime
    give_up: datetime
    state: RequestState = RequestState.PENDING
    tries: int = 0
    outcome: str = ""
    thumbprint: str = ""
    batch: str = ""
    position: int = 0
    leased: bool = False  # somebody works on it

    def __repr__(self) -> str:
        return f"<StoredRequest {self.id} {self.state} of {self.address}>"


class Requests(Protocol):
    """Requests for certificates."""

    async def add(
        self, requests: Sequence[StoredRequest], records: Sequence[AuditRecord]
    ) -> list[StoredRequest]:
        """Store those whose ids are not there yet, all or nothing, with what is noted of
        them; which they are."""

    async def claim(
        self,
        now: datetime,
        until: datetime,
        most: int,
        ids: Collection[str] | None = None,
        *,
        states: Collection[RequestState] = (RequestState.PENDING,),
    ) -> tuple[str, list[StoredRequest]]:
        """Up to `most` pending ones that are due, or of these whether due or not, that nobody
        has; and the lease by which they are ours. `states`: also such as have ended."""

    async def keep(
        self,
        lease: str,
        request: StoredRequest,
        records: Sequence[AuditRecord] = (),
        *,
        until: datetime | None = None,
    ) -> bool:
        """Store how far it is, and keep it, `until` then if a time is given; False where the
        lease is another one's by now."""

    async def settle(
        self,
        lease: str,
        request: StoredRequest,
        records: Sequence[AuditRecord] = (),
        *,
        certificates: Sequence[Certificate] = (),
        keys: Sequence[WrappedKey] = (),
    ) -> bool:
        """Store how it went and let go of it, with what was issued, at once."""

    async def reschedule(
        self,
        ids: Collection[str],
        now: datetime,
        give_up: datetime,
        records: Sequence[AuditRecord],
    ) -> int:
        """Make pending ones due now, and those that were given up pending until another day;
        how many."""

    async def remove(
        self, ids: Collection[str], now: datetime, records: Sequence[AuditRecord]
    ) -> int:
        """Forget those that nobody works on; how many."""

    async def find(self, id_: str) -> list[StoredRequest]:
        """Those whose id begins so."""

    async def all(
        self,
        states: Collection[RequestState] = (),
        *,
        batch: str | None = None,
        address: str | None = None,
        since: datetime | None = None,
    ) -> list[StoredRequest]:
        """In these states, of a batch, for an address, made since then, oldest first; all
        without."""


@dataclass(frozen=True, slots=True)
class StoredAuthority:
    """A CA of ours."""

    thumbprint: str  # of the certificate it signs with
    is_default: bool
    crl_number: int
    created: datetime


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate that a CA of ours issued, or a serial that it revoked."""

    authority: str
    serial: int
    request: str = ""
    der: bytes | None = None
    revoked: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewCrl:
    """A CRL that a CA of ours made, and what it takes the place of."""

    authority: str
    number: int
    der: bytes
    origin: str
    superseded: Collection[str] = field(default_factory=tuple)  # SHA-256


class Authorities(Protocol):
    """CAs of ours."""

    async def create(
        self,
        authorities: Sequence[StoredAuthority],
        *,
        roots: Sequence[Certificate],
        certificates: Sequence[Certificate],
        keys: Sequence[WrappedKey],
        crls: Sequence[NewCrl],
        origin: str,
        records: Sequence[AuditRecord],
    ) -> None:
        """Store new CAs with all that belongs to them, at once."""

    async def all(self) -> list[StoredAuthority]:
        """All, oldest first."""

    async def make_default(self, thumbprint: str, records: Sequence[AuditRecord]) -> bool:
        """Whether there is such a CA."""

    async def issued_for(self, request: str) -> list[IssuedCertificate]:
        """What was issued for a request already."""

    async def record(
        self, issued: IssuedCertificate, same: Callable[[IssuedCertificate], bool]
    ) -> IssuedCertificate:
        """Note a certificate before anybody gets it; or what was noted for its request
        before and is the `same`, which counts then."""

    async def find(self, authority: str, serial: int) -> IssuedCertificate | None:
        """One by its serial."""

    async def revoked(self, authority: str) -> list[IssuedCertificate]:
        """All that a CA revoked."""

    async def issued(self, authority: str) -> list[IssuedCertificate]:
        """All that a CA issued."""

    async def revoke(
        self,
        revoked: Sequence[IssuedCertificate],
        crl: NewCrl,
        records: Sequence[AuditRecord],
        *,
        restored: Collection[int] = (),
        fallen: Collection[str] = (),
    ) -> bool:
        """Revoke these and store the CRL that says so, at once; False, and nothing is done,
        where another CRL of that number was made meanwhile. `restored`: serial numbers that
        are revoked no longer; `fallen`: CAs, by thumbprint, that are the default no longer."""

    async def forget_key(self, thumbprint: str, records: Sequence[AuditRecord]) -> bool:
        """Take the private key of a CA away, and leave all else; whether it was there."""


class HandlerSettings(Protocol):
    """Settings of request handlers, wrapped."""

    async def put(self, name: str, settings: bytes, records: Sequence[AuditRecord]) -> None:
        """Set or replace."""

    async def get(self, name: str) -> bytes | None:
        """Those of one handler."""

    async def all(self) -> dict[str, bytes]:
        """All, by name."""

    async def add(self, name: str, settings: bytes) -> bytes:
        """Set what is not set yet; what is set then."""


class ChallengeMails(Protocol):
    """Challenge mails that requests wait for, and those that came."""

    async def expect(self, request: str, awaited: AwaitedMail | None) -> bool:
        """What a request waits for; None: nothing, and what came for it is forgotten. False,
        and nothing is done, where another pending request for its address waits already: by a
        mail alone one cannot be told from the other."""

    async def waiting(self, address: str) -> dict[str, AwaitedMail]:
        """What pending requests for an address wait for, by their ids."""

    async def add(self, request: str, mail: ChallengeMail, now: datetime) -> bool:
        """Keep one that came for a request, and make that due; False where it is not kept,
        because there are too many already, or the request has ended."""

    async def of(self, request: str) -> list[ChallengeMail]:
        """Those that came for a request, oldest first."""
