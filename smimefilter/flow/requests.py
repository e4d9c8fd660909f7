"""Requests for certificates, from the asking to the certificate in the store.

A request is stored before anything is done for it, and goes on from there by steps that each
may be the last of this process: its key is made and stored, its handler is asked, what was
issued is checked and stored with its key and the end of the request in one transaction. Whoever
finds a request half done goes on with it; the handler is asked under the same id. What is left
to do then (mailing the key) is noted first and done after.

Handlers that answer later are asked again, less and less often, until a day when it is given
up. What they give is believed as far as it is checked: the key, the address, the time.

Leaves storing to `ports/requests.py`, getting certificates to handlers. Raises `AdminError`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key

from smimefilter.base.errors import AdminError, KeyTrouble, TemporaryTrouble
from smimefilter.pki.build import generate_key
from smimefilter.pki.certificate import Certificate, UnreadableCertificate, is_ca
from smimefilter.pki.export import key_pkcs8
from smimefilter.pki.privatekey import belongs_together
from smimefilter.pki.request import make_csr, prove
from smimefilter.ports.audit import FAILED, REFUSED, AuditRecord
from smimefilter.ports.handlers import (
    Handler,
    HandlerTrouble,
    Issued,
    Kind,
    Later,
    NotIssued,
    Order,
    Outcome,
    Remember,
)
from smimefilter.ports.journal import Journal
from smimefilter.ports.keys import PRIVATE_KEY, Sealer
from smimefilter.ports.requests import (
    REQUEST_SECRETS,
    Requests,
    RequestState,
    StoredRequest,
)
from smimefilter.ports.stores import Certificates, StoreTrouble, WrappedKey

from .certificates import chain_of
from .wanted import Wanted, above, flaw

LEASE: Final = timedelta(minutes=15)
PATIENCE: Final = 600.0  # seconds that a handler may take; less than the lease
SOONEST: Final = timedelta(minutes=1)
LATEST: Final = timedelta(hours=6)
GIVE_UP: Final = timedelta(days=30)
SHORTEST_ID: Final = 4  # digits that a request is named by
DEFECT: Final = "trouble of our own, see the log"  # why a request waits
_ANSWERABLE: Final = (RequestState.PENDING, RequestState.GIVEN_UP, RequestState.REFUSED)
_BUSY: Final = "somebody else is at it right now: try again"
STEP: Final = 300.0  # seconds that a step after it may take; less than the lease too


@dataclass(frozen=True, slots=True)
class _Secrets:
    """What is wrapped in a request."""

    key: bytes | None = None  # PKCS#8 DER
    password: str = ""
    state: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return "<_Secrets>"


@dataclass(frozen=True, slots=True)
class Done:
    """A request whose certificate is in the store, for what is left to do."""

    wanted: Wanted
    certificate: Certificate
    key: PrivateKeyTypes
    password: str = field(repr=False)
    chain: tuple[Certificate, ...] = ()


Step = tuple[str, Callable[[], Awaitable[None]]]
Finish = Callable[[Done], Sequence[Step]]


class Handlers:
    """The request handlers that are installed, opened when they are asked for."""

    def __init__(
        self,
        kinds: Callable[[], Mapping[str, type[Kind]]],
        opened: Callable[[str], Awaitable[Handler]],
    ) -> None:
        self.kinds = kinds
        self.opened = opened

    def kind(self, name: str) -> type[Kind]:
        """The class of a handler. Raises `AdminError` when there is none of this name."""
        found = self.kinds().get(name)
        if found is None:
            raise AdminError(
                f"there is no request handler '{name}'",
                mend="list them with: smimefilter handler list",
            )
        return found


class RequestDesk:
    """All that is done with requests."""

    def __init__(
        self,
        *,
        requests: Requests,
        certificates: Certificates,
        handlers: Handlers,
        sealer: Sealer,
        clock: Callable[[], datetime],
        journal: Journal,
        finish: Finish,
        chance: Callable[[], float],
        give_up: timedelta = GIVE_UP,
    ) -> None:
        """`finish`: the steps that are left when the certificate is in the store, by what is
        said when one is done; each is done once, as far as that can be known."""
        self._requests = requests
        self._certificates = certificates
        self._handlers = handlers
        self._sealer = sealer
        self._clock = clock
        self._journal = journal
        self._finish = finish
        self._chance = chance
        self._give_up = give_up
        self._makers = ThreadPoolExecutor(os.cpu_count(), "keys")

    async def submit(
        self,
        wanted: Sequence[Wanted],
        handler: str,
        *,
        passwords: Sequence[str] = (),
        batch: str = "",
        positions: Sequence[int] = (),
        once: Sequence[str] = (),
    ) -> list[StoredRequest]:
        """Store requests, to be worked on; nothing is done for them yet. `once`: a text for
        each, by which it is stored only where nothing was stored by that text before; those
        that are new are given back."""
        self._handlers.kind(handler)
        now = self._clock()
        stored = []
        for number, one in enumerate(wanted):
            checked = one.checked()
            id_ = id_by(once[number]) if once else secrets.token_hex(16)
            password = passwords[number] if passwords else ""
            stored.append(
                StoredRequest(
                    id=id_,
                    handler=handler,
                    address=checked.address,
                    fields=asdict(checked),
                    secrets=self._sealed(id_, _Secrets(password=password)),
                    created=now,
                    due=now,
                    give_up=now + self._give_up,
                    outcome="not begun",
                    batch=batch,
                    position=positions[number] if positions else 0,
                )
            )
        records = [
            AuditRecord(now, one.id, "requested", f"{one.address} from {handler}")
            for one in stored
        ]
        return await self._requests.add(stored, records)

    async def work(self, ids: Collection[str]) -> list[StoredRequest]:
        """Go on with these now, as far as nobody else is at them; how they stand."""
        now = self._clock()
        lease, claimed = await self._requests.claim(now, now + LEASE, len(ids) or 1, ids)
        return await self._all(lease, claimed)

    async def work_due(self, most: int) -> int:
        """Go on with what is due; how many."""
        now = self._clock()
        lease, claimed = await self._requests.claim(now, now + LEASE, most)
        await self._all(lease, claimed)
        return len(claimed)

    async def find(self, id_: str) -> StoredRequest:
        """The one whose id begins so. Raises `AdminError`."""
        digits = id_.strip().lower()
        if len(digits) < SHORTEST_ID:
            raise AdminError(
                f"'{id_}' is not enough of a request's id",
                mend=f"write its first {SHORTEST_ID} digits or more; "
                "list them with: smimefilter pending list",
            )
        found = await self._requests.find(digits)
        if len(found) != 1:
            said = "no request has" if not found else f"{len(found)} requests have"
            raise AdminError(
                f"{said} an id that begins with '{id_}'",
                mend="list them with: smimefilter pending list",
            )
        return found[0]

    async def csr(self, request: StoredRequest) -> bytes:
        """The CSR of a request, for people to take to the CA, DER. Raises `AdminError`."""
        if not self._handlers.kind(request.handler).can_download:
            raise AdminError(
                f"requests of the handler {request.handler} are not for people to carry",
                where=request.id[:8],
            )
        found = self._opened(request)
        if found.key is None:
            raise AdminError("its key is not made yet: try again", where=request.id[:8])
        return _csr(_wanted(request), _key(found.key))

    async def refuse_second(self, address: str, handler: str) -> None:
        """Raises `AdminError` where a request for an address (a key) waits at a handler
        already, those of a file and of nobody left aside."""
        waiting = await self._requests.all([RequestState.PENDING], address=address)
        for one in waiting:
            if one.handler == handler and not one.batch:
                raise AdminError(
                    f"request {one.id[:8]} for it waits already, since {one.created:%Y-%m-%d}",
                    where=address,
                    mend=f"see: smimefilter pending show {one.id[:8]}; or say --another",
                )

    async def upload(
        self, certificates: Sequence[Certificate], only: str = "", source: str = ""
    ) -> list[tuple[Certificate, StoredRequest | None, str]]:
        """Answer requests with what people brought, also late, or where what the CA gave for
        our key was refused: each certificate is matched by its public key. What became of
        each, and why of those that were refused. `only`: the id of the request that they are
        for; `source`: where they come from, for people. Raises `AdminError` where there is
        nothing to answer."""
        if all(map(is_ca, certificates)):
            raise AdminError(
                "there is no certificate of a user in it, only those of CAs", where=source
            )
        kinds = self._handlers.kinds()
        waiting = [
            (one, key)
            for one in await self._requests.all(_ANSWERABLE)
            if one.state is RequestState.REFUSED
            or (one.handler in kinds and kinds[one.handler].can_upload)
            if (key := self._key_of(one)) is not None
        ]
        if only and only not in {one.id for one, _ in waiting}:
            raise AdminError(f"request {only[:8]} does not wait for a certificate from people")
        answers: list[tuple[Certificate, StoredRequest | None, str]] = []
        for certificate in certificates:
            if is_ca(certificate):
                continue
            matches = [one for one, key in waiting if belongs_together(certificate, key)]
            match = next((one for one in matches if only in {"", one.id}), None)
            if match is None:
                answers.append((certificate, None, _for_another(only, matches)))
                continue
            chain = tuple(one for one in certificates if is_ca(one))
            answers.append((certificate, *await self._answered(match, certificate, chain)))
        return answers

    def _key_of(self, request: StoredRequest) -> PrivateKeyTypes | None:
        """Its key, if it has one that can be read."""
        try:
            der = self._opened(request).key
            return None if der is None else _key(der)
        except (KeyTrouble, ValueError, TypeError) as error:
            self._journal.trouble("request not worked on: defect", error, request=request.id)
            return None

    async def _answered(
        self, request: StoredRequest, certificate: Certificate, chain: tuple[Certificate, ...]
    ) -> tuple[StoredRequest | None, str]:
        key = self._opened(request).key
        assert key is not None
        wrong = flaw(certificate, _wanted(request), _key(key), self._clock())
        if wrong:
            return None, wrong
        now = self._clock()
        lease, claimed = await self._requests.claim(
            now, now + LEASE, 1, [request.id], states=_ANSWERABLE
        )
        if not claimed:
            return None, _BUSY
        # What has ended is issued now, and has its time for what is left to do then.
        (one,) = claimed
        if one.state is not RequestState.PENDING:
            one = replace(one, give_up=now + self._give_up)
        try:
            return await self._issued(lease, one, Issued(certificate, chain), "uploaded"), ""
        except _Lost:
            return None, _BUSY

    async def reschedule(self, ids: Collection[str]) -> int:
        """Make pending ones due now, and those that were given up pending again; how many."""
        now = self._clock()
        records = [AuditRecord(now, id_, "rescheduled") for id_ in ids]
        return await self._requests.reschedule(ids, now, now + self._give_up, records)

    async def remove(self, ids: Collection[str]) -> int:
        """Forget these, with their keys, as far as nobody works on them; how many."""
        now = self._clock()
        return await self._requests.remove(
            ids, now, [AuditRecord(now, id_, "deleted") for id_ in ids]
        )

    async def _all(self, lease: str, claimed: Sequence[StoredRequest]) -> list[StoredRequest]:
        """Go on with each. The keys of all are made first: what comes then for all at the
        same time is stored together."""
        loop = asyncio.get_running_loop()
        keys: dict[str, asyncio.Future[PrivateKeyTypes]] = {}
        unreadable: dict[str, Exception] = {}
        for one in claimed:
            try:
                if self._opened(one).key is None and not one.thumbprint:
                    kind = _wanted(one).key
                    keys[one.id] = loop.run_in_executor(self._makers, generate_key, kind)
            except Exception as error:  # noqa: BLE001 - one request's trouble is its own
                unreadable[one.id] = error

        async def go_on(one: StoredRequest) -> StoredRequest:
            if one.id in unreadable:
                return await self._troubled(lease, one, unreadable[one.id])
            return await self._go_on(lease, one, keys.get(one.id))

        try:
            if keys:
                await asyncio.wait(keys.values())
            return list(await asyncio.gather(*map(go_on, claimed)))
        finally:
            for key in keys.values():
                key.cancel()

    # the way of one

    async def _go_on(
        self, lease: str, request: StoredRequest, key: asyncio.Future[PrivateKeyTypes] | None
    ) -> StoredRequest:
        try:
            if request.thumbprint:  # issued, and something left to do
                return await self._finished(lease, request)
            if key is not None:
                request = await self._with_key(lease, request, await key)
            return await self._asked(lease, request)
        except _Lost:
            return request
        except Exception as error:  # noqa: BLE001 - one request's trouble is its own
            return await self._troubled(lease, request, error)

    async def _troubled(
        self, lease: str, request: StoredRequest, error: Exception
    ) -> StoredRequest:
        if isinstance(error, HandlerTrouble):
            return await self._again(lease, request, str(error) or error.public)
        if isinstance(error, KeyTrouble):  # such as secrets under another master key
            return await self._again(lease, request, f"its secrets do not open: {error}")
        if isinstance(error, StoreTrouble):  # if it lasts, its turn comes when the lease ends
            return await self._again(lease, request, error.public)
        if isinstance(error, AdminError):  # such as a handler that is installed no longer
            return await self._again(lease, request, str(error))
        self._journal.trouble("request not worked on: defect", error, request=request.id)
        return await self._again(lease, request, DEFECT)

    async def _with_key(
        self, lease: str, request: StoredRequest, key: PrivateKeyTypes
    ) -> StoredRequest:
        """The request with its key, which is stored before anybody is asked."""
        found = replace(self._opened(request), key=key_pkcs8(key))
        sealed = self._sealed(request.id, found)
        request = replace(request, secrets=sealed, outcome="key made")
        if not await self._requests.keep(lease, request):
            raise _Lost
        return request

    async def _asked(self, lease: str, request: StoredRequest) -> StoredRequest:
        found, wanted, now = self._opened(request), _wanted(request), self._clock()
        own = found.key
        assert own is not None
        try:
            csr = _csr(wanted, _key(own))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            return await self._refused(lease, request, f"it cannot be asked for: {error}")
        order = Order(
            id=request.id,
            address=wanted.address,
            common_name=wanted.common_name,
            organisation=wanted.organisation,
            given_name=wanted.given_name,
            surname=wanted.surname,
            csr=csr,
            days=wanted.days,
            digest=wanted.digest,
            crl_url=wanted.crl_url,
            issuer_url=wanted.issuer_url,
            state=found.state or {},
            now=now,
            sign=partial(prove, _key(own)),
            flaw=lambda certificate: flaw(certificate, wanted, _key(own), now),
        )

        async def remember(state: Mapping[str, Any]) -> None:
            nonlocal request
            kept = replace(self._opened(request), state=state)
            request = replace(request, secrets=self._sealed(request.id, kept))
            if not await self._requests.keep(lease, request):
                raise _Lost

        try:
            outcome = await self._outcome(order, request.handler, remember)
            match outcome:
                case Issued():
                    return await self._checked(lease, request, outcome)
                case Later(note=note, state=state, again=again):
                    if state is not None:
                        await remember(state)
                    return await self._again(lease, request, note, again)
                case NotIssued(reason=reason):
                    return await self._refused(lease, request, reason)
        except _Lost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, what is remembered stays
            return await self._troubled(lease, request, error)

    async def _outcome(self, order: Order, name: str, remember: Remember) -> Outcome:
        handler = await self._handlers.opened(name)
        try:
            async with asyncio.timeout(PATIENCE):
                return await handler.request(order, remember)
        except TimeoutError:
            raise HandlerTrouble(f"no answer within {PATIENCE:.0f} seconds") from None
        finally:
            await handler.close()

    async def _checked(
        self, lease: str, request: StoredRequest, outcome: Issued
    ) -> StoredRequest:
        wanted, secret = _wanted(request), self._opened(request)
        key = outcome.key or secret.key
        assert key is not None
        certificate, kept = outcome.certificate, None
        try:
            opened = _key(key)
            wrong = flaw(certificate, wanted, opened, self._clock())
            if wrong and belongs_together(certificate, opened):  # people may still mend it
                kept = self._sealed(request.id, replace(secret, key=key, state=None))
        except ValueError:
            wrong = "the key that came with it cannot be read"
        if wrong:
            why = f"what the CA gave is refused: {wrong}; {_called(certificate)}"
            return await self._refused(lease, request, why, kept)
        return await self._issued(lease, request, outcome, "issued")

    async def _issued(
        self, lease: str, request: StoredRequest, outcome: Issued, event: str
    ) -> StoredRequest:
        """Store certificate, key and the end of the request at once."""
        secret, certificate = self._opened(request), outcome.certificate
        key = outcome.key or secret.key
        assert key is not None
        thumbprint = certificate.thumbprint
        wrapped = WrappedKey(thumbprint, self._sealer.seal(PRIVATE_KEY, thumbprint, key))
        left = _is_left(_wanted(request))
        kept = replace(secret, key=key if left else None, state=None)
        request = replace(
            request,
            thumbprint=thumbprint,
            state=RequestState.PENDING if left else RequestState.ISSUED,
            due=self._clock(),
            tries=0,
            outcome="issued" + ("; more is to be done" if left else ""),
            secrets=self._sealed(request.id, kept) if left else None,
        )
        record = AuditRecord(
            self._clock(), request.id, event,
            f"serial {certificate.serial_hex} by {certificate.issuer}",
        )  # fmt: skip
        chain = above(certificate, outcome.chain)
        if not await self._requests.settle(
            lease, request, [record], certificates=[certificate, *chain], keys=[wrapped]
        ):
            raise _Lost
        self._journal.note(
            "certificate issued", request=request.id, address=request.address,
            handler=request.handler, thumbprint=thumbprint,
        )  # fmt: skip
        if not left:
            return request
        now = self._clock()
        again, claimed = await self._requests.claim(now, now + LEASE, 1, [request.id])
        return await self._go_on(again, claimed[0], None) if claimed else request

    async def _finished(self, lease: str, request: StoredRequest) -> StoredRequest:
        """What is left when the certificate is in the store, step by step."""
        secret = self._opened(request)
        assert secret.key is not None
        certificate = await self._certificate(request)
        found = Done(
            _wanted(request),
            certificate,
            _key(secret.key),
            secret.password,
            await chain_of(self._certificates, certificate),
        )
        done: list[str] = list((secret.state or {}).get("done", ()))
        for name, step in self._finish(found):
            if name in done:
                continue
            until = self._clock() + LEASE  # each has the whole of it
            if not await self._requests.keep(lease, request, until=until):
                raise _Lost
            try:
                async with asyncio.timeout(STEP):
                    await step()
            except (AdminError, TemporaryTrouble) as error:
                return await self._again(lease, request, str(error))
            except TimeoutError:
                why = f"{name}: not done within {STEP:.0f} seconds"
                return await self._again(lease, request, why)
            done.append(name)
            kept = self._sealed(request.id, replace(secret, state={"done": done}))
            request = replace(request, secrets=kept)
            record = AuditRecord(self._clock(), request.id, "done", name)
            if not await self._requests.keep(lease, request, [record]):
                raise _Lost
        said = "; ".join(("issued", *done))
        ended = replace(request, state=RequestState.ISSUED, outcome=said, secrets=None)
        await self._requests.settle(lease, ended)
        return ended

    async def _certificate(self, request: StoredRequest) -> Certificate:
        found = await self._certificates.these([request.thumbprint])
        if not found:
            raise AdminError(
                "the certificate was removed meanwhile", where=request.thumbprint[:16]
            )
        return found[0].certificate

    async def _refused(
        self, lease: str, request: StoredRequest, why: str, kept: bytes | None = None
    ) -> StoredRequest:
        """It has ended; `kept`: its secrets, where people may still bring a certificate."""
        done = replace(
            request, state=RequestState.REFUSED, outcome=why, tries=request.tries + 1,
            secrets=kept,
        )  # fmt: skip
        await self._requests.settle(
            lease, done, [AuditRecord(self._clock(), request.id, "refused", why, REFUSED)]
        )
        self._journal.warn(
            "certificate refused", request=request.id, address=request.address,
            handler=request.handler, why=why,
        )  # fmt: skip
        return done

    async def _again(
        self,
        lease: str,
        request: StoredRequest,
        why: str,
        again: timedelta | None = None,
    ) -> StoredRequest:
        """It is its turn again later; or never, when that has gone on for too long."""
        now, tries = self._clock(), request.tries + 1
        wait = again or min(SOONEST * 2.0 ** min(tries - 1, 20), LATEST)
        due = now + wait * (1 + 0.1 * self._chance())
        if now >= request.give_up:
            done = replace(
                request, state=RequestState.GIVEN_UP, outcome=f"given up: {why}", tries=tries
            )
            record = AuditRecord(now, request.id, "given up", why, FAILED)
        else:
            done = replace(request, due=due, outcome=why, tries=tries)
            record = AuditRecord(now, request.id, "waits", why)
        known = [] if request.outcome == why and done.state is request.state else [record]
        await self._requests.settle(lease, done, known)
        return done

    def _opened(self, request: StoredRequest) -> _Secrets:
        if request.secrets is None:
            return _Secrets()
        found = json.loads(self._sealer.open(REQUEST_SECRETS, request.id, request.secrets))
        key = found.get("key")
        return _Secrets(
            base64.b64decode(key) if key else None,
            found.get("password", ""),
            found.get("state"),
        )

    def _sealed(self, id_: str, found: _Secrets) -> bytes:
        plain = {
            "key": base64.b64encode(found.key).decode() if found.key else None,
            "password": found.password,
            "state": dict(found.state) if found.state else None,
        }
        return self._sealer.seal(REQUEST_SECRETS, id_, json.dumps(plain).encode())


def _called(certificate: Certificate) -> str:
    """By what people find it at the CA, to revoke it."""
    try:
        named = f"serial {certificate.serial_hex} by {certificate.issuer}, "
    except UnreadableCertificate:
        named = ""
    return f"{named}thumbprint {certificate.thumbprint}"


def _for_another(only: str, matches: Sequence[StoredRequest]) -> str:
    if not only:
        return "it is for another key than that of any request that waits"
    if matches:
        of = f"{matches[0].id[:8]} for {matches[0].address}"
        return f"it is for the key of request {of}, not for that of {only[:8]}"
    return f"it is for another key than that of request {only[:8]}"


def id_by(text: str) -> str:
    """The id of a request that is stored once by a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Lost(Exception):
    """The lease ended, and another one has the request."""


def _is_left(wanted: Wanted) -> bool:
    return wanted.send or wanted.sms or wanted.add_user or wanted.store_password


def _wanted(request: StoredRequest) -> Wanted:
    known = Wanted.__dataclass_fields__
    fields = {name: value for name, value in request.fields.items() if name in known}
    return Wanted(**fields)  # type: ignore[arg-type]


def _key(der: bytes) -> PrivateKeyTypes:
    return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)


def _csr(wanted: Wanted, key: PrivateKeyTypes) -> bytes:
    return make_csr(
        key,
        address=wanted.address,
        common_name=wanted.common_name,
        organisation=wanted.organisation,
        given_name=wanted.given_name,
        surname=wanted.surname,
        digest=wanted.digest,
    )
