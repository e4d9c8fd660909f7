"""What the certificate authority does by itself, while the filter runs.

Requests that are due are worked on; CRLs of our CAs are made anew when half of their time has
passed; where policy says so, certificates that end soon are requested anew (`renew-before`),
and internal senders who have none to sign with get one (`auto-request`). No mail waits for any
of it, and no trouble with it stops a mail.

Several nodes may do this on one database: a request is leased, a CRL has a number, and whoever
has a request that is not yet done gets no second one. Raises nothing but cancellation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError
from smimefilter.plan.selection import for_signing
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    AUTO_REQUEST,
    CA_CRL_RENEWAL,
    DISPLAY_NAME,
    LOCALITY,
    RENEW_BEFORE,
    Locality,
)
from smimefilter.ports.journal import Journal, MailRecord
from smimefilter.ports.requests import Requests, RequestState

from .authority import AuthorityDesk
from .enrol import handler_for, with_defaults
from .requests import RequestDesk
from .snapshots import Snapshots

LOOK_EVERY: Final = 5.0  # seconds between looks for requests that are due
CRLS_EVERY: Final = 60.0
RENEW_EVERY: Final = 3600.0
AT_ONCE: Final = 8  # requests
MOST: Final = 1000  # senders that wait to be looked at
QUIET: Final = timedelta(days=7)  # after a refusal nobody is asked for again by itself


class Caretaker:
    """Runs beside the filter; a `ports.journal.Witness` of its mails."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        authority: AuthorityDesk,
        desk: RequestDesk,
        requests: Requests,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._snapshots = snapshots
        self._authority = authority
        self._desk = desk
        self._requests = requests
        self._journal = journal
        self._clock = clock
        self._senders: dict[str, None] = {}  # who sent mail and may need a certificate
        self._looked_at: dict[str, int] = {}  # by address: the revision it was looked at by
        self._failing: set[str] = set()

    def mail(self, record: MailRecord) -> None:
        """One mail is done with."""
        sender = record.transaction.sender
        if sender and len(self._senders) < MOST:
            self._senders[sender] = None

    async def run(self) -> None:
        """Look after everything, until cancelled."""
        crls = renewals = 0.0
        while True:
            await self._do("requests", self._work)
            await self._do("requests for senders", self._request_for_senders)
            if time.monotonic() >= crls:
                crls = time.monotonic() + CRLS_EVERY
                await self._do("CRLs of our own", self._renew_crls)
            if time.monotonic() >= renewals:
                renewals = time.monotonic() + RENEW_EVERY
                await self._do("renewals", self._renew_certificates)
            await asyncio.sleep(LOOK_EVERY)

    async def _do(self, what: str, work: Callable[[], object]) -> None:
        try:
            await work()  # type: ignore[misc]
            self._failing.discard(what)
        except Exception as error:  # noqa: BLE001 - the rest goes on
            if what not in self._failing:
                self._journal.trouble(f"{what} not seen to", error)
            self._failing.add(what)

    async def _work(self) -> None:
        while await self._desk.work_due(AT_ONCE) == AT_ONCE:
            pass

    async def _renew_crls(self) -> None:
        if not self._moment.view("").get(CA_CRL_RENEWAL).value:
            return
        for one in await self._authority.renew_crls():
            self._journal.note("CRL made anew", ca=one.id, subject=one.certificate.subject)

    async def _request_for_senders(self) -> None:
        senders, self._senders = self._senders, {}
        moment = self._moment
        revision = moment.snapshot.revision
        if len(self._looked_at) > MOST:
            self._looked_at.clear()
        for sender in senders:
            if self._looked_at.get(sender) == revision:
                continue
            self._looked_at[sender] = revision
            if _lacks_one(moment, sender):
                await self._request(moment, address_key(sender), "auto-request")

    async def _renew_certificates(self) -> None:
        """Whoever has a key of his own here and a certificate that ends soon."""
        moment = self._moment
        addresses = {
            address
            for thumbprint in moment.snapshot.keys
            if (one := moment.snapshot.certificates.by_thumbprint(thumbprint)) is not None
            for address in one.addresses
        }
        for address in sorted(addresses):
            if _ends_soon(moment, address):
                await self._request(moment, address, "renew-before")
            await asyncio.sleep(0)

    async def _request(self, moment: Moment, address: str, why: str) -> None:
        known = await self._requests.all(address=address)
        since = self._clock() - QUIET
        if any(one.state is RequestState.PENDING or one.created > since for one in known):
            return
        name = moment.view(address).get(DISPLAY_NAME).value or _known_name(moment, address)
        try:
            wanted = with_defaults(moment, address, common_name=name or address)
            (one,) = await self._desk.submit([wanted], handler_for(moment, address))
        except AdminError as error:
            self._journal.trouble("certificate not requested", error, address=address)
            return
        self._journal.note("certificate requested", address=address, request=one.id, why=why)

    @property
    def _moment(self) -> Moment:
        return self._snapshots.current.snapshot.at(self._clock())


def _lacks_one(moment: Moment, address: str) -> bool:
    """Whether an internal sender wants a certificate by policy, and has none to sign with."""
    try:
        view = moment.view(address)
    except BadAddress:
        return False
    return (
        view.get(AUTO_REQUEST).value
        and view.get(LOCALITY).value is Locality.INTERNAL
        and not for_signing(moment, address).certificates
    )


def _ends_soon(moment: Moment, address: str) -> bool:
    try:
        view = moment.view(address)
    except BadAddress:
        return False
    days = view.get(RENEW_BEFORE).value
    if days is None or view.get(LOCALITY).value is not Locality.INTERNAL:
        return False
    ends = [
        one.certificate.not_after
        for one in for_signing(moment, address).candidates
        if one.certificate is not None and one.verdict is not None and one.verdict.usable
    ]
    return bool(ends) and max(ends) - moment.now < timedelta(days=days)


def _known_name(moment: Moment, address: str) -> str:
    """The name in the certificate that a person has now."""
    found = for_signing(moment, address).certificates
    return found[0].common_name if found else ""
