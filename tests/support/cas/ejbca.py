"""EJBCA's REST interface, as far as registration authorities use it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.export import certificates_pem

from .server import Asked, CaServer

BASE = "/ejbca/ejbca-rest-api"
NEEDED = {
    "certificate_request", "certificate_profile_name", "end_entity_profile_name",
    "certificate_authority_name", "username", "password", "include_chain", "email",
}  # fmt: skip


@dataclass
class Entity:
    """An end entity."""

    password: str
    csr: bytes
    request_id: int = 0
    approved: bool | None = None
    certificate: Certificate | None = None


class FakeEjbca(CaServer):
    """EJBCA with the CA `Mail CA` and the profiles `SMIME` and `Employee`."""

    def __init__(self, **special: Any) -> None:
        super().__init__(**special)
        self.entities: dict[str, Entity] = {}
        self.approvals = False  # whether somebody has to approve
        self.search_forbidden = False
        self.special: dict[str, Any] = {}  # of certificates that it issues
        self.with_chain = True
        self.double = True  # search gives base64 of base64

    def settings(self, **special: Any) -> dict[str, Any]:
        return (
            self.tls()
            | {
                "url": self.url + BASE,
                "certificate_authority": "Mail CA",
                "certificate_profile": "SMIME",
                "end_entity_profile": "Employee",
            }
            | special
        )

    def decide(self, *, approve: bool) -> None:
        """Everything that waits."""
        for entity in self.entities.values():
            entity.approved = approve

    async def answer(self, asked: Asked) -> web.StreamResponse:
        path = asked.path.removeprefix(BASE)
        if (asked.method, path) == ("GET", "/v1/ca"):
            return web.json_response(
                {"certificate_authorities": [{"id": 1, "name": "Mail CA"}]}
            )
        if asked.method == "GET" and path.endswith("/certificate/download"):
            return self._download(unquote(path.split("/")[3]))
        body = json.loads(asked.body)
        match path.split("/")[2:]:
            case ["certificate", "pkcs10enroll"]:
                return self._enrol(body)
            case ["certificate", "search"]:
                return self._search(body)
            case ["certificate", number, "finalize"]:
                return self._finalize(int(number), body)
        return error(404, f"no such resource: {path}")

    def _enrol(self, body: dict[str, Any]) -> web.Response:
        if missing := NEEDED - body.keys():
            return error(400, f"missing: {', '.join(sorted(missing))}")
        if body["certificate_authority_name"] != "Mail CA":
            return error(404, f"CA '{body['certificate_authority_name']}' does not exist")
        name = body["username"]
        if name in self.entities:
            return error(400, f"End entity {name} already exists")
        csr = x509.load_pem_x509_csr(body["certificate_request"].encode())
        entity = Entity(body["password"], csr.public_bytes(Encoding.DER))
        self.entities[name] = entity
        if self.approvals:
            entity.request_id = 1000 + len(self.entities)
            return self._waiting(entity)
        return self._issued(entity)

    def _finalize(self, number: int, body: dict[str, Any]) -> web.Response:
        found = [one for one in self.entities.values() if one.request_id == number]
        if not found:
            return error(400, f"Could not find request with Id '{number}'")
        entity = found[0]
        if body["password"] != entity.password or body["response_format"] != "DER":
            return error(403, "wrong password")
        if entity.approved is None:
            return self._waiting(entity)
        if not entity.approved:
            return error(400, f"Request with Id '{number}' has been rejected")
        if entity.certificate is not None:
            return error(400, f"Enrollment with Id '{number}' has already been finalized")
        return self._issued(entity)

    def _waiting(self, entity: Entity) -> web.Response:
        told = {"status_code": 202, "info_message": "waits", "request_id": entity.request_id}
        return web.json_response(told, status=202)

    def _issued(self, entity: Entity) -> web.Response:
        certificate = entity.certificate = self.issue(entity.csr, **self.special)
        told: dict[str, Any] = {
            "certificate": base64.b64encode(certificate.der).decode(),
            "serial_number": certificate.serial_hex,
            "response_format": "DER",
        }
        if self.with_chain and not entity.request_id:
            chain = (self.authority.certificate, *self.authority.chain)
            told["certificate_chain"] = [base64.b64encode(one.der).decode() for one in chain]
        return web.json_response(told, status=201)

    def _search(self, body: dict[str, Any]) -> web.Response:
        if self.search_forbidden:
            return error(403, "not authorized to /ca_functionality/view_certificate")
        (criterion,) = body["criteria"]
        assert (criterion["property"], criterion["operation"]) == ("QUERY", "EQUAL")
        entity = self.entities.get(criterion["value"])
        found = []
        if entity is not None and entity.certificate is not None:
            text = base64.b64encode(entity.certificate.der)
            text = base64.b64encode(text) if self.double else text
            found.append({"certificate": text.decode(), "serial_number": "1"})
        return web.json_response({"certificates": found, "more_results": False})

    def _download(self, name: str) -> web.Response:
        if name != self.authority.certificate.subject:
            return error(404, "no such CA")
        chain = certificates_pem([self.authority.certificate, *self.authority.chain])
        return web.Response(body=chain, content_type="application/octet-stream")


def error(status: int, message: str) -> web.Response:
    """As EJBCA tells of errors."""
    told = {"error_code": status, "error_message": message}
    return web.json_response(told, status=status)
