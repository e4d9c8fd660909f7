"""GlobalSign EPKI as far as we know it: `GasOrderService`, SOAP over mutual TLS.

    with EpkiService() as epki:
        done = ...                     # an order in async mode
        epki.pick_up(number, csr)      # as a person does at the site

Its XML is written and read here by other means than the handler's. `behave` and `after` are as
those of `AtlasService`, by operation.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from xml.dom import minidom
from xml.sax.saxutils import escape

from aiohttp import web
from cryptography import x509

from smimefilter.pki.build import Profile, certify
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.export import certificates_pem
from tests.support.pki import NOW, Issued, root

from .globalsign import Behave, Service

NAMESPACE: Final = "https://system.globalsign.com/cr/ws/"
USER, PASSWORD, PROFILE = "PAR1_user", "it's <secret> & more", "MP201507110518"
CA: Final = root("EPKI Root").issue("EPKI Issuing CA", ca=True)


@dataclass
class Ordered:
    """An order as it was taken."""

    number: str
    fields: dict[str, str]
    status: str = "1"
    certificate: Certificate | None = None
    extra: tuple[Certificate, ...] = ()


@dataclass
class Says(Exception):
    """An error of the service."""

    code: str
    words: str
    name: str = ""


class EpkiService(Service):
    """The service."""

    def __init__(self, ca: Issued = CA) -> None:
        super().__init__()
        self.ca = ca
        self.asked: list[str] = []  # operations
        self.orders: dict[str, Ordered] = {}
        self.special: dict[str, Any] = {}  # of the certificates: fields of a `Profile`
        self.behave: dict[str, Behave] = {}
        self.after: dict[str, Behave] = {}
        self.failing: Says | None = None
        self.beside: tuple[Certificate, ...] = ()  # given with each certificate
        self.gives_at_once = True  # in sync mode
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        return f"{self.root}/cr/ws/GasOrderService"

    def pick_up(self, number: str, csr: bytes) -> None:
        """What a person does at the site: give a CSR for an order."""
        order = self.orders[number]
        order.certificate = self._issue(order.fields, x509.load_der_x509_csr(csr))
        order.status = "4"

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:  # type: ignore[override]
        sent = (await request.read()).decode()
        document = minidom.parseString(sent)  # noqa: S318 - our own handler's
        body = document.getElementsByTagNameNS("*", "Body")[0]
        operation = body.firstChild.localName  # type: ignore[union-attr]
        assert body.firstChild.namespaceURI == NAMESPACE  # type: ignore[union-attr]
        assert request.headers["Content-Type"].startswith("text/xml")
        self.asked.append(operation)
        if operation in self.behave:
            return await self.behave[operation](request)  # type: ignore[arg-type]
        kind = "Query" if operation.startswith("Get") else "Order"
        try:
            found = self._done(operation, _fields(body))
            code, errors = "0", ""
        except Says as error:
            found, code = "", "-1"
            errors = (
                f"<Errors><Error><ErrorCode>{error.code}</ErrorCode>"
                f"<ErrorField>{error.name}</ErrorField>"
                f"<ErrorMessage>{escape(error.words)}</ErrorMessage></Error></Errors>"
            )
        header = (
            f"<{kind}ResponseHeader><SuccessCode>{code}</SuccessCode>{errors}"
            f"<Timestamp>2026-06-01T12:00:00.000Z</Timestamp></{kind}ResponseHeader>"
        )
        if operation in self.after:
            return await self.after[operation](request)  # type: ignore[arg-type]
        return soap(f"<Response>{header}{found}</Response>", operation)

    def _done(self, operation: str, fields: dict[str, str]) -> str:
        if (fields.get("UserName"), fields.get("Password")) != (USER, PASSWORD):
            raise Says("-4001", "Login failure invalid user ID")
        if self.failing is not None:
            raise self.failing
        match operation:
            case "OrderAndIssueCertificate":
                order = self._order(fields)
                csr = x509.load_pem_x509_csr(fields["CSR"].encode())
                order.certificate, order.status = self._issue(fields, csr), "4"
                pem = certificates_pem([order.certificate, *self.beside]).decode()
                cert = f"<CERT>{escape(pem)}</CERT>" if self.gives_at_once else ""
                return f"<OrderID>{order.number}</OrderID>{cert}"
            case "OrderCertificate":
                if fields.get("HasCSR") != "true" or "CSR" in fields:
                    raise Says("-101", "Invalid parameter", "HasCSR")
                return f"<OrderID>{self._order(fields).number}</OrderID>"
            case "GetOrderByOrderId":
                if fields["OrderNo"] not in self.orders:
                    raise Says("-9935", "no such order")
                return _detail(self.orders[fields["OrderNo"]])
            case "GetOrders":
                name = fields.get("CommonName", "")
                found = [one for one in self.orders.values()
                         if name in {"", one.fields["CommonName"]}]  # fmt: skip
                details = "".join(map(_detail, found))
                count = f"<TotalCount>{len(found)}</TotalCount>"
                return f"{count}<OrderDetails>{details}</OrderDetails>"
        raise Says("-1", "no such operation")

    def _order(self, fields: dict[str, str]) -> Ordered:
        if fields["ProfileID"] != PROFILE:
            raise Says("-103", "no such profile", "ProfileID")
        assert fields["PickupPassword"]
        number = f"CEOP{next(self._numbers):08}"
        order = self.orders[number] = Ordered(number, fields)
        return order

    def _issue(
        self, fields: dict[str, str], csr: x509.CertificateSigningRequest
    ) -> Certificate:
        profile: dict[str, Any] = {
            "common_name": fields["CommonName"],
            "not_before": NOW,
            "not_after": NOW + timedelta(days=365 * int(fields["Year"])),
            "addresses": (fields["Email"],),
        } | self.special
        key = profile.pop("key", csr.public_key())
        return certify(Profile(**profile), key, self.ca.identity)


def soap(inside: str, operation: str) -> web.Response:
    """An answer."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        f'<ns2:{operation}Response xmlns:ns2="{NAMESPACE}">{inside}'
        f"</ns2:{operation}Response></S:Body></S:Envelope>"
    )
    return web.Response(body=text.encode(), content_type="text/xml")


def _detail(order: Ordered) -> str:
    fulfilled = ""
    if order.certificate is not None:
        pem = re.sub("-----.*-----|^#.*", "", certificates_pem([order.certificate]).decode(),
                     flags=re.MULTILINE).strip()  # fmt: skip
        fulfilled = (
            "<Fulfillment><CrCertificate>"
            f"<Certificate>{pem}</Certificate></CrCertificate></Fulfillment>"
        )
    return (
        f"<OrderDetail><OrderInfo><OrderNo>{order.number}</OrderNo>"
        f"<OrderStatus>{order.status}</OrderStatus></OrderInfo><CrCertificateInfo>"
        f"<Email>{escape(order.fields['Email'])}</Email>"
        f"<CommonName>{escape(order.fields['CommonName'])}</CommonName></CrCertificateInfo>"
        f"{fulfilled}</OrderDetail>"
    )


def _fields(body: Any) -> dict[str, str]:
    """Texts of the leaves, by name."""
    return {
        one.localName: one.firstChild.data
        for one in body.getElementsByTagNameNS("*", "*")
        if one.firstChild is not None and one.firstChild.nodeType == one.TEXT_NODE
    }
