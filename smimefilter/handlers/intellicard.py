"""Certificates from Intellicard EPKI. NOT VERIFIED: the wire protocol is not public.

What is known are the settings of an account: a customer number, the name of the CA, and a
PKCS#12 file with its password for mutual TLS. What is spoken here with these is a profile of
our own, HTTP with PKCS#10, told in `docs/handlers/intellicard.md`. A site with an account
adjusts this file and nothing else: `_place`, `_order` and `_outcome` are all that knows the
wire.

An order is a resource that is named by us, so to put it twice is to put it once; it is looked
at before it is put again all the same.

Leaves TLS, limits and the reading of certificates to `remote.py`, checking what was issued to
`flow/requests.py`. RFC 9110, RFC 5967 (application/pkcs10). Raises `HandlerTrouble`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final, Self
from urllib.parse import quote

from cryptography import x509
from pydantic import BaseModel, Field, field_validator

from smimefilter.pki.request import Csr, read_csr
from smimefilter.ports.handlers import (
    HandlerTrouble,
    Later,
    NotIssued,
    Order,
    Outcome,
    Remember,
    Services,
)

from .remote import (
    Answer,
    HttpsUrl,
    Link,
    MutualTls,
    NotDone,
    certificates_in,
    chosen,
    mutual_link,
)

CERTIFICATES: Final = "application/pkcs7-mime, application/x-pem-file, application/pkix-cert"
AGAIN: Final = timedelta(minutes=15)  # where the CA says nothing else
SOONEST, LATEST = timedelta(minutes=1), timedelta(days=1)
_REFUSED: Final = frozenset({400, 409, 410, 413, 422})


class IntellicardSettings(MutualTls):
    """An account."""

    url: HttpsUrl = Field(description="Of the service, as the CA gave it.")
    customer_id: str = Field(
        min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$", description="Your number."
    )
    ca_dn: str = Field(description="The name of the CA: CN=Example CA,O=Example,C=DE")

    @field_validator("ca_dn")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        try:
            name = x509.Name.from_rfc4514_string(text)
        except ValueError:
            raise ValueError("should be a name such as CN=Example CA,O=Example,C=DE") from None
        if not list(name):
            raise ValueError("should not be empty")
        return text


class Intellicard:
    """Asks Intellicard."""

    title: ClassVar[str] = "Intellicard EPKI (not verified)"
    settings: ClassVar[type[BaseModel]] = IntellicardSettings
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = False
    can_upload: ClassVar[bool] = False

    def __init__(self, settings: IntellicardSettings, link: Link) -> None:
        self._settings = settings
        self._link = link

    @classmethod
    def opened(cls, settings: IntellicardSettings, services: Services) -> Self:  # noqa: ARG003
        """A handler. Raises `HandlerTrouble` for credentials that do not do."""
        return cls(settings, mutual_link(settings.url, settings))

    async def request(self, order: Order, remember: Remember) -> Outcome:
        """Ask for a certificate, or how it stands."""
        csr = read_csr(order.csr)
        if order.state:
            answer = await self._link.ask(
                "GET", self._place(order), accept=CERTIFICATES, repeat=True
            )
            if answer.status != 404:  # it is there
                return self._outcome(answer, csr)
        else:
            await remember({"ordered": True})
        try:
            return self._outcome(await self._order(order), csr)
        except NotDone:
            await remember({})
            raise

    async def test(self) -> str:
        """Whether the service takes us."""
        answer = await self._link.ask("GET", self._account, repeat=True)
        if answer.status != 200:
            raise self._link.trouble(answer, _text(answer))
        return f"the service answers, and knows customer {self._settings.customer_id}"

    async def close(self) -> None:
        """Let go of connections."""
        await self._link.close()

    # the wire

    @property
    def _account(self) -> str:
        return f"/customers/{quote(self._settings.customer_id, safe='')}"

    def _place(self, order: Order) -> str:
        return f"{self._account}/orders/{order.id}"

    async def _order(self, order: Order) -> Answer:
        return await self._link.ask(
            "PUT",
            self._place(order),
            order.csr,
            content_type="application/pkcs10",
            accept=CERTIFICATES,
            query={
                "ca": self._settings.ca_dn,
                "address": order.address,
                "days": str(order.days),
            },
            repeat=True,
        )

    def _outcome(self, answer: Answer, csr: Csr) -> Outcome:
        if answer.status in {200, 201}:
            issued = chosen(certificates_in(answer.body), csr)
            if issued is None:
                raise HandlerTrouble("the answer holds the certificate of a CA, none of a user")
            return issued
        if answer.status == 202:
            said = timedelta(seconds=answer.retry_after)
            again = min(max(said, SOONEST), LATEST) if said else AGAIN
            return Later("in work at the CA", {"ordered": True}, again)
        said_why = self._link.shown(_text(answer)) or f"HTTP {answer.status}"
        if answer.status in _REFUSED:
            return NotIssued(f"the CA refuses: {said_why}")
        raise self._link.trouble(answer, _text(answer))


def _text(answer: Answer) -> str:
    if answer.content_type != "text/plain":
        return ""
    return answer.body[:4096].decode("utf-8", "replace")
