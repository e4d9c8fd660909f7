"""GlobalSign EPKI (`GasOrderService`, SOAP) as a request handler.

In *sync* mode the CSR goes with the order and the certificate comes with the answer. In *async*
mode a certificate is ordered without one: people give the CSR (`smimefilter pending download`)
and the pickup password at GlobalSign's site, and the order is looked at until it is fulfilled.

That an order is about to be sent is remembered first, its number as soon as there is one. Where
an answer was lost the orders since are looked through for ours before it is sent anew; an open
one for the same person that is fulfilled for another key, or cancelled, was not ours.

Leaves XML to `soap.py`, and looking at what was issued to `flow/requests.py`. Raises
`HandlerTrouble`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, ClassVar, Final, Literal, Self
from xml.etree.ElementTree import Element

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from smimefilter.pki.certificate import Certificate, is_ca
from smimefilter.pki.keyfile import UnreadableKeyFile
from smimefilter.pki.keyfile import read as read_keyfile
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

from .globalsign import NotSent, Remote
from .remote import LONGEST_CHAIN
from .soap import BadXml, Fault, Fields, child, envelope, read, text

NAMESPACE: Final = "https://system.globalsign.com/cr/ws/"
INPUT_ERRORS: Final = frozenset({"-101", "-102", "-103", "-104", "-105"})
UNCLEAR: Final = frozenset({"", "-1"})  # trouble within the service: no telling what it did
ENDED: Final = {"3": "cancelled", "5": "cancelled", "7": "revoked"}  # OrderStatus
SHOWN_BY: Final = timedelta(minutes=15)  # an order that was taken can be found by then
SOON: Final = timedelta(minutes=2)
NOW_AND_THEN: Final = timedelta(minutes=15)  # people are to do something at the site
DAY: Final = timedelta(days=1)  # dates are told in a zone that is not told
LONGEST_NUMBER: Final = 64


class EpkiSettings(BaseModel):
    """Settings of `epki`."""

    model_config = ConfigDict(frozen=True)

    url: str = Field(
        "https://system.globalsign.com/cr/ws/GasOrderService",
        description="where the service is",
    )
    user_name: str = Field(min_length=1, description="the EPKI account name")
    password: SecretStr = Field(description="of the account")
    profile_id: str = Field(min_length=1, description="the profile that is issued by")
    product_code: str = Field("EPKIPSPersonal", description="the kind of certificate")
    years: int = Field(1, ge=1, le=5, description="of validity; days are not asked for")
    mode: Literal["sync", "async"] = Field(
        "sync", description="sync: the CSR goes along; async: people give it at the site"
    )
    pickup_password: SecretStr | None = Field(
        None, description="asked for at the site in async mode; in sync mode it is made up"
    )
    organisational_unit: str = Field("", description="OU of the subject")
    tls_certificate: str = Field("", description="for mutual TLS, where it is wanted (PEM)")
    tls_key: SecretStr | None = Field(None, description="its private key (PEM)")
    roots: str = Field("", description="PEM roots for TLS, in the place of the system's")
    timeout: float = Field(60, gt=0, le=300, description="seconds that an answer may take")

    @model_validator(mode="after")
    def _has_a_pickup_password(self) -> Self:
        if self.mode == "async" and self.pickup_password is None:
            raise ValueError("async mode needs a pickup_password")
        return self


class ServiceError(HandlerTrouble):
    """The service says that it did not do it, and why."""

    def __init__(self, codes: set[str], reason: str) -> None:
        super().__init__(f"EPKI says: {reason or 'no'}")
        self.codes = codes or {""}
        self.reason = reason


class Epki:
    """Orders from EPKI and fetches what was issued."""

    title: ClassVar[str] = "GlobalSign EPKI"
    settings: ClassVar[type[BaseModel]] = EpkiSettings
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = True  # async mode: people give the CSR at the site
    can_upload: ClassVar[bool] = True

    def __init__(self, settings: EpkiSettings, remote: Remote, services: Services) -> None:
        self._settings = settings
        self._remote = remote
        self._clock = services.clock
        given = settings.pickup_password
        self._pickup = given.get_secret_value() if given is not None else secrets.token_hex(10)
        for secret in (settings.password.get_secret_value(), self._pickup):
            remote.hide(secret)

    @classmethod
    def opened(cls, settings: EpkiSettings, services: Services) -> Self:
        """A handler."""
        key = settings.tls_key
        remote = Remote(
            settings.url,
            roots=settings.roots,
            certificate=settings.tls_certificate,
            key=key.get_secret_value() if key is not None else "",
            timeout=settings.timeout,
        )
        return cls(settings, remote, services)

    async def close(self) -> None:
        """Let go of connections."""
        await self._remote.close()

    async def test(self) -> str:
        """Log in, by asking for the orders of today."""
        now = self._clock()
        response = await self._query("GetOrders", _window(now, now))
        number = self._remote.shown(text(response, "TotalCount") or "0")
        return f"{self._settings.user_name} is logged in; orders of these days: {number}"

    async def request(self, order: Order, remember: Remember) -> Outcome:
        """Order, or see how it stands."""
        csr = read_csr(order.csr)
        if "order" in order.state:
            return await self._fetched(order.state, csr, remember)
        if "ordering" in order.state:
            return await self._looked_for(order, csr, remember)
        return await self._ordered(order, csr, remember)

    # ordering

    async def _ordered(self, order: Order, csr: Csr, remember: Remember) -> Outcome:
        if not order.address.isascii():
            return NotIssued("EPKI takes addresses of ASCII characters alone")
        is_sync = self._settings.mode == "sync"
        operation = "OrderAndIssueCertificate" if is_sync else "OrderCertificate"
        left_out = order.state.get("others", [])
        await remember({"ordering": int(order.now.timestamp()), "others": left_out})
        try:
            response = await self._call(operation, "Order", self._wanted(order))
        except NotSent:
            await remember({})
            raise
        except ServiceError as error:
            if not error.codes <= UNCLEAR:
                await remember({})  # it says that it did not take it
            if error.codes & INPUT_ERRORS:
                return NotIssued(f"EPKI refuses it: {error.reason}")
            raise
        number = _number(text(response, "OrderID"))
        await remember({"order": number})
        if found := _certificates(text(response, "CERT")):
            return _issued(found, csr)
        return self._waits(number)

    def _wanted(self, order: Order) -> Fields:
        settings = self._settings
        is_sync = settings.mode == "sync"
        carried: Fields = {"CSR": csr_pem(order.csr).decode()} if is_sync else {"HasCSR": True}
        return {
            "ProfileID": settings.profile_id,
            "ProductCode": settings.product_code,
            "Year": settings.years,
            **carried,
            "DnAttributes": {
                "CommonName": order.common_name,
                "OrganizationUnit": settings.organisational_unit,
                "Email": order.address,
            },
            "PickupPassword": self._pickup,
        }

    async def _looked_for(self, order: Order, csr: Csr, remember: Remember) -> Outcome:
        """What became of an order of which nobody knows whether it was taken."""
        since = datetime.fromtimestamp(int(order.state["ordering"]), UTC)
        fields = _window(since, order.now, order.common_name)
        response = await self._query("GetOrders", fields)
        details = response.findall("OrderDetails/OrderDetail")
        others = order.state.get("others", [])
        left = [one for one in details if text(one, "OrderInfo", "OrderNo") not in others]
        if (detail := _ours(left, order, csr)) is not None:
            state: dict[str, Any] = {"order": _number(text(detail, "OrderInfo", "OrderNo"))}
            if not any(map(csr.is_answered_by, _fulfilled(detail))):
                state = {**order.state, **state, "adopted": True}
            await remember(state)
            return await self._fetched(state, csr, remember)
        if text(response, "TotalCount") not in {"", str(len(details))}:
            raise HandlerTrouble("EPKI shows not all of its orders: this one may be among them")
        if order.now < since + SHOWN_BY:
            return Later("whether EPKI took the order is to be seen", again=SOON)
        return await self._ordered(order, csr, remember)

    # what was issued

    async def _fetched(self, state: Mapping[str, Any], csr: Csr, remember: Remember) -> Outcome:
        number, adopted = state["order"], state.get("adopted")
        fields: Fields = {"OrderNo": number, "OrderQueryOption": {"ReturnFulfillment": True}}
        detail = child(await self._query("GetOrderByOrderId", fields), "OrderDetail")
        if detail is None:
            raise HandlerTrouble(f"EPKI does not tell of order {number}")
        status = text(detail, "OrderInfo", "OrderStatus")
        if adopted and status in ENDED:
            return await self._not_ours(state, remember)
        if status in ENDED:
            return NotIssued(f"order {number} was {ENDED[status]}")
        if found := _fulfilled(detail):
            if adopted and not any(map(csr.is_answered_by, found)):
                return await self._not_ours(state, remember)
            return _issued(found, csr)
        return self._waits(number)

    async def _not_ours(self, state: Mapping[str, Any], remember: Remember) -> Later:
        """An order that was taken for ours came to something else: look for ours again."""
        number = state["order"]
        others = [*state.get("others", []), number]
        await remember({"ordering": state["ordering"], "others": others})
        return Later(f"order {number} was another one's: ours is looked for", again=SOON)

    def _waits(self, number: str) -> Later:
        if self._settings.mode == "sync":
            return Later(f"ordered as {number}: not issued yet", again=SOON)
        note = f"ordered as {number}: give the CSR at GlobalSign's site"
        return Later(note, again=NOW_AND_THEN)

    # the service

    async def _query(self, operation: str, fields: Fields) -> Element:
        return await self._call(operation, "Query", fields)

    async def _call(self, operation: str, kind: str, fields: Fields) -> Element:
        """What is in the `Response`. `kind` of header: Order, Query. Raises `HandlerTrouble`,
        of it `ServiceError`."""
        login: Fields = {
            "UserName": self._settings.user_name,
            "Password": self._settings.password.get_secret_value(),
        }
        request: Fields = {"Request": {f"{kind}RequestHeader": {"AuthToken": login}, **fields}}
        answer = await self._remote.ask(
            "POST",
            body=envelope(operation, NAMESPACE, request),
            headers={"Content-Type": 'text/xml; charset="utf-8"', "SOAPAction": '""'},
        )
        if answer.status not in {200, 500}:  # a fault comes with 500
            raise HandlerTrouble(f"EPKI answered {answer.status}")
        try:
            found = read(answer.body)
        except BadXml as error:
            raise HandlerTrouble(f"the answer of EPKI cannot be read: {error}") from None
        except Fault as fault:
            why = self._remote.shown(str(fault)) or "no more than that"
            raise HandlerTrouble(f"EPKI could not do it: {why}") from None
        response = child(found, "Response")
        if found.tag != f"{operation}Response" or response is None or answer.status != 200:
            raise HandlerTrouble("EPKI answered something else than it was asked")
        self._check(child(response, f"{kind}ResponseHeader"))
        return response

    def _check(self, header: Element | None) -> None:
        code = text(header, "SuccessCode")
        if code in {"0", "1"}:  # 1: taken, and looked at by people first
            return
        if code != "-1":
            raise HandlerTrouble("EPKI does not say whether it did it")
        errors = [] if header is None else header.findall("Errors/Error")
        reason = self._remote.shown("; ".join(filter(None, map(_words, errors))))
        raise ServiceError({text(one, "ErrorCode") for one in errors}, reason)


def _words(error: Element) -> str:
    code, field = text(error, "ErrorCode"), text(error, "ErrorField")
    message = text(error, "ErrorMessage")
    return " ".join(filter(None, (code, f"{field}: {message}" if field else message)))


def _window(since: datetime, until: datetime, common_name: str = "") -> Fields:
    return {
        "OrderQueryParam": {
            "RequestDateFrom": f"{since - DAY:%Y-%m-%dT%H:%M:%S.000Z}",
            "RequestDateTo": f"{until + DAY:%Y-%m-%dT%H:%M:%S.000Z}",
            "CommonName": common_name,
        },
        "OrdersQueryOption": {"ReturnCertificateInfo": True, "ReturnFulfillment": True},
    }


def _ours(details: Sequence[Element], order: Order, csr: Csr) -> Element | None:
    """By the key of its certificate. Where none has ours, the first without one that is for the
    same person: it is ours until it comes to something else."""
    fulfilled = {detail: _fulfilled(detail) for detail in details}
    for detail, found in fulfilled.items():
        if any(map(csr.is_answered_by, found)):
            return detail
    open_ = (detail for detail, found in fulfilled.items() if not found)
    return next((detail for detail in open_ if _is_for(detail, order)), None)


def _is_for(detail: Element, order: Order) -> bool:
    info = child(detail, "CrCertificateInfo")
    person = (text(info, "CommonName"), text(info, "Email").lower())
    wanted = (order.common_name, order.address.lower())
    return text(detail, "OrderInfo", "OrderStatus") not in ENDED and person == wanted


def _number(found: str) -> str:
    if not found or len(found) > LONGEST_NUMBER or not found.isascii() or not found.isalnum():
        raise HandlerTrouble("EPKI took the order and did not say its number")
    return found


def _fulfilled(detail: Element) -> tuple[Certificate, ...]:
    certificate = child(detail, "Fulfillment", "CrCertificate")
    parts = [text(certificate, name) for name in ("Certificate", "PKCS7Cert")]
    return tuple(dict.fromkeys(one for part in parts for one in _certificates(part)))


def _certificates(found: str) -> tuple[Certificate, ...]:
    if not found:
        return ()
    try:
        return read_keyfile(found.encode(), keys=False).certificates
    except UnreadableKeyFile as error:
        raise HandlerTrouble(f"EPKI gave something else than a certificate: {error}") from None


def _issued(found: tuple[Certificate, ...], csr: Csr) -> Outcome:
    """The one for our key; where there is none the first, which is refused then."""
    users = [one for one in found if not is_ca(one)]
    ours = next((one for one in users if csr.is_answered_by(one)), None)
    certificate = ours or next(iter(users), found[0])
    others = (one for one in found if one != certificate)
    return Issued(certificate, tuple(islice(others, LONGEST_CHAIN)))
