"""GlobalSign Atlas (HVCA) as a request handler.

An order is sent once. That it is about to be is remembered first, its serial number as soon as
there is one; where a process dies in between, or an answer is lost, the certificates that Atlas
issued since are looked through for our key, and only when it has had time enough to show one is
the order sent anew. What may be asked for is read from the validation policy of the account.

Leaves the session to `atlas_client.py`, setting the account up to `atlas_account.py`, and
looking at what was issued to `flow/requests.py`. Raises `HandlerTrouble`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.keyfile import UnreadableKeyFile
from smimefilter.pki.keyfile import read as read_keyfile
from smimefilter.pki.request import Csr, csr_pem, parsed_csr, read_csr
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

from .atlas_client import AtlasClient, Busy, Problem, problem_of, total_count
from .atlas_policy import Policy
from .globalsign import Answer, NotSent, Remote

EMAIL_PROTECTION: Final = "1.3.6.1.5.5.7.3.4"
SHOWN_BY: Final = timedelta(minutes=15)  # an order that was taken can be found by then
SOON: Final = timedelta(minutes=2)
SKEW: Final = 300  # seconds that clocks may differ
PAGE: Final = 100
MOST_PAGES: Final = 10  # of certificates that an order is looked for among
_SERIAL: Final = re.compile(r"[0-9A-Za-z]{1,64}")


class AtlasSettings(BaseModel):
    """Settings of `atlas`; `smimefilter atlas setup` fills them in."""

    model_config = ConfigDict(frozen=True)

    url: str = Field(
        "https://emea.api.hvca.globalsign.com:8443/v2", description="where the API is"
    )
    api_key: SecretStr = Field(description="of the API credential")
    api_secret: SecretStr = Field(description="of the API credential; shown by Atlas once")
    mtls_certificate: str = Field(description="for mutual TLS, made by Atlas (PEM)")
    mtls_key: SecretStr = Field(description="its private key (PEM)")
    new_mtls_key: SecretStr | None = Field(
        None, description="the key of a CSR whose certificate has not been brought yet (PEM)"
    )
    roots: str = Field("", description="PEM roots for TLS, in the place of the system's")
    timeout: float = Field(60, gt=0, le=300, description="seconds that an answer may take")


class Atlas:
    """Orders from Atlas and fetches what was issued."""

    title: ClassVar[str] = "GlobalSign Atlas"
    settings: ClassVar[type[BaseModel]] = AtlasSettings
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = False
    can_upload: ClassVar[bool] = False

    def __init__(self, client: AtlasClient) -> None:
        self.client = client

    @classmethod
    def opened(cls, settings: AtlasSettings, services: Services) -> Self:
        """A handler."""
        remote = Remote(
            settings.url,
            roots=settings.roots,
            certificate=settings.mtls_certificate,
            key=settings.mtls_key.get_secret_value(),
            timeout=settings.timeout,
        )
        key, secret = settings.api_key, settings.api_secret
        return cls(
            AtlasClient(
                remote, key.get_secret_value(), secret.get_secret_value(), services.clock
            )
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self.client.close()

    async def test(self) -> str:
        """Log in, and see what is left of the quota and what the policy allows."""
        quota, _ = await self.client.read("/quotas/issuance")
        policy = await self._policy()
        left = quota.get("value") if isinstance(quota, dict) else None
        if not isinstance(left, int):
            raise HandlerTrouble("Atlas does not say how many certificates are left")
        if left < 1:
            raise HandlerTrouble("the quota of the Atlas account is used up")
        days = f", up to {policy.longest // 86400} days" if policy.longest else ""
        return f"logged in; {left} certificates left; keys: {policy.keys}{days}"

    async def request(self, order: Order, remember: Remember) -> Outcome:
        """Order, or see how it stands."""
        try:
            if "serial" in order.state:
                return await self._fetched(order.state["serial"])
            if "ordering" in order.state:
                return await self._looked_for(order, remember)
            return await self._ordered(order, remember)
        except Busy as busy:
            return Later(str(busy), again=SOON)

    # ordering

    async def _ordered(self, order: Order, remember: Remember) -> Outcome:
        if not order.address.isascii():
            return NotIssued("Atlas takes addresses of ASCII characters alone")
        body = _body(order, await self._policy())
        await remember({"ordering": int(order.now.timestamp())})
        try:
            answer = await self.client.ask("POST", "/certificates", body)
        except NotSent:
            await remember({})
            raise
        if answer.status == 201:
            serial = _serial(answer)
            await remember({"serial": serial})
            return await self._fetched(serial)
        problem = problem_of(answer)
        if 400 <= answer.status < 500 or (answer.status == 503 and problem.is_its_own):
            await remember({})  # it says that it did not take it
            return _not_taken(problem)
        raise HandlerTrouble(
            f"Atlas answered {answer.status}: whether it took the order is to be seen"
        )

    async def _looked_for(self, order: Order, remember: Remember) -> Outcome:
        """What became of an order of which nobody knows whether it was taken."""
        since = int(order.state["ordering"])
        csr = read_csr(order.csr)
        serial = await self._serial_of(csr, since, order.now)
        if serial:
            await remember({"serial": serial})
            return await self._fetched(serial)
        if order.now.timestamp() < since + SHOWN_BY.total_seconds():
            return Later("whether Atlas took the order is to be seen", again=SOON)
        return await self._ordered(order, remember)

    async def _serial_of(self, csr: Csr, since: int, now: datetime) -> str:
        """The serial number of what was issued for a key; empty where there is none. Raises
        `HandlerTrouble` when that cannot be told: ordering twice costs more than waiting."""
        window = f"&from={since - SKEW}&to={int(now.timestamp()) + SKEW}"
        seen: set[str] = set()
        unready: Busy | None = None
        for page in range(1, MOST_PAGES + 1):
            path = f"/stats/issued?page={page}&per_page={PAGE}{window}"
            found, headers = await self.client.read(path)
            new = [one for one in _serials(found) if one not in seen]
            for serial in new:
                try:
                    certificate, _ = await self._certificate(serial, patient=False)
                except Busy as busy:  # it may be ours, or another one is
                    unready = busy
                    continue
                if certificate is not None and csr.is_answered_by(certificate):
                    return serial
            seen.update(new)
            if not new or len(seen) >= total_count(headers):
                if unready is not None:
                    raise unready
                return ""
        raise HandlerTrouble("too many certificates were issued since to find this order")

    # what was issued

    async def _fetched(self, serial: str) -> Outcome:
        certificate, status = await self._certificate(serial)
        if status == "REVOKED":
            return NotIssued("Atlas has revoked it already")
        if status != "ISSUED" or certificate is None:
            return Later(f"ordered as {serial}: not issued yet", again=SOON)
        return Issued(certificate, await self._chain())

    async def _certificate(
        self, serial: str, *, patient: bool = True
    ) -> tuple[Certificate | None, str]:
        found, _ = await self.client.read(f"/certificates/{serial}", patient=patient)
        if not isinstance(found, dict):
            raise HandlerTrouble("Atlas gave something else than a certificate")
        pem, status = found.get("certificate"), found.get("status")
        return _one(pem) if pem else None, str(status)

    async def _chain(self) -> tuple[Certificate, ...]:
        """What is above it; where it cannot be had the certificate is good without."""
        try:
            return await trust_chain(self.client)
        except HandlerTrouble:
            return ()

    async def _policy(self) -> Policy:
        found, _ = await self.client.read("/validationpolicy")
        return Policy(found if isinstance(found, dict) else {})


async def trust_chain(client: AtlasClient) -> tuple[Certificate, ...]:
    """The CA certificates above what the account issues. Raises `HandlerTrouble`."""
    found, _ = await client.read("/trustchain")
    chain = tuple(_one(pem) for pem in found) if isinstance(found, list) else ()
    if not chain or not all(one.is_ca for one in chain):
        raise HandlerTrouble("Atlas gave no chain of CA certificates")
    return chain


def _body(order: Order, policy: Policy) -> dict[str, Any]:
    seconds = order.days * 86400
    if policy.longest is not None:
        seconds = min(seconds, policy.longest)
    begin = int(order.now.timestamp())
    subject = {
        "common_name": order.common_name if policy.takes("common_name") else "",
        "organization": order.organisation if policy.takes("organization") else "",
        "given_name": order.given_name if policy.takes("given_name", otherwise=False) else "",
        "surname": order.surname if policy.takes("surname", otherwise=False) else "",
        "email": order.address if policy.requires("email") else "",
    }
    body: dict[str, Any] = {
        "validity": {"not_before": begin, "not_after": begin + seconds},
        "subject_dn": {name: value for name, value in subject.items() if value},
        "san": {"emails": [order.address]},
        **_key(order, policy),
    }
    if policy.chooses_usages:
        body["extended_key_usages"] = [EMAIL_PROTECTION]
    if signature := policy.signature(order.digest):
        body["signature"] = signature
    return body


def _key(order: Order, policy: Policy) -> dict[str, str]:
    if policy.takes_csr:
        return {"public_key": csr_pem(order.csr).decode()}
    public = parsed_csr(order.csr).public_key()
    form = PublicFormat.SubjectPublicKeyInfo
    key = {"public_key": public.public_bytes(Encoding.PEM, form).decode()}
    if policy.takes_proof and order.sign is not None:
        # of the DER, whatever the certificate is signed with: Atlas knows SHA-256 alone here
        proof = order.sign(public.public_bytes(Encoding.DER, form), "sha256")
        key["public_key_signature"] = base64.b64encode(proof).decode()
    return key


def _not_taken(problem: Problem) -> Outcome:
    if problem.is_for_good:
        return NotIssued(f"Atlas refuses it: {problem.description}")
    if problem.code in {429, 503}:
        return Later(f"Atlas has no time for it: {problem.description}", again=SOON)
    raise problem


def _serial(answer: Answer) -> str:
    location = answer.headers.get("Location", "")
    serial = location.rstrip("/").rpartition("/")[2]
    if not _SERIAL.fullmatch(serial):
        raise HandlerTrouble("Atlas took the order and did not say where it is")
    return serial


def _serials(found: Any) -> Iterable[str]:
    if not isinstance(found, list):
        raise HandlerTrouble("Atlas does not say what it issued")
    for one in found:
        serial = one.get("serial_number") if isinstance(one, Mapping) else None
        if not isinstance(serial, str) or not _SERIAL.fullmatch(serial):
            raise HandlerTrouble("Atlas does not say what it issued")
        yield serial


def _one(pem: Any) -> Certificate:
    try:
        found = read_keyfile(str(pem).encode(), keys=False).certificates
    except UnreadableKeyFile as error:
        raise HandlerTrouble(f"Atlas gave something else than a certificate: {error}") from None
    if len(found) != 1:
        raise HandlerTrouble("Atlas gave several certificates where one was wanted")
    return found[0]
