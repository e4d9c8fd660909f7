"""An order at an ACME server, from the ordering to the certificate, step by step.

What an order is at is asked of the server each time; remembered is what the server does not
say again, or what must not be done twice: the URLs of account and order, the challenge and
whom its mail comes from, which mails were answered. Each is remembered before the next step, so
that whoever goes on after a crash goes on with the same order.

If it is not known whether an order was made, the account's orders are looked through where the
server lists them. One that is left behind costs nothing: a certificate is only made of one that
is finalised. An order that has expired, or that the server knows no more, is made anew.

While the challenge mail has not come the server is asked every few hours only; the filter makes
the request due when it has. Mails that come later are answered as well: who else orders for the
same address at the same CA brings forth such mails too, and answers to them are worth nothing
to anybody. Of our own requests for one address only one at a time waits for its mail, so that
none answers another's.

Leaves the exchange to `acme_client.py`, mails to `flow/challenges.py`, and whether the
certificate is the one that was wanted to `flow/requests.py`. RFC 8555 §7.1.6 (states), §7.4,
§7.5; RFC 8823 §3. Raises `HandlerTrouble`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from smimefilter.base.address import BadAddress, address_key
from smimefilter.pki.request import read_csr
from smimefilter.plan.challenge import AwaitedMail, ChallengeMail
from smimefilter.ports.handlers import (
    Challenges,
    HandlerTrouble,
    Issued,
    Later,
    NotIssued,
    Order,
    Outcome,
    Remember,
)

from .acme_client import (
    CHAIN,
    Account,
    AcmeClient,
    AcmeProblem,
    Authorization,
    Challenge,
    OrderObject,
    Orders,
    Problem,
    TryLater,
)
from .acme_keys import base64url
from .remote import certificates_in, chosen

CHALLENGE: Final = "email-reply-00"
ROUNDS: Final = 6  # steps at the server in one go
MOST_ORDERS: Final = 20  # that are looked through
LOOK_EVERY: Final = timedelta(minutes=2)  # for a mail that came while nobody was told
ASK_EVERY: Final = timedelta(hours=6)  # how it stands, while the mail has not come
FIRST_POLL, LAST_POLL = timedelta(seconds=10), timedelta(hours=1)
_FINAL: Final = frozenset(
    {"rejectedIdentifier", "unsupportedIdentifier", "badCSR", "badPublicKey"}
)
_OVER: Final = frozenset({"expired", "deactivated", "revoked"})


@dataclass(frozen=True, slots=True)
class Terms:
    """How challenge mails are dealt with, by the settings."""

    authserv_id: str
    deliver: bool

    @property
    def kept(self) -> list[Any]:
        """To be remembered."""
        return [self.authserv_id, self.deliver]

    def of(self, sender: str) -> AwaitedMail:
        """What is waited for from this address."""
        return AwaitedMail(sender, self.authserv_id, self.deliver)


class AcmeOrder:
    """One order, worked on once."""

    def __init__(
        self,
        client: AcmeClient,
        challenges: Challenges,
        terms: Terms,
        order: Order,
        state: Mapping[str, Any],
        remember: Remember,
    ) -> None:
        """The client has its account; `state` as it was remembered."""
        self._client = client
        self._challenges = challenges
        self._terms = terms
        self._order = order
        self._remember = remember
        self.state: dict[str, Any] = dict(state)

    async def go(self) -> Outcome:
        """As far as it can be gone now."""
        try:
            outcome = await self._gone()
        except AcmeProblem as problem:
            if problem.kind not in _FINAL:
                raise
            outcome = NotIssued(f"the CA refuses: {problem}")
        if not isinstance(outcome, Later):
            await self._challenges.expect(self._order.id, None)
        return outcome

    async def _gone(self) -> Outcome:
        if "order" not in self.state and (not_yet := await self._ordered()):
            return not_yet
        if not await self._by_new_terms():
            return self._behind()
        for _ in range(ROUNDS):
            if self._is_quiet() and not await self._arrived():
                return self._waiting()
            try:
                found = await self._client.read(self.state["order"], OrderObject)
            except AcmeProblem as problem:
                if problem.http != 404:
                    raise
                return await self._anew("the CA knows the order no more")
            outcome = self._flaw(found) or await self._step(found)
            if outcome is not None:
                return outcome
        return self._in_work("in work at the CA")

    async def _keep(self, **news: Any) -> None:
        self.state |= news
        await self._remember(self.state)

    # ordering

    async def _ordered(self) -> NotIssued | Later | None:
        """Make an order, or find the one that was made; or why there is none."""
        if not await self._challenges.expect(self._order.id, self._terms.of("")):
            return self._behind()
        found = await self._found_again() if self.state.get("ordering") else ""
        if found:
            await self._keep(order=found, adopted=True)
            return None
        await self._keep(ordering=True)
        identifier = {"type": "email", "value": self._order.address}
        url = (await self._client.directory()).new_order
        try:
            answer = await self._client.post(url, {"identifiers": [identifier]})
        except (AcmeProblem, TryLater):
            await self._challenges.expect(self._order.id, None)
            del self.state["ordering"]
            await self._remember(self.state)
            raise
        if flaw := self._flaw(answer.read_as(OrderObject)):
            return flaw
        await self._keep(order=self._client.location(answer))
        return None

    async def _found_again(self) -> str:
        """An order for the address that the account has and that is still open."""
        try:
            account = await self._client.read(self._client.account, Account)
            if not account.orders:
                return ""
            listed = (await self._client.read(account.orders, Orders)).orders
            for url in reversed(listed[-MOST_ORDERS:]):
                order = await self._client.read(url, OrderObject)
                if order.status in {"pending", "ready"} and not self._flaw(order):
                    return url
        except AcmeProblem:  # a list is not offered by every server
            pass
        return ""

    def _flaw(self, found: OrderObject) -> NotIssued | None:
        """Why an order is not the one that is meant."""
        named = [(one.type, _key(one.value)) for one in found.identifiers]
        if named == [("email", self._order.address)]:
            return None
        values = ", ".join(one.value for one in found.identifiers) or "nobody"
        return NotIssued(f"the CA's order is for {self._client.shown(values)}")

    async def _anew(self, why: str) -> Later:
        kept = {name: self.state[name] for name in ("account", "directory")}
        self.state = kept
        await self._challenges.expect(self._order.id, None)
        await self._remember(kept)
        return Later(f"{why}: it is ordered anew", kept)

    # the steps

    async def _step(self, found: OrderObject) -> Outcome | None:
        """What is to be done next; None: done, ask again how it stands."""
        match found.status:
            case "pending":
                return await self._authorised(found)
            case "ready":
                return await self._finalised(found)
            case "processing":
                return self._in_work("in work at the CA")
            case "valid":
                return await self._downloaded(found)
            case "invalid":
                return await self._invalid(found)
        raise HandlerTrouble(f"the CA's order is {self._client.shown(found.status)}")

    async def _authorised(self, found: OrderObject) -> Outcome | None:
        authorization = await self._authorization(found)
        if authorization.status == "valid":
            await self._challenges.expect(self._order.id, None)
            return None
        if authorization.status == "pending":
            return await self._challenged(authorization)
        return await self._failed(authorization, found)

    async def _authorization(self, found: OrderObject) -> Authorization:
        if len(found.authorizations) != 1:
            raise HandlerTrouble(f"the order has {len(found.authorizations)} authorisations")
        authorization = await self._client.read(found.authorizations[0], Authorization)
        named = authorization.identifier
        if (named.type, _key(named.value)) != ("email", self._order.address):
            shown = self._client.shown(named.value)
            raise HandlerTrouble(f"the CA's authorisation is for {shown}")
        return authorization

    async def _challenged(self, authorization: Authorization) -> Outcome:
        offered = authorization.challenges
        challenge = next((one for one in offered if one.type == CHALLENGE), None)
        if challenge is None:
            types = ", ".join(one.type for one in offered) or "nothing"
            return NotIssued(f"the CA offers no {CHALLENGE}, but {self._client.shown(types)}")
        if not await self._look_out(challenge, authorization.expires):
            return self._behind()
        mails = await self._arrived()
        if not mails:
            return self._waiting()
        new = [one for one in mails if one.token not in self.state["answered"]]
        for mail in new:
            await self._answer(mail, challenge)
        if new or "told" not in self.state:
            await self._client.post(challenge.url, {})
            await self._keep(told=True)
        return self._in_work("the CA checks the answer to its mail")

    async def _look_out(self, challenge: Challenge, expires: str) -> bool:
        """From now on the filter knows what mail is meant, also where it has forgotten since
        the request was given up; False where another one waits."""
        sender, asked = _key(challenge.sender), self._order.now.isoformat()
        if not sender or not challenge.token.isascii() or not challenge.token:
            raise HandlerTrouble("the CA's challenge has no token, or no address in 'from'")
        if not await self._challenges.expect(self._order.id, self._terms.of(sender)):
            return False
        self.state.setdefault("answered", [])
        await self._keep(
            **{"from": sender}, terms=self._terms.kept, expires=expires, asked=asked
        )
        return True

    async def _by_new_terms(self) -> bool:
        """What is waited for already goes by the settings of now; False where another one
        waits."""
        if self.state.get("terms", self._terms.kept) != self._terms.kept:
            sender = self.state["from"]
            if not await self._challenges.expect(self._order.id, self._terms.of(sender)):
                return False
            await self._keep(terms=self._terms.kept)
        return True

    async def _answer(self, mail: ChallengeMail, challenge: Challenge) -> None:
        digest = self._client.key.authorisation(mail.token, challenge.token)
        text = f"-----BEGIN ACME RESPONSE-----\n{digest}\n-----END ACME RESPONSE-----\n"
        await self._challenges.answer(self._order.address, mail, text)
        await self._keep(answered=[*self.state["answered"], mail.token])

    async def _finalised(self, found: OrderObject) -> Outcome | None:
        try:
            await self._client.post(found.finalize, {"csr": base64url(self._order.csr)})
        except AcmeProblem as problem:
            if problem.kind != "orderNotReady":
                raise
        return None

    async def _downloaded(self, found: OrderObject) -> Outcome:
        answer = await self._client.post(found.certificate, accept=CHAIN)
        issued = chosen(certificates_in(answer.body), read_csr(self._order.csr))
        if issued is None:
            raise HandlerTrouble("the CA gave the certificate of a CA, and none of a user")
        return await self._ours(issued)

    async def _ours(self, issued: Issued) -> Outcome:
        fits = read_csr(self._order.csr).is_answered_by(issued.certificate)
        if not fits and self.state.get("adopted"):
            return await self._anew("the order that was found was another request's")
        return issued

    async def _invalid(self, found: OrderObject) -> Outcome:
        if self._is_past(found.expires):
            return await self._anew("the order has expired")
        if found.error is not None:
            return self._refused([found.error])
        return await self._failed(await self._authorization(found), found)

    async def _failed(self, authorization: Authorization, found: OrderObject) -> Outcome:
        """An authorisation that will never be one."""
        status = authorization.status
        past = any(map(self._is_past, (authorization.expires, found.expires)))
        if status in _OVER or past:
            return await self._anew("the authorisation has ended")
        if status != "invalid":
            raise HandlerTrouble(f"the CA's authorisation is {self._client.shown(status)}")
        return self._refused([one.error for one in authorization.challenges if one.error])

    def _refused(self, problems: Sequence[Problem]) -> NotIssued:
        said = self._client.shown("; ".join(one.said for one in problems))
        return NotIssued(f"the CA refuses: {said or 'it does not say why'}")

    # waiting

    async def _arrived(self) -> list[ChallengeMail]:
        """Challenge mails from who has to have sent them."""
        sender = self.state.get("from")
        mails = await self._challenges.arrived(self._order.id)
        return [one for one in mails if one.sender == sender]

    def _is_quiet(self) -> bool:
        """Whether there is nothing to ask the server now: a mail is waited for."""
        if "from" not in self.state or "told" in self.state:
            return False
        asked = datetime.fromisoformat(self.state["asked"])
        over = self._is_past(self.state["expires"])
        return not over and self._order.now < asked + ASK_EVERY

    def _behind(self) -> Later:
        note = "another request for the address waits for its challenge mail first"
        return Later(note, self.state, LOOK_EVERY)

    def _waiting(self) -> Later:
        return Later(
            f"waits for the challenge mail from {self.state['from']}", self.state, LOOK_EVERY
        )

    def _in_work(self, note: str) -> Later:
        """Ask again soon, and less and less often; or when the server says."""
        polls = int(self.state.get("polls", 0))
        self.state["polls"] = polls + 1
        wait = min(FIRST_POLL * 2 ** min(polls, 12), LAST_POLL)
        return Later(note, self.state, self._client.again or wait)

    def _is_past(self, text: str) -> bool:
        """Whether a time of the server's has come; one that is none has not."""
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            return False
        return (when if when.tzinfo else when.replace(tzinfo=UTC)) <= self._order.now


def _key(address: str) -> str:
    """An address of the server's, to be compared; empty where it is none."""
    try:
        return address_key(address)
    except BadAddress:
        return ""
