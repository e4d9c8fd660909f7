"""The profile of `docs/handlers/intellicard.md`, spoken by a server."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.export import certificates_pem, certificates_pkcs7

from .server import Asked, CaServer

CUSTOMER = "DE-4711"
CA_DN = "CN=Issuing CA"


class FakeIntellicard(CaServer):
    """A service with one customer."""

    def __init__(self, **special: Any) -> None:
        super().__init__(**special)
        self.orders: dict[str, bytes] = {}
        self.issued: dict[str, Certificate] = {}
        self.approvals = False
        self.refusal: tuple[int, str] | None = None
        self.retry_after = ""
        self.special: dict[str, Any] = {}
        self.form = "pkcs7"

    def settings(self, **special: Any) -> dict[str, Any]:
        account = {"url": self.url + "/epki", "customer_id": CUSTOMER, "ca_dn": CA_DN}
        return self.tls() | account | special

    async def answer(self, asked: Asked) -> web.StreamResponse:
        base = f"/epki/customers/{CUSTOMER}"
        if not asked.path.startswith(base):
            return web.Response(status=403, text="not your account")
        rest = asked.path.removeprefix(base)
        if not rest:
            return web.Response(body=b"", content_type="text/plain")
        id_ = rest.removeprefix("/orders/")
        if self.refusal:
            status, text = self.refusal
            return web.Response(status=status, text=text)
        if asked.method == "PUT":
            assert asked.headers["Content-Type"] == "application/pkcs10"
            assert asked.query["ca"] == CA_DN
            self.orders.setdefault(id_, asked.body)
        if id_ not in self.orders:
            return web.Response(status=404, text="no such order")
        if self.approvals:
            later = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.Response(status=202, headers=later)
        if id_ not in self.issued:
            self.issued[id_] = self.issue(self.orders[id_], **self.special)
        return self._given(self.issued[id_])

    def _given(self, certificate: Certificate) -> web.Response:
        chain = [certificate, self.authority.certificate, *self.authority.chain]
        match self.form:
            case "pkcs7":
                body, kind = certificates_pkcs7(chain), "application/pkcs7-mime"
            case "pem":
                body, kind = certificates_pem(chain), "application/x-pem-file"
            case _:
                body, kind = certificate.der, "application/pkix-cert"
        return web.Response(body=body, content_type=kind)
