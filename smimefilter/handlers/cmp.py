"""Certificates by CMP over HTTP: p10cr, polling, and the confirmation of what was issued.

Messages are protected by a shared secret or by the signature of a client certificate. Answers
are believed where their protection is that of the same secret, or was made by a key whose
certificate is in the settings, and where transaction and nonce are ours; anything else is
trouble, never a refusal, since anybody could have said it. So the URL may be plain HTTP.

The transaction is named by the order's id each time, by which a CA that remembers recognises
it. What was issued is remembered before it is confirmed. A certificate for another key or
address is declined at the CA, and then refused by who asked.

Leaves messages to `pki/cmp.py`, their protection to `cmpsettings.py`, HTTP to `remote.py`,
checking what was issued to `flow/requests.py`. The validity is up to the CA.

RFC 4210 §5.3.3 and §5.3.18 ff., RFC 9480, RFC 9483 §4.1.4 (PKCS#10) and §4.4 (polling),
RFC 6712 (HTTP). Raises `HandlerTrouble`.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel

from smimefilter.pki import cmp
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.cmp import Reply, UnreadableCmp
from smimefilter.pki.cmpasn1 import PkiBody
from smimefilter.pki.request import read_csr
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

from .cmpsettings import CmpSettings, Credentials, credentials_of, name_of
from .remote import LONGEST_CHAIN, Link, client_context, status_words

CONTENT_TYPE: Final = "application/pkixcmp"
SOONEST, LATEST = timedelta(seconds=5), timedelta(days=1)
_PASSES: Final = frozenset(  # what is a matter of set-up or of time, not of the request
    {
        "badMessageCheck", "badTime", "wrongAuthority", "missingTimeStamp", "wrongIntegrity",
        "badRecipientNonce", "timeNotAvailable", "badSenderNonce", "signerNotTrusted",
        "transactionIdInUse", "unsupportedVersion", "notAuthorized", "systemUnavail",
        "systemFailure",
    }
)  # fmt: skip

_ENDED: Final = frozenset({"badRecipientNonce", "transactionIdInUse"})


class Cmp:
    """Asks a CMP server."""

    title: ClassVar[str] = "CMP (RFC 9480)"
    settings: ClassVar[type[BaseModel]] = CmpSettings
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = False
    can_upload: ClassVar[bool] = False

    def __init__(
        self, settings: CmpSettings, credentials: Credentials, link: Link, services: Services
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._link = link
        self._clock = services.clock
        self._recipient = name_of(settings.recipient)

    @classmethod
    def opened(cls, settings: CmpSettings, services: Services) -> Self:
        """A handler. Raises `HandlerTrouble` for credentials that do not do."""
        credentials = credentials_of(settings)
        context = client_context(settings.ca_certificates, credentials.identity)
        link = Link(settings.url, context, settings.timeout, most=cmp.LARGEST)
        if settings.secret:
            link.hide(settings.secret.get_secret_value())
        return cls(settings, credentials, link, services)

    async def request(self, order: Order, remember: Remember) -> Outcome:
        """Ask for a certificate, or go on with what was begun."""
        state = order.state
        if "certificate" in state:
            return await self._confirmed(order, state, remember, again=True)
        if "poll" in state:
            return await self._polled(order, state, remember)
        body = cmp.request_body(order.csr)
        reply = await self._exchange(bytes.fromhex(order.id), body, first=True)
        if "transactionIdInUse" in reply.failures:  # an earlier message of ours arrived
            earlier = _polling(cmp.NO_CERT_REQ_ID, reply)
            outcome = await self._polled(order, earlier, remember)
            if isinstance(outcome, NotIssued):  # of the question, not of the order
                raise HandlerTrouble(f"the CA has the order already, but {outcome.reason}")
            return outcome
        if reply.status == cmp.WAITING:
            waiting = _polling(reply.cert_req_id, reply)
            await remember(waiting)
            return await self._polled(order, waiting, remember)
        return await self._answered(order, reply, remember)

    async def test(self) -> str:
        """Whether the server answers, and each takes the other's protection."""
        transaction = secrets.token_bytes(16)
        reply = await self._exchange(transaction, cmp.question_body())
        if reply.kind == "error" and _PASSES.intersection(reply.failures):
            raise self._told(reply)
        return "the CMP server answers, and its protection is good"

    async def close(self) -> None:
        """Let go of connections."""
        await self._link.close()

    # the steps

    async def _polled(
        self, order: Order, state: Mapping[str, Any], remember: Remember
    ) -> Outcome:
        reply = await self._exchange(
            bytes.fromhex(order.id),
            cmp.poll_body(int(state["poll"])),
            their_nonce=bytes.fromhex(state["nonce"]),
        )
        return await self._answered(order, reply, remember)

    async def _answered(self, order: Order, reply: Reply, remember: Remember) -> Outcome:
        if reply.kind == "poll_rep":
            wait = timedelta(seconds=min(max(reply.check_after, 0), LATEST.total_seconds()))
            note = self._link.shown(reply.text)
            return Later(
                "in work at the CA" + (f": {note}" if note else ""),
                _polling(reply.cert_req_id, reply),
                max(wait, SOONEST),
            )
        if reply.status == cmp.WAITING:
            return Later("in work at the CA", _polling(reply.cert_req_id, reply))
        if reply.kind == "error" or reply.status == cmp.REJECTION:
            return self._refused(reply)
        if reply.kind != "cp" or not reply.certificate:
            raise HandlerTrouble(f"the CA answers without a certificate, status {reply.status}")
        state = {
            "certificate": _text(reply.certificate),
            "chain": [_text(one) for one in reply.others[:LONGEST_CHAIN]],
            "request": reply.cert_req_id,
            "nonce": reply.nonce.hex(),
        }
        if reply.implicit_confirm and self._settings.implicit_confirm:
            return _issued(state)
        await remember(state)
        return await self._confirmed(order, state, remember)

    async def _confirmed(
        self, order: Order, state: Mapping[str, Any], remember: Remember, *, again: bool = False
    ) -> Outcome:
        """Tell the CA whether its certificate is taken; what came of the order."""
        issued = _issued(state)
        certificate = issued.certificate
        taken = read_csr(order.csr).is_answered_by(certificate) and not order.flaw(certificate)
        reply = await self._exchange(
            bytes.fromhex(order.id),
            cmp.confirm_body(certificate, int(state["request"]), taken=taken),
            their_nonce=bytes.fromhex(state["nonce"]),
            version=cmp.version_for(certificate),
        )
        if reply.kind == "pkiconf" or not taken or "certConfirmed" in reply.failures:
            return issued
        if reply.kind != "error":
            raise HandlerTrouble("the CA answers the confirmation with something else")
        if again and not _PASSES.difference(_ENDED).intersection(reply.failures):
            return issued  # an earlier confirmation arrived, and ended the transaction
        await remember({**state, "nonce": reply.nonce.hex()})
        return self._refused(reply)

    def _refused(self, reply: Reply) -> NotIssued:
        """A refusal for good. Raises `HandlerTrouble` for one that may pass."""
        if _PASSES.intersection(reply.failures):
            raise self._told(reply)
        return NotIssued(f"the CA refuses: {self._said(reply)}")

    def _told(self, reply: Reply) -> HandlerTrouble:
        return HandlerTrouble(f"the CA answers: {self._said(reply)}")

    def _said(self, reply: Reply) -> str:
        why = ", ".join(reply.failures)
        said = self._link.shown(reply.text)
        if said and why:
            return f"{said} ({why})"
        return said or why or f"status {reply.status}"

    # one message and its answer

    async def _exchange(
        self,
        transaction: bytes,
        body: PkiBody,
        *,
        their_nonce: bytes = b"",
        first: bool = False,
        version: int = cmp.CMP2000,
    ) -> Reply:
        """The answer to a message, verified. Raises `HandlerTrouble`."""
        nonce = secrets.token_bytes(16)
        head = cmp.Head(
            sender=self._credentials.sender,
            recipient=self._recipient,
            sender_kid=self._credentials.kid,
            transaction=transaction,
            nonce=nonce,
            their_nonce=their_nonce,
            now=self._clock(),
            implicit_confirm=first and self._settings.implicit_confirm,
            version=version,
        )
        protector, shown = self._credentials.protector(), self._credentials.shown
        message = await asyncio.to_thread(cmp.build, head, body, protector, shown)
        answer = await self._link.ask(
            "POST", "", message, content_type=CONTENT_TYPE, accept=CONTENT_TYPE
        )
        if answer.status != 200 and answer.content_type != CONTENT_TYPE:
            raise self._link.trouble(answer)
        try:
            reply = await asyncio.to_thread(cmp.read_reply, answer.body)
            believed = await asyncio.to_thread(self._credentials.believes, reply)
        except (UnreadableCmp, UnreadableCertificate) as error:
            raise HandlerTrouble(f"the CA's answer is not understood: {error}") from None
        if not believed:
            raise HandlerTrouble(self._unbelieved(reply, answer.status))
        if reply.transaction != transaction or reply.our_nonce != nonce:
            raise HandlerTrouble("the CA's answer is not one to what was asked")
        return reply

    def _unbelieved(self, reply: Reply, status: int) -> str:
        if reply.protection:
            return "the protection of the CA's answer is not that of anybody known"
        if reply.kind == "error":
            return f"somebody answers without protection: {self._said(reply)}"
        return f"the CA's answer is without protection ({status_words(status)})"


def _polling(cert_req_id: int, reply: Reply) -> dict[str, Any]:
    return {"poll": cert_req_id, "nonce": reply.nonce.hex()}


def _issued(state: Mapping[str, Any]) -> Issued:
    """What was remembered. Raises `HandlerTrouble` where it is no certificate."""
    try:
        certificate, *others = (
            Certificate.read(base64.b64decode(one))
            for one in (state["certificate"], *state["chain"])
        )
        return Issued(certificate, tuple(one for one in others if one.is_ca))
    except UnreadableCertificate as error:
        raise HandlerTrouble(f"the CA's certificate cannot be read: {error}") from None


def _text(der: bytes) -> str:
    return base64.b64encode(der).decode()
