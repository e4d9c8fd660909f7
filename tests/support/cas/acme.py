"""An ACME server for addresses (RFC 8555, RFC 8823) that keeps the rules, or breaks the one
that it is told to. What it is sent it checks with code of its own.

`mails` are the challenge mails that it has to send; `receive` is given the answers.
"""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.export import certificates_pem
from tests.support.challenges import CA, challenge_mail

from .server import Asked, CaServer

EAB_ID, EAB_KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
TERMS = "https://ca.test/terms"
_BLOCK = re.compile(
    r"-----BEGIN ACME RESPONSE-----\s+(\S+)\s+-----END ACME RESPONSE-----", re.ASCII
)


class Refusal(Exception):
    """A problem document."""

    def __init__(self, status: int, kind: str, detail: str = "", **headers: str) -> None:
        super().__init__(kind, detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class Placed:
    """An order, with its one authorisation."""

    account: str
    identifiers: list[dict[str, str]]
    part1: str
    part2: str
    status: str = "pending"
    authorization: str = "pending"
    posted: int = 0  # how often the client said that it is ready
    answered: bool = False  # rightly
    error: dict[str, Any] | None = None
    certificate: Certificate | None = None
    answers: list[bytes] = field(default_factory=list)
    expires: str = "2036-01-01T00:00:00Z"


class FakeAcme(CaServer):
    """One CA."""

    takes_anybody = True

    def __init__(self, **special: Any) -> None:
        super().__init__(**special)
        self.accounts: dict[str, dict[str, Any]] = {}  # keys by their URL
        self.orders: list[Placed] = []
        self.mails: list[bytes] = []
        self.refused: list[str] = []  # why requests were
        self.special: dict[str, Any] = {}  # of certificates that it issues
        self.terms = TERMS
        self.external = False
        self.lists_orders = True
        self.bad_nonces = 0  # how many requests are told that their nonce is bad
        self.refuse: dict[str, Refusal] = {}  # by the first part of the path
        self.change: dict[str, dict[str, Any]] = {}  # fields of answers, likewise
        self.polls = 0  # how often an order is in work before its certificate is there
        self.retry_after = ""
        self.offered = "email-reply-00"
        self.results = ""  # of its mails
        self._nonces: set[str] = set()

    def settings(self, **special: Any) -> dict[str, Any]:
        tls = {name: self.tls()[name] for name in ("ca_certificates", "timeout")}
        return (
            tls
            | {
                "directory": f"{self.url}/dir",
                "authserv_id": "mx.example.com",
                "agree_terms": True,
                "contact": "postmaster@example.com",
            }
            | special
        )

    @property
    def made(self) -> list[Certificate]:
        """What it issued."""
        return [one.certificate for one in self.orders if one.certificate]

    # mail

    def receive(self, content: bytes) -> None:
        """An answer to one of its mails."""
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert message["Auto-Submitted"] == "auto-replied"
        assert message["In-Reply-To"] == "<challenge@ca.test>"
        assert message.get_content_type() == "text/plain"
        assert message["Content-Transfer-Encoding"] in {None, "7bit"}
        part1 = str(message["Subject"]).removeprefix("Re: ACME: ")
        block = _BLOCK.search(content.decode("ascii"))
        assert block is not None
        for order in self.orders:
            if order.part1 == part1:
                assert message["From"] == order.identifiers[0]["value"]
                order.answers.append(content)
                order.answered = block[1] == self._digest(order)
                self._validate(order)

    def _digest(self, order: Placed) -> str:
        jwk = self.accounts[order.account]
        canonical = json.dumps(
            {name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":")
        )
        thumbprint = b64(hashlib.sha256(canonical.encode()).digest())
        text = f"{order.part1}{order.part2}.{thumbprint}"
        return b64(hashlib.sha256(text.encode()).digest())

    def _validate(self, order: Placed) -> None:
        if order.posted and order.answers and order.authorization == "pending":
            order.authorization = "valid" if order.answered else "invalid"
            order.status = "ready" if order.answered else "invalid"

    # requests

    async def answer(self, asked: Asked) -> web.StreamResponse:
        where = asked.path.strip("/").split("/")
        try:
            if where == ["dir"]:
                return self._told(200, self._directory(), "dir")
            if where == ["nonce"]:
                assert asked.method == "HEAD"
                return web.Response(headers={"Replay-Nonce": self._nonce()})
            account, payload = self._checked(asked, where[0])
            if refusal := self.refuse.get(where[0]):
                raise refusal
            return self._done(where, account, payload)
        except Refusal as refusal:
            self.refused.append(refusal.kind)
            told = {"type": f"urn:ietf:params:acme:error:{refusal.kind}"}
            if refusal.detail:
                told["detail"] = refusal.detail
            headers = {"Replay-Nonce": self._nonce(), **refusal.headers}
            return web.json_response(
                told, status=refusal.status, headers=headers,
                content_type="application/problem+json",
            )  # fmt: skip

    def _done(self, where: list[str], account: str, payload: Any) -> web.StreamResponse:
        match where:
            case ["account"]:
                return self._account(payload)
            case ["acct", _, "orders"]:
                listed = [
                    f"{self.url}/order/{number}"
                    for number, one in enumerate(self.orders)
                    if one.account == account
                ]
                return self._told(200, {"orders": listed}, "orders")
            case ["acct", _]:
                return self._told(200, self._account_object(account), "acct")
            case ["order"]:
                return self._ordered(account, payload)
        return self._about(self.orders[int(where[1])], where, account, payload)

    def _about(
        self, order: Placed, where: list[str], account: str, payload: Any
    ) -> web.StreamResponse:
        if order.account != account:
            raise Refusal(403, "unauthorized")
        match where[0]:
            case "order":
                assert payload is None
                return self._told(200, self._order(where[1]), "order")
            case "authz":
                return self._told(200, self._authorization(where[1]), "authz")
            case "chall":
                assert payload == {}
                order.posted += 1
                self._validate(order)
                return self._told(200, self._challenge(where[1]), "chall")
            case "finalize":
                return self._finalized(where[1], payload)
            case "cert":
                assert order.certificate
                chain = [order.certificate, self.authority.certificate]
                return web.Response(
                    body=certificates_pem(chain), headers={"Replay-Nonce": self._nonce()},
                    content_type="application/pem-certificate-chain",
                )  # fmt: skip
        raise Refusal(404, "malformed", "no such resource")

    def _checked(self, asked: Asked, part: str) -> tuple[str, Any]:
        """The account and payload of a request that keeps every rule."""
        if asked.method != "POST" or asked.headers["Content-Type"] != "application/jose+json":
            raise Refusal(405, "malformed", "not signed")
        jws = json.loads(asked.body)
        assert jws.keys() == {"protected", "payload", "signature"}
        header = json.loads(unb64(jws["protected"]))
        assert header["alg"] == "ES256"
        if header["url"] != self.url + asked.path:
            raise Refusal(401, "unauthorized", "another URL")
        new = part == "account"
        assert header.keys() == {"alg", "nonce", "url", "jwk" if new else "kid"}
        account = ""
        if not new:
            account = header["kid"]
            if account not in self.accounts:
                raise Refusal(400, "accountDoesNotExist", "no such account")
        jwk = header["jwk"] if new else self.accounts[account]
        verify(jwk, f"{jws['protected']}.{jws['payload']}".encode(), unb64(jws["signature"]))
        if header["nonce"] not in self._nonces or self.bad_nonces:
            self.bad_nonces = max(self.bad_nonces - 1, 0)
            raise Refusal(400, "badNonce", "use another one")
        self._nonces.remove(header["nonce"])
        payload = json.loads(unb64(jws["payload"])) if jws["payload"] else None
        return (json.dumps(jwk) if new else account), ((jwk, payload) if new else payload)

    def _account(self, given: Any) -> web.Response:
        jwk, payload = given
        assert jwk.keys() == {"kty", "crv", "x", "y"}  # nothing private
        for url, known in self.accounts.items():
            if known == jwk:
                return self._told(200, self._account_object(url), "account", Location=url)
        if self.terms and payload.get("termsOfServiceAgreed") is not True:
            raise Refusal(403, "userActionRequired", "agree")
        if self.external:
            self._check_binding(jwk, payload.get("externalAccountBinding"))
        url = f"{self.url}/acct/{len(self.accounts) + 1}"
        self.accounts[url] = jwk
        return self._told(201, self._account_object(url), "account", Location=url)

    def _check_binding(self, jwk: Any, bound: Any) -> None:
        if bound is None:
            raise Refusal(403, "externalAccountRequired", "an account with us is needed")
        header = json.loads(unb64(bound["protected"]))
        assert header == {"alg": "HS256", "kid": EAB_ID, "url": f"{self.url}/account"}
        assert json.loads(unb64(bound["payload"])) == jwk
        text = f"{bound['protected']}.{bound['payload']}".encode()
        mac = hmac.digest(unb64(EAB_KEY), text, "sha256")
        if not hmac.compare_digest(mac, unb64(bound["signature"])):
            raise Refusal(403, "unauthorized", "the binding is not ours")

    def _ordered(self, account: str, payload: Any) -> web.Response:
        if payload.keys() != {"identifiers"} or len(payload["identifiers"]) != 1:
            raise Refusal(400, "malformed", "one identifier")
        part1, part2 = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        order = Placed(account, payload["identifiers"], part1, part2)
        if order.identifiers[0]["type"] != "email":
            raise Refusal(400, "unsupportedIdentifier", "addresses alone")
        number = str(len(self.orders))
        self.orders.append(order)
        to = order.identifiers[0]["value"]
        self.mails.append(challenge_mail(token=part1, to=to, results=self.results))
        where = f"{self.url}/order/{number}"
        return self._told(201, self._order(number), "order", Location=where)

    def _finalized(self, number: str, payload: Any) -> web.Response:
        order = self.orders[int(number)]
        if order.status != "ready":
            raise Refusal(403, "orderNotReady", f"it is {order.status}")
        csr = unb64(payload["csr"])
        order.certificate = self.issue(csr, **self.special)
        order.status = "processing" if self.polls else "valid"
        return self._told(200, self._order(number), "order")

    # objects

    def _directory(self) -> dict[str, Any]:
        meta: dict[str, Any] = {"externalAccountRequired": self.external}
        if self.terms:
            meta["termsOfService"] = self.terms
        return {
            "newNonce": f"{self.url}/nonce",
            "newAccount": f"{self.url}/account",
            "newOrder": f"{self.url}/order",
            "revokeCert": f"{self.url}/revoke",
            "meta": meta,
        }

    def _account_object(self, url: str) -> dict[str, Any]:
        return {"status": "valid", "orders": f"{url}/orders" if self.lists_orders else None}

    def _order(self, number: str) -> dict[str, Any]:
        order = self.orders[int(number)]
        if order.status == "processing":
            self.polls -= 1
            order.status = "processing" if self.polls > 0 else "valid"
        told = {
            "status": order.status,
            "expires": order.expires,
            "identifiers": order.identifiers,
            "authorizations": [f"{self.url}/authz/{number}"],
            "finalize": f"{self.url}/finalize/{number}",
            "error": order.error,
        }
        if order.status == "valid":
            told["certificate"] = f"{self.url}/cert/{number}"
        return told

    def _authorization(self, number: str) -> dict[str, Any]:
        order = self.orders[int(number)]
        return {
            "status": order.authorization,
            "expires": order.expires,
            "identifier": order.identifiers[0],
            "challenges": [self._challenge(number)],
        }

    def _challenge(self, number: str) -> dict[str, Any]:
        order = self.orders[int(number)]
        told = {
            "type": self.offered,
            "url": f"{self.url}/chall/{number}",
            "status": "processing" if order.posted else "pending",
            "from": CA,
            "token": order.part2,
        }
        if order.authorization == "invalid":
            problem = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "wrong"}
            told |= {"status": "invalid", "error": problem}
        return told

    def _told(
        self, status: int, told: dict[str, Any], what: str, **headers: str
    ) -> web.Response:
        headers["Replay-Nonce"] = self._nonce()
        if self.retry_after:
            headers["Retry-After"] = self.retry_after
        return web.json_response(
            told | self.change.get(what, {}), status=status, headers=headers
        )

    def _nonce(self) -> str:
        nonce = secrets.token_urlsafe(16)
        self._nonces.add(nonce)
        return nonce


def verify(jwk: Any, text: bytes, signature: bytes) -> None:
    """ES256 (RFC 7518 §3.4)."""
    x, y = (int.from_bytes(unb64(jwk[name])) for name in ("x", "y"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(part) for part in (signature[:32], signature[32:]))
    try:
        public.verify(encode_dss_signature(r, s), text, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise Refusal(400, "malformed", "the signature is wrong") from None


def b64(data: bytes) -> str:
    """As JOSE has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The same, back."""
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
