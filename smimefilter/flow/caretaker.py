"""What the certificate authority does by itself, while the filter runs.

Requests that are due are worked on; CRLs of our CAs are made anew when half of their time has
passed; where policy says so, certificates that end soon are requested anew (`renew-before`),
and internal senders who have none to sign with get one (`auto-request`). No mail waits for any
of it, and no trouble with it stops a mail.

Whoever sends mail can make a certificate be ordered so, which may cost money. So it is done for
mail that our own clients brought, for plain addresses, and not more than so often a day; never
where certificates are chosen by hand, nor as long as there is one with a key here that has not
expired, whatever it is worth: a new one would be worth no more, and who was revoked is not
given another one by a machine.

Several nodes may do this on one database: a request is leased, a CRL has a number, and of two
that ask for the same at once one does. Raises nothing but cancellation.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError
from smimefilter.plan.selection import Candidate, for_signing
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    AUTO_REQUEST,
    CA_COMMON_NAME,
    CA_CRL_RENEWAL,
    DISPLAY_NAME,
    LOCALITY,
    RENEW_BEFORE,
    SIGNING_CERTIFICATE,
    Locality,
)
from smimefilter.policy.tree import View
from smimefilter.ports.journal import Journal, MailRecord
from smimefilter.ports.requests import Requests, RequestState
from smimefilter.ports.stores import StoreTrouble
from smimefilter.trust.verdict import Standing

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
DAY: Final = timedelta(days=1)
MOST_A_DAY: Final = 500  # requests that nobody asked for
_PLAIN: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9.-]+")  # no quotes, ASCII
_LONGEST_NAME: Final = 64


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
        leads: bool = True,
    ) -> None:
        """`leads`: of several processes on one host, one does what does not come from the
        mails that it has seen."""
        self._leads = leads
        self._snapshots = snapshots
        self._authority = authority
        self._desk = desk
        self._requests = requests
        self._journal = journal
        self._clock = clock
        self._senders: dict[str, None] = {}  # who sent mail and may need a certificate
        self._looked_at: dict[str, int] = {}  # by address: the revision it was looked at by
        self._failing: set[str] = set()
        self._held: set[str] = set()  # what has been done often enough today

    def mail(self, record: MailRecord) -> None:
        """One mail is done with."""
        sender = record.transaction.sender
        if record.ours and sender and len(self._senders) < MOST:
            self._senders[sender] = None

    async def run(self) -> None:
        """Look after everything, until cancelled."""
        crls = renewals = 0.0
        while True:
            if self._leads:
                await self._do("requests", self._work)
            await self._do("requests for senders", self._request_for_senders)
            if self._leads and time.monotonic() >= crls:
                crls = time.monotonic() + CRLS_EVERY
                await self._do("CRLs of our own", self._renew_crls)
            if self._leads and time.monotonic() >= renewals:
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
        moment = self._moment
        revision = moment.snapshot.revision
        if len(self._looked_at) > MOST:
            self._looked_at.clear()
        for sender in list(self._senders):
            if self._looked_at.get(sender) != revision and _lacks_one(moment, sender):
                try:
                    address = address_key(sender)
                    await self._request(moment, address, AUTO_REQUEST.name, moment.now)
                except StoreTrouble:  # he waits, and all that come after him
                    raise
                except Exception:
                    self._looked_at[sender] = revision
                    del self._senders[sender]
                    raise
            self._looked_at[sender] = revision
            del self._senders[sender]

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
            end = _ends_soon(moment, address)
            if end is not None:
                await self._request(moment, address, RENEW_BEFORE.name, end)
            await asyncio.sleep(0)

    async def _request(self, moment: Moment, address: str, why: str, end: datetime) -> None:
        """Unless one is under way, or was given not long ago or for longer than until `end`:
        what is wrong with that is for people to see to."""
        known = await self._requests.all(address=address)
        since = self._clock() - QUIET
        if any(one.state is RequestState.PENDING or one.created > since for one in known):
            return
        find = moment.snapshot.certificates.by_thumbprint
        given = filter(None, (find(one.thumbprint) for one in known if one.thumbprint))
        if any(one.not_after > end for one in given):
            return
        if not await self._may_request(why):
            return
        view = moment.view(address)
        known_as = view.get(DISPLAY_NAME).value or _known_name(moment, address)
        name = known_as or view.get(CA_COMMON_NAME).value
        once = f"{why} {address} {known[-1].id if known else ''}"  # of two that know the same
        try:
            wanted = with_defaults(
                moment, address, common_name=(name or address)[:_LONGEST_NAME]
            )
            handler = handler_for(moment, address)
            found = await self._desk.submit([wanted], handler, batch=why, once=[once])
        except AdminError as error:
            self._journal.trouble("certificate not requested", error, address=address)
            return
        for one in found:
            self._journal.note(
                "certificate requested", address=address, request=one.id, why=why
            )

    async def _may_request(self, why: str) -> bool:
        since = self._clock() - DAY
        held = len(await self._requests.all(batch=why, since=since)) >= MOST_A_DAY
        if held and why not in self._held:
            self._journal.warn("certificates not requested", why=why, most=MOST_A_DAY)
        (self._held.add if held else self._held.discard)(why)
        return not held

    @property
    def _moment(self) -> Moment:
        return self._snapshots.current.snapshot.at(self._clock())


def _lacks_one(moment: Moment, address: str) -> bool:
    """Whether an internal sender wants a certificate by policy, and has none to sign with."""
    view = _view(moment, address)
    if view is None or not view.get(AUTO_REQUEST).value:
        return False
    return not any(_stands(one, moment) for one in _with_key(moment, address))


def _stands(candidate: Candidate, moment: Moment) -> bool:
    """Whether a new certificate is not wanted beside this one: it has not expired, or it was
    revoked. One that is not for signing does not count."""
    if candidate.certificate is None or candidate.verdict is None:
        return True
    standing = candidate.verdict.standing
    if standing in {Standing.REVOKED, Standing.BLACK_LISTED}:
        return True
    return standing is not Standing.UNSUITABLE and candidate.certificate.not_after > moment.now


def _ends_soon(moment: Moment, address: str) -> datetime | None:
    """The end of the last certificate to sign with, where it is within the days of policy, or
    within the last third of its time where that is shorter."""
    view = _view(moment, address)
    days = view.get(RENEW_BEFORE).value if view is not None else None
    if days is None:
        return None
    usable = [
        one.certificate
        for one in _with_key(moment, address)
        if one.certificate is not None and one.verdict is not None and one.verdict.usable
    ]
    last = max(usable, key=lambda one: one.not_after, default=None)
    if last is None:
        return None
    soon = min(timedelta(days=days), (last.not_after - last.not_before) / 3)
    return last.not_after if last.not_after - moment.now < soon else None


def _view(moment: Moment, address: str) -> View | None:
    """The preferences of somebody internal whose certificates nobody chooses by hand; None for
    all others."""
    try:
        if not _PLAIN.fullmatch(address_key(address)):
            return None
        view = moment.view(address)
    except BadAddress:
        return None
    internal = view.get(LOCALITY).value is Locality.INTERNAL
    return view if internal and view.get(SIGNING_CERTIFICATE).value is None else None


def _with_key(moment: Moment, address: str) -> list[Candidate]:
    """The signing certificates of an address that have a private key here."""
    found = for_signing(moment, address).candidates
    return [one for one in found if one.thumbprint in moment.snapshot.keys]


def _known_name(moment: Moment, address: str) -> str:
    """The name in the certificate that a person has now."""
    found = for_signing(moment, address).certificates
    return found[0].common_name if found else ""
