"""Certificates from EJBCA by its REST interface, as a registration authority.

An order is the end entity `smimefilter-` and the order's id, so that one order is never two.
Its password is made up here and remembered before EJBCA is asked. When it is not known how an
earlier call ended, what EJBCA issued to the end entity is looked up before it is asked again.
Where somebody has to approve, the number of that request is remembered, and it is finalised
when it is approved.

What is refused: 400 (input, profile, an approval that was denied or expired), 409, 413, 422.
What may be over later: 401, 403 and 404 (rights and names are a matter of set-up), 429, 5xx.

Leaves TLS, limits and the reading of certificates to `remote.py`, checking what was issued to
`flow/requests.py`. The validity of a certificate is that of its profile at EJBCA. Raises
`HandlerTrouble`.
"""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

from pydantic import BaseModel, Field

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.request import Csr, csr_pem, read_csr
from smimefilter.ports.handlers import (
    HandlerTrouble,
    Issued,
    Later,
    NotIssued,
    Order,
    Outcome,
    Remember,
    Services,
)

from .remote import (
    LONGEST_CHAIN,
    Answer,
    HttpsUrl,
    Link,
    MutualTls,
    NotDone,
    certificates_in,
    chosen,
    mutual_link,
)

APPROVAL: Final = timedelta(minutes=15)  # between looks whether people have approved
_CERTIFICATE: Final = "/v1/certificate"
_REFUSED: Final = frozenset({400, 409, 413, 422})


class EjbcaSettings(MutualTls):
    """How EJBCA is reached, and what it is to issue."""

    url: HttpsUrl = Field(
        description="Of the REST interface: https://HOST:8443/ejbca/ejbca-rest-api"
    )
    certificate_authority: str = Field(min_length=1, description="The name of the CA.")
    certificate_profile: str = Field(min_length=1, description="The certificate profile.")
    end_entity_profile: str = Field(min_length=1, description="The end entity profile.")


class _Enrolled(BaseModel):
    certificate: str
    certificate_chain: list[str] | None = None


class _Waits(BaseModel):
    request_id: int


class _Refusal(BaseModel):
    error_message: str | None = None


class _Found(BaseModel):
    certificates: list[_Enrolled] = []


class _Authority(BaseModel):
    name: str


class _Authorities(BaseModel):
    certificate_authorities: list[_Authority]


class Ejbca:
    """Asks EJBCA."""

    title: ClassVar[str] = "EJBCA (REST)"
    settings: ClassVar[type[BaseModel]] = EjbcaSettings
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = False
    can_upload: ClassVar[bool] = False

    def __init__(self, settings: EjbcaSettings, link: Link) -> None:
        self._settings = settings
        self._link = link

    @classmethod
    def opened(cls, settings: EjbcaSettings, services: Services) -> Self:  # noqa: ARG003
        """A handler. Raises `HandlerTrouble` for credentials that do not do."""
        return cls(settings, mutual_link(settings.url, settings))

    async def request(self, order: Order, remember: Remember) -> Outcome:
        """Ask for a certificate, or for one whose approval was waited for."""
        csr = read_csr(order.csr)
        if "password" in order.state:
            self._link.hide(order.state["password"])
        if "request_id" in order.state:
            return await self._finalised(order, csr)
        asked_before = "password" in order.state
        if asked_before and (found := await self._issued_before(order, csr)):
            return found
        state = dict(order.state) or {"password": secrets.token_urlsafe(24)}
        if not asked_before:
            self._link.hide(state["password"])
            await remember(state)
        try:
            return await self._enrolled(order, csr, state, remember, asked_before)
        except NotDone:
            if not asked_before:
                await remember({})  # so nothing needs to be looked for the next time
            raise

    async def test(self) -> str:
        """Whether EJBCA takes us, and has the CA."""
        answer = await self._link.ask("GET", "/v1/ca", repeat=True)
        if answer.status != 200:
            raise self._trouble(answer)
        listed = answer.read_as(_Authorities).certificate_authorities
        name = self._settings.certificate_authority
        if name not in {one.name for one in listed}:
            raise HandlerTrouble(
                f"EJBCA answers, and shows us no CA '{self._link.shown(name)}'"
            )
        return f"EJBCA answers, and has the CA '{name}'"

    async def close(self) -> None:
        """Let go of connections."""
        await self._link.close()

    # the steps

    async def _enrolled(
        self,
        order: Order,
        csr: Csr,
        state: dict[str, Any],
        remember: Remember,
        asked_before: bool,
    ) -> Outcome:
        answer = await self._post(
            f"{_CERTIFICATE}/pkcs10enroll",
            {
                "certificate_request": csr_pem(order.csr).decode(),
                "certificate_profile_name": self._settings.certificate_profile,
                "end_entity_profile_name": self._settings.end_entity_profile,
                "certificate_authority_name": self._settings.certificate_authority,
                "username": username(order),
                "password": state["password"],
                "include_chain": True,
                "email": order.address,
            },
        )
        if answer.status == 202:
            state["request_id"] = answer.read_as(_Waits).request_id
            await remember(state)
            return _waits(state)
        if answer.status in {200, 201}:
            return await self._issued(answer.read_as(_Enrolled), csr)
        if answer.status not in _REFUSED:
            raise self._trouble(answer)
        if found := await self._issued_before(order, csr):
            return found
        if asked_before and _is_known(self._said(answer)):
            # the earlier call arrived, and somebody has to approve it: its number is lost
            raise HandlerTrouble(f"EJBCA has the order already: {self._said(answer)}")
        return NotIssued(f"EJBCA refuses: {self._said(answer)}")

    async def _finalised(self, order: Order, csr: Csr) -> Outcome:
        number = int(order.state["request_id"])
        answer = await self._post(
            f"{_CERTIFICATE}/{number}/finalize",
            {"response_format": "DER", "password": order.state["password"]},
        )
        if answer.status == 202:
            return _waits(order.state)
        if answer.status in {200, 201}:
            return await self._issued(answer.read_as(_Enrolled), csr)
        if answer.status not in _REFUSED:
            raise self._trouble(answer)
        if found := await self._issued_before(order, csr):  # an earlier call arrived
            return found
        return NotIssued(f"EJBCA refuses: {self._said(answer)}")

    async def _issued_before(self, order: Order, csr: Csr) -> Issued | None:
        """What EJBCA issued for the order, if it did."""
        criteria = {"property": "QUERY", "value": username(order), "operation": "EQUAL"}
        answer = await self._post(
            f"{_CERTIFICATE}/search",
            {"max_number_of_results": 10, "criteria": [criteria]},
            repeat=True,
        )
        if answer.status != 200:
            trouble = self._trouble(answer)
            raise HandlerTrouble(f"cannot look whether the order was made already: {trouble}")
        for one in answer.read_as(_Found).certificates:
            found = certificates_in(one.certificate.encode())
            if any(map(csr.is_answered_by, found)):
                return await self._issued(one, csr)
        return None

    async def _issued(self, enrolled: _Enrolled, csr: Csr) -> Issued:
        texts = [enrolled.certificate, *(enrolled.certificate_chain or ())[:LONGEST_CHAIN]]
        issued = chosen([one for text in texts for one in certificates_in(text.encode())], csr)
        if issued is None:
            raise HandlerTrouble("EJBCA gave the certificate of a CA, and none of a user")
        if issued.chain:
            return issued
        return Issued(issued.certificate, await self._chain(issued.certificate))

    async def _chain(self, certificate: Certificate) -> tuple[Certificate, ...]:
        """The CA's certificates where they are to be had; else they can be imported."""
        try:
            path = f"/v1/ca/{quote(certificate.issuer, safe='')}/certificate/download"
            answer = await self._link.ask("GET", path, accept="*/*", repeat=True)
            if answer.status == 200:
                return tuple(certificates_in(answer.body)[:LONGEST_CHAIN])
        except HandlerTrouble:
            pass
        return ()

    async def _post(self, path: str, body: dict[str, Any], *, repeat: bool = False) -> Answer:
        return await self._link.ask("POST", path, json.dumps(body).encode(), repeat=repeat)

    def _trouble(self, answer: Answer) -> HandlerTrouble:
        return self._link.trouble(answer, _message(answer))

    def _said(self, answer: Answer) -> str:
        return self._link.shown(_message(answer)) or f"HTTP {answer.status}"


def username(order: Order) -> str:
    """The end entity that an order is at EJBCA."""
    return f"smimefilter-{order.id}"


def _waits(state: Any) -> Later:
    return Later(
        f"waits to be approved at EJBCA, request {state['request_id']}", state, APPROVAL
    )


def _message(answer: Answer) -> str:
    try:
        return answer.read_as(_Refusal).error_message or ""
    except HandlerTrouble:  # a page of some proxy, say
        return ""


def _is_known(said: str) -> bool:
    return any(word in said.lower() for word in ("approv", "already", "exist"))
