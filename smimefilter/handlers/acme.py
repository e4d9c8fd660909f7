"""S/MIME certificates by ACME: RFC 8555, and `email-reply-00` of RFC 8823.

The account's key is made at first use and kept by the gateway's vault, one for each directory;
the account is made with it, or found again. The challenge mail is seen by the filter as it
passes, answered by mail, and the order goes on.

Leaves the order to `acme_order.py`, the exchange to `acme_client.py`, mails to
`flow/challenges.py`. The validity and all but address and key are up to the CA. Raises
`HandlerTrouble`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from smimefilter.base.address import address_key
from smimefilter.ports.handlers import (
    HandlerTrouble,
    Later,
    Order,
    Outcome,
    Remember,
    Services,
)

from .acme_client import AcmeClient, AcmeProblem, TryLater, origin
from .acme_keys import AccountKey
from .acme_order import AcmeOrder, Terms
from .remote import Link, Server, checked_url, client_context


def _directory(url: str) -> str:
    return checked_url(url, ("https",))


def _contact(address: str) -> str:
    if address:
        address_key(address)  # raises BadAddress, a ValueError
    return address


class AcmeSettings(Server):
    """Which CA, as whom, and whose word on challenge mails counts."""

    directory: Annotated[str, AfterValidator(_directory)] = Field(
        description="The URL of the CA's ACME directory."
    )
    authserv_id: str = Field(
        min_length=1,
        description="The name in Authentication-Results of the mail server that checks DKIM, "
        "and removes such fields from mail that brings them along; 'none': challenge mails "
        "have to be signed with S/MIME.",
    )
    contact: Annotated[str, AfterValidator(_contact)] = Field(
        "", description="A mail address for the CA to write to."
    )
    agree_terms: bool = Field(False, description="Whether the CA's terms are agreed to.")
    eab_key_id: str = Field("", description="Of an external account, where the CA wants one.")
    eab_hmac_key: SecretStr | None = Field(None, description="Its key, base64url.")
    deliver_challenges: bool = Field(
        False, description="Whether challenge mails go to their recipients as well."
    )

    @property
    def terms(self) -> Terms:
        """How challenge mails are dealt with."""
        known = "" if self.authserv_id.strip().lower() == "none" else self.authserv_id.strip()
        return Terms(known, self.deliver_challenges)


class Acme:
    """Asks an ACME server."""

    title: ClassVar[str] = "ACME (RFC 8823)"
    settings: ClassVar[type[BaseModel]] = AcmeSettings
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = False
    can_upload: ClassVar[bool] = False

    def __init__(self, settings: AcmeSettings, link: Link, services: Services) -> None:
        self._settings = settings
        self._link = link
        self._services = services

    @classmethod
    def opened(cls, settings: AcmeSettings, services: Services) -> Self:
        """A handler. Raises `HandlerTrouble` for roots that cannot be read."""
        context = client_context(settings.ca_certificates, None)
        link = Link(origin(settings.directory), context, settings.timeout)
        if settings.eab_hmac_key:
            link.hide(settings.eab_hmac_key.get_secret_value())
        return cls(settings, link, services)

    async def request(self, order: Order, remember: Remember) -> Outcome:
        """Ask for a certificate, or go on with what was begun."""
        state = dict(order.state)
        if state.get("directory") != self._settings.directory:
            state = {}  # what another CA was asked is no concern of this one
        client, work = await self._client(), None
        try:
            if "account" in state:
                client.account = state["account"]
            else:
                await self._register(client)
                state = {"directory": self._settings.directory, "account": client.account}
                await remember(state)
            terms, challenges = self._settings.terms, self._services.challenges
            work = AcmeOrder(client, challenges, terms, order, state, remember)
            return await work.go()
        except TryLater as later:
            return Later(str(later), work.state if work else state, later.again)
        except AcmeProblem as problem:
            if problem.kind == "accountDoesNotExist":
                await remember({})  # it is made anew the next time
            if problem.kind == "externalAccountRequired":
                raise HandlerTrouble(f"{problem}; see eab_key_id and eab_hmac_key") from None
            raise

    async def test(self) -> str:
        """Whether the CA answers and takes our account, which is made if there is none."""
        client = await self._client()
        made = await self._register(client)
        known = "made" if made else "there already"
        by = self._settings.terms.authserv_id
        vouching = f"DKIM as {by} has checked it, or S/MIME" if by else "S/MIME alone"
        return (
            f"the CA answers; the account is {known}: {client.account}; challenge mails are "
            f"believed by {vouching}"
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._link.close()

    async def _client(self) -> AcmeClient:
        directory = self._settings.directory
        name = "acme/" + hashlib.sha256(directory.encode()).hexdigest()[:32]
        secret = await self._services.vault.secret(name, AccountKey.made)
        return AcmeClient(self._link, directory, AccountKey(secret), self._services.clock)

    async def _register(self, client: AcmeClient) -> bool:
        """Make the account or find it; whether it is new. Raises `HandlerTrouble`."""
        settings, directory = self._settings, await client.directory()
        terms = client.shown(directory.meta.terms)
        if terms and not settings.agree_terms:
            raise HandlerTrouble(f"the CA's terms are not agreed to (agree_terms): {terms}")
        payload: dict[str, Any] = {}
        if terms:
            payload["termsOfServiceAgreed"] = True
        if settings.contact:
            payload["contact"] = [f"mailto:{settings.contact}"]
        bound = self._bound(client, directory.new_account)
        if bound:
            payload["externalAccountBinding"] = bound
        elif directory.meta.bound:
            raise HandlerTrouble(
                "the CA wants an external account: set eab_key_id and eab_hmac_key"
            )
        return await client.register(payload)

    def _bound(self, client: AcmeClient, url: str) -> Mapping[str, Any] | None:
        key_id, hmac_key = self._settings.eab_key_id, self._settings.eab_hmac_key
        if not key_id or hmac_key is None:
            return None
        return client.key.bound(key_id, hmac_key.get_secret_value(), url)
