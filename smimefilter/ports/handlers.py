"""What request handlers are: plug-ins that get a certificate for a key from some CA.

A handler is a class with a `Kind`, registered under the entry point group
`smimefilter.handlers` by its name. It is opened with its settings (a pydantic model that it
declares; secrets in it are `SecretStr`) and with the services it may use, and asked with an
`Order`. It answers at once, or says that it takes longer: then it is asked again, with what it
wanted remembered. It keeps nothing itself.

An order has an id that stays the same however often it is asked for: a handler gives it to its
CA where that knows such a thing, or looks whether the CA has the order already, before it
orders. Whatever it gives is checked by who asked: the key, the address, the validity.

A handler raises `HandlerTrouble` for what may be over later; a refusal for good is an outcome.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Protocol

from pydantic import BaseModel

from smimefilter.base.errors import TemporaryTrouble
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.challenge import AwaitedMail, ChallengeMail

GROUP: Final = "smimefilter.handlers"


class HandlerTrouble(TemporaryTrouble):
    """A CA cannot be reached, or does not answer as it should; says what, without secrets."""

    public: ClassVar[str] = "certificate authority not available"


@dataclass(frozen=True, slots=True)
class Order:
    """A certificate that is wanted."""

    id: str  # 32 hex digits: of the request, the same each time
    address: str
    common_name: str
    organisation: str
    given_name: str
    surname: str
    csr: bytes  # PKCS#10, DER; signed by the key that the certificate is for
    days: int  # of validity
    digest: str  # sha256, sha384, sha512
    crl_url: str  # to be in the certificate, where the handler has a say in that
    now: datetime
    issuer_url: str = ""  # caIssuers, likewise
    # what it wanted remembered
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # data and digest to a signature by the key that the certificate is for (PKCS #1 v1.5,
    # ECDSA as DER, EdDSA), for CAs to which the CSR is not proof enough
    sign: Callable[[bytes, str], bytes] | None = field(default=None, repr=False, compare=False)
    # why a certificate will be refused; empty where it will not
    flaw: Callable[[Certificate], str] = field(default=lambda _: "", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """Here it is, and what is above it, as far as the CA gave that."""

    certificate: Certificate
    chain: tuple[Certificate, ...] = ()
    key: bytes | None = field(default=None, repr=False)  # PKCS#8, where the CA made another one


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet. `state` is given back with the next call; JSON, and kept wrapped. None: that
    which is kept stays."""

    note: str  # for people
    state: Mapping[str, Any] | None = field(default=None, repr=False)
    again: timedelta | None = None  # not before; None: as the queue has it


@dataclass(frozen=True, slots=True)
class NotIssued:
    """Never, and why."""

    reason: str


Outcome = Issued | Later | NotIssued
Remember = Callable[[Mapping[str, Any]], Awaitable[None]]


class Handler(Protocol):
    """A request handler, opened."""

    async def request(self, order: Order, remember: Remember) -> Outcome:
        """Ask for a certificate, or how it stands. What must survive a crash right after it
        was done at the CA (an order number) is given to `remember` before anything else.
        Raises `HandlerTrouble`."""

    async def test(self) -> str:
        """Whether it can work, in one line. Raises `HandlerTrouble`."""

    async def close(self) -> None:
        """Let go of connections."""


class Services(Protocol):
    """What a handler may use of the gateway."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time, UTC."""

    @property
    def issuing(self) -> Issuing:
        """The CAs of the gateway itself."""

    @property
    def challenges(self) -> Challenges:
        """Mails by which a CA looks whether an address is read."""

    @property
    def vault(self) -> Vault:
        """What handlers keep beside their settings."""


class Issuing(Protocol):
    """The built-in CA, for the handler that uses it."""

    async def issue(self, order: Order) -> Issued | NotIssued:
        """Issue, or give again what was issued for the order before."""

    async def test(self) -> str:
        """Whether there is a CA that can issue. Raises `HandlerTrouble`."""


class Challenges(Protocol):
    """Challenge mails: waited for by orders, found by the filter, answered by handlers. An
    order is named by its id."""

    async def expect(self, order: str, awaited: AwaitedMail | None) -> bool:
        """Look out for this from now on; None: no longer, and forget what came. False where
        another order for the address waits already: nothing is to be ordered then."""

    async def arrived(self, order: str) -> list[ChallengeMail]:
        """What came for it so far, oldest first."""

    async def answer(self, address: str, mail: ChallengeMail, text: str) -> None:
        """Send the answer to one, from this address. Raises `HandlerTrouble`."""


class Vault(Protocol):
    """Secrets that are made once, shared by all nodes, and kept wrapped."""

    async def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The secret of this name (64 characters at the most); made if there is none."""


class Empty(BaseModel):
    """Settings of a handler that has none."""


class Kind(Protocol):
    """The class of a handler."""

    title: ClassVar[str]
    settings: ClassVar[type[BaseModel]]
    answers_later: ClassVar[bool]  # its outcome may be `Later`
    can_download: ClassVar[bool]  # people take the CSR to the CA
    can_upload: ClassVar[bool]  # and bring the certificate back

    @classmethod
    def opened(cls, settings: Any, services: Services) -> Handler:
        """A handler with these settings."""
