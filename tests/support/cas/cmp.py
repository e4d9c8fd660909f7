"""A CMP server that keeps the rules, or breaks the one that it is told to."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from aiohttp import web
from asn1crypto import x509

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.cmp import FAILURES, Head, Protector, Signer, build, covered_bytes
from smimefilter.pki.cmpasn1 import CertOrEncCert, PkiBody, PkiMessage
from smimefilter.pki.cmpmac import PASSWORD_BASED_MAC, MacProtector, mac_verifies
from smimefilter.pki.export import certificates_pem
from smimefilter.trust.signature import scheme_of, verifies
from tests.support.pki import NOW, Issued

from .server import Asked, CaServer, client

REFERENCE, SECRET = "4711", "geheim & gut"
TYPE = "application/pkixcmp"


class FakeCmp(CaServer):
    """By a shared secret; by signatures where it has a `signer`."""

    def __init__(
        self,
        *,
        scheme: str = "https",
        mac: str = PASSWORD_BASED_MAC,
        signer: Issued | None = None,
        **special: Any,
    ) -> None:
        super().__init__(**special)
        self.scheme = scheme
        self.signer = signer
        self.secret = SECRET.encode()
        self.special: dict[str, Any] = {}
        self.breaks = ""  # nonce, transaction, unprotected, tampered, garbage
        self.refusal: tuple[str, ...] = ()  # failures
        self.error = False  # refuse by an error message, not in an answer
        self.confirm_failure = ""
        self.polls = 0  # how often to ask
        self.check_after = 7
        self.waits_at_first = False
        self.strict = False  # no transaction twice
        self.http_status = 200
        self.issued: dict[bytes, Certificate] = {}  # by transaction
        self.confirmed: list[bool] = []
        self._requests: dict[bytes, bytes] = {}
        self._nonces: dict[bytes, bytes] = {}
        self._mac = mac

    def settings(self, **special: Any) -> dict[str, Any]:
        """With a shared secret, or with what signs."""
        found = self.tls() | {"url": self.url + "/cmp"}
        if self.signer is None:
            return found | {"reference": REFERENCE, "secret": SECRET} | special
        signers = certificates_pem([self.signer.certificate]).decode()
        return found | {"signer_certificates": signers} | special

    async def answer(self, asked: Asked) -> web.StreamResponse:
        assert asked.headers["Content-Type"] == TYPE
        message = PkiMessage.load(asked.body, strict=True)
        header, body = message["header"], message["body"]
        transaction = header["transaction_id"].native
        if not self._knows(message):
            return self._send(header, error_body("badMessageCheck"))
        if body.name in {"cert_conf", "poll_req"} and not self._follows(header):
            return self._send(header, error_body("badRecipientNonce"))
        match body.name:
            case "p10cr":
                return self._send(header, self._asked(transaction, body.chosen.dump(True)))
            case "poll_req":
                return self._send(header, self._polled(transaction))
            case "cert_conf":
                return self._send(header, self._told(transaction, body.chosen[0]))
            case "genm":
                return self._send(header, PkiBody("genp", []))
        return self._send(header, error_body("badRequest"))

    def _asked(self, transaction: bytes, tagged: bytes) -> PkiBody:
        if self.strict and transaction in self._requests:
            return error_body("transactionIdInUse")
        request = PkiBody.load(tagged).chosen.untag().dump()
        self._requests[transaction] = request
        if self.refusal:
            return self._refused()
        return self._waiting() if self.polls else self._answered(transaction)

    def _polled(self, transaction: bytes) -> PkiBody:
        if transaction not in self._requests:
            return error_body("badRequest")
        self.polls -= 1
        if self.polls >= 0:
            told = {"cert_req_id": -1, "check_after": self.check_after, "reason": ["soon"]}
            return PkiBody("poll_rep", [told])
        return self._refused() if self.refusal else self._answered(transaction)

    def _answered(self, transaction: bytes) -> PkiBody:
        certificate = self.issue(self._requests[transaction], **self.special)
        certificate = self.issued.setdefault(transaction, certificate)
        pair = {
            "cert_or_enc_cert": CertOrEncCert(
                "certificate", x509.Certificate.load(certificate.der)
            )
        }
        return cp_body({"status": 0}, key_pair=pair)

    def _waiting(self) -> PkiBody:
        return cp_body({"status": 3})

    def _refused(self) -> PkiBody:
        if self.error:
            return error_body(*self.refusal)
        return cp_body(status(*self.refusal))

    def _told(self, transaction: bytes, told: Any) -> PkiBody:
        certificate = self.issued[transaction]
        kind = told["hash_alg"].native
        digest = hashlib.new(kind["algorithm"] if kind else "sha256", certificate.der)
        assert told["cert_hash"].native == digest.digest()
        assert told["cert_req_id"].native == -1
        self.confirmed.append(told["status"]["status"].native == 0)
        if self.confirm_failure:
            return error_body(self.confirm_failure)
        return PkiBody("pkiconf", None)

    # protection

    def _knows(self, message: PkiMessage) -> bool:
        header = message["header"]
        algorithm = header["protection_alg"].untag().dump()
        bits, covered = message["protection"].native, covered_bytes(header, message["body"])
        if self.signer is None:
            assert header["sender_kid"].native == REFERENCE.encode()
            return mac_verifies(self.secret, algorithm, covered, bits)
        scheme = scheme_of(algorithm)
        assert scheme is not None
        assert message["extra_certs"][0].dump() == client().certificate.der
        return verifies(client().certificate.public_key, scheme, bits, covered)

    def _follows(self, header: Any) -> bool:
        expected = self._nonces.get(header["transaction_id"].native)
        return bool(header["recip_nonce"].native == expected)

    def _protector(self) -> Protector:
        if self.signer is not None:
            return Signer(self.signer.key)
        return MacProtector(self.secret, self._mac)

    def _send(self, header: Any, body: PkiBody) -> web.Response:
        if self.breaks == "garbage":
            return web.Response(body=b"\x30\x03abc", content_type=TYPE)
        transaction, nonce = header["transaction_id"].native, secrets.token_bytes(16)
        self._nonces[transaction] = nonce
        wants = header["general_info"].native or []
        head = Head(
            sender_kid=b"server",
            transaction=bytes(16) if self.breaks == "transaction" else transaction,
            nonce=nonce,
            their_nonce=bytes(16) if self.breaks == "nonce" else header["sender_nonce"].native,
            now=NOW,
            implicit_confirm=any(one["type"] == "1.3.6.1.5.5.7.4.13" for one in wants),
        )
        above = (self.authority.certificate, *self.authority.chain)
        der = build(head, body, self._protector(), above)
        if self.breaks == "tampered":
            der = der.replace(b"Alice Example", b"Malice Exampl")
            der = der.replace(b"\x30\x0dTest", b"\x30\x0dBest") if b"Malice" not in der else der
        if self.breaks == "unprotected":
            parts = PkiMessage.load(der)
            bare = PkiMessage({"header": parts["header"], "body": parts["body"]})
            der = bare.dump()
        return web.Response(body=der, status=self.http_status, content_type=TYPE)


def status(*failures: str, text: str = "says\r\nno") -> dict[str, Any]:
    """PKIStatusInfo of a refusal."""
    bits = {FAILURES.index(one) for one in failures}
    raised = tuple(int(n in bits) for n in range(max(bits) + 1))
    return {"status": 2, "status_string": [text], "fail_info": raised}


def error_body(*failures: str) -> PkiBody:
    """An error message."""
    return PkiBody("error", {"status": status(*failures)})


def cp_body(info: dict[str, Any], **special: Any) -> PkiBody:
    """An answer to a p10cr."""
    return PkiBody("cp", {"response": [{"cert_req_id": -1, "status": info} | special]})
