"""GlobalSign Atlas as far as we know it: `/v2` of HVCA, over mutual TLS.

    with AtlasService() as atlas:
        atlas.unready = 2            # a certificate is ready when asked for the third time
        atlas.behave["POST /certificates"] = closes
        assert len(atlas.orders) == 1

It checks what it is sent (the proof of the key, for one) and refuses with problem+json. A
`behave` takes the place of an answer; one of `after` lets the request be done and then spoils
the answer.
"""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from smimefilter.pki.build import Profile, certify
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.export import certificates_pem
from tests.support.pki import Issued, root

from .globalsign import Behave, Service

KEY: Final = "e510e289e6cd8947"
SECRET: Final = "a477a8393d17a55ecb2ba6a61f58feb84770b621"
POLICY: Final[dict[str, Any]] = {
    "validity": {"secondsmin": 3600, "secondsmax": 365 * 86400},
    "subject_dn": {
        "common_name": {"presence": "REQUIRED", "format": "^.*$"},
        "organization": {"presence": "STATIC", "format": "Example Ltd"},
        "email": {"presence": "OPTIONAL", "format": "^.*$"},
    },
    "extended_key_usages": {"ekus": {"static": False, "list": ["^1.3.6.1.5.5.7.3.4$"]}},
    "signature": {
        "algorithm": {"presence": "REQUIRED", "list": ["RSA"]},
        "hash_algorithm": {"presence": "REQUIRED", "list": ["SHA-256", "SHA-384"]},
    },
    "public_key": {"key_type": "RSA", "allowed_lengths": [2048, 4096], "key_format": "PKCS8"},
    "public_key_signature": "REQUIRED",
}
CA: Final = root("Atlas Root").issue("Atlas Issuing CA", ca=True)


class Refused(Exception):
    """Says so with a status."""

    def __init__(self, status: int, why: str, **errors: str) -> None:
        super().__init__(why)
        content = {"description": why} | ({"errors": errors} if errors else {})
        self.answer = web.Response(
            status=status,
            body=json.dumps(content).encode(),
            headers={"Content-Type": "application/problem+json;charset=utf-8"},
        )


class AtlasService(Service):
    """The service."""

    def __init__(self, ca: Issued = CA) -> None:
        super().__init__()
        self.ca = ca
        self.policy = dict(POLICY)
        self.quota = 7
        self.asked: list[str] = []  # method and path, without the query
        self.logins = 0
        self.tokens: set[str] = set()
        self.orders: list[dict[str, Any]] = []  # as they were taken
        self.issued: dict[str, tuple[Certificate, int]] = {}  # by serial; asked for how often
        self.unready = 0  # how often one has to be asked for before it is there
        self.special: dict[str, Any] = {}  # of the certificates: fields of a `Profile`
        self.claims: dict[str, dict[str, Any]] = {}
        self.in_dns: set[str] = set()  # domains whose DNS has the token
        self.most_per_page = 100
        self.behave: dict[str, Behave] = {}
        self.after: dict[str, Behave] = {}
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        return f"{self.root}/v2"

    def forget_tokens(self) -> None:
        """As when ten minutes are over."""
        self.tokens.clear()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:  # type: ignore[override]
        what = f"{request.method} {request.path.removeprefix('/v2')}"
        self.asked.append(what)
        found = self._of(self.behave, what)
        if found is not None:
            return await found(request)  # type: ignore[arg-type]
        try:
            answer = await self._done(request)
        except Refused as refusal:
            answer = refusal.answer
        spoil = self._of(self.after, what)
        return await spoil(request) if spoil else answer  # type: ignore[arg-type]

    def _of(self, table: dict[str, Behave], what: str) -> Behave | None:
        return next((one for name, one in table.items() if what.startswith(name)), None)

    async def _done(self, request: web.BaseRequest) -> web.StreamResponse:  # noqa: C901
        sent = await request.read()
        if sent and request.headers.get("Content-Type") != "application/json;charset=utf-8":
            raise Refused(415, "Bad Content-Type")
        content = json.loads(sent) if sent else None
        parts = request.path.removeprefix("/v2/").split("/")
        if parts == ["login"]:
            return self._login(content)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refused(401, "Unauthorized")
        match [request.method, *parts]:
            case ["POST", "certificates"]:
                return self._order(content)
            case ["GET", "certificates", serial]:
                return self._certificate(serial)
            case ["GET", "stats", "issued"]:
                return self._stats(request)
            case ["GET", "trustchain"]:
                chain = [self.ca.certificate, *self.ca.chain]
                return _json([certificates_pem([one]).decode() for one in chain])
            case ["GET", "validationpolicy"]:
                return _json(self.policy)
            case ["GET", "quotas", "issuance"]:
                return _json({"value": self.quota})
            case [_, "claims", "domains", *more]:
                return self._claim(request, more, content)
        raise Refused(404, "Not found")

    def _login(self, content: Any) -> web.Response:
        if content != {"api_key": KEY, "api_secret": SECRET}:
            raise Refused(401, "Unauthorized")
        self.logins += 1
        token = f"token-{self.logins}"
        self.tokens.add(token)
        return _json({"access_token": token})

    # certificates

    def _order(self, content: Any) -> web.Response:
        public, name = self._checked_key(content), content["subject_dn"].get("common_name")
        if not name:
            raise Refused(422, "validation error", common_name="is required")
        if "organization" in content["subject_dn"]:
            raise Refused(422, "validation error", organization="is static")
        longest = self.policy.get("validity", {}).get("secondsmax", 10**9)
        validity = content["validity"]
        if validity["not_after"] - validity["not_before"] > longest:
            raise Refused(422, "validation error", validity="is too long")
        self.orders.append(content)
        profile: dict[str, Any] = {
            "common_name": name,
            "not_before": datetime.fromtimestamp(validity["not_before"], UTC),
            "not_after": datetime.fromtimestamp(validity["not_after"], UTC),
            "addresses": tuple(content["san"]["emails"]),
        } | self.special
        key = profile.pop("key", public)
        certificate = certify(Profile(**profile), key, self.ca.identity)
        serial = f"{certificate.serial:X}"
        self.issued[serial] = certificate, 0
        return web.Response(status=201, headers={"Location": f"/v2/certificates/{serial}"})

    def _checked_key(self, content: Any) -> Any:
        pem = content["public_key"].encode()
        if self.policy.get("public_key", {}).get("key_format") == "PKCS10":
            return x509.load_pem_x509_csr(pem).public_key()
        public = load_pem_public_key(pem)
        if self.policy.get("public_key_signature") == "FORBIDDEN":
            if "public_key_signature" in content:
                raise Refused(422, "validation error", public_key_signature="is forbidden")
            return public
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        proof = base64.b64decode(content.get("public_key_signature", ""))
        try:
            if isinstance(public, ec.EllipticCurvePublicKey):
                public.verify(proof, der, ec.ECDSA(hashes.SHA256()))
            else:
                public.verify(proof, der, padding.PKCS1v15(), hashes.SHA256())  # type: ignore[union-attr,call-arg]
        except InvalidSignature:
            raise Refused(422, "invalid public key signature") from None
        return public

    def _certificate(self, serial: str) -> web.Response:
        if serial not in self.issued:
            raise Refused(404, "Not found")
        certificate, times = self.issued[serial]
        self.issued[serial] = certificate, times + 1
        if times < self.unready:
            raise Refused(202, "not yet")
        pem = certificates_pem([certificate]).decode()
        return _json({"certificate": pem, "status": "ISSUED", "updated_at": 1})

    def _stats(self, request: web.BaseRequest) -> web.Response:
        found = [
            {"serial_number": serial, "not_before": 1, "not_after": 2} for serial in self.issued
        ]
        return self._page(request, found)

    # claims

    def _claim(self, request: web.BaseRequest, more: list[str], content: Any) -> web.Response:
        match [request.method, *more]:
            case ["GET"]:
                status = request.query.get("status")
                found = [one for one in self.claims.values() if one["status"] == status]
                return self._page(request, found)
            case ["POST", domain]:
                return self._new_claim(domain)
        if not more or more[0] not in self.claims:
            raise Refused(404, "Not found")
        claim = self.claims[more[0]]
        match [request.method, *more[1:]]:
            case ["GET"]:
                return _json(claim)
            case ["DELETE"]:
                del self.claims[claim["id"]]
                return web.Response(status=204)
            case ["POST", "dns"]:
                at = content["authorization_domain"]
                claim["log"].append({"status": "ERROR", "description": at, "timestamp": 3})
                if at not in self.in_dns:
                    return web.Response(status=201)
                claim["status"] = "VERIFIED"
                return web.Response(status=204)
            case ["POST", "reassert"]:
                return _json({"token": "AGAIN" + claim["id"], "assert_by": 1893456000})
        raise Refused(404, "Not found")

    def _new_claim(self, domain: str) -> web.Response:
        if domain == "forbidden.test":
            raise Refused(422, "Validation error message", blacklist="forbidden.test is on it")
        id_ = f"{next(self._numbers):032X}"
        self.claims[id_] = {
            "id": id_, "status": "PENDING", "domain": f"{domain}.", "created_at": int(id_, 16),
            "expires_at": 1893456000, "assert_by": 1893456000, "log": [],
        }  # fmt: skip
        return _json({"token": f"TOKEN{id_}", "assert_by": 1893456000, "id": id_}, 201)

    def _page(self, request: web.BaseRequest, found: list[Any]) -> web.Response:
        size = min(int(request.query.get("per_page", 10)), self.most_per_page)
        begin = (int(request.query["page"]) - 1) * size
        answer = _json(found[begin : begin + size])
        answer.headers["Total-Count"] = str(len(found))
        return answer


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(content).encode(),
        headers={"Content-Type": "application/json;charset=utf-8"},
    )
