"""Keeping CRLs current: fetching them from where certificates say, again before they end.

Every URL has its own turn and fails alone. A fetched CRL is looked at before it is stored: one
that a CA at hand signed takes the place of the older ones of its issuer, key and scope, never
of a newer one; one that nobody at hand signed is kept for an administrator to see, and takes
the place of nothing but the last such one from the same URL. Nodes that share a database claim
a URL before they fetch it, so that it is fetched once.

Leaves the network to `ports/net.py`, what CRLs supersede to `trust/sources.py`, when it is a
URL's turn again to `crl_turns.py`; `docs/decisions/0011-crl-updates.md`. Raises `StoreTrouble`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from smimefilter.base.errors import AdminError
from smimefilter.pki.crl import Crl, UnreadableCrl
from smimefilter.pki.details import crl_issuer
from smimefilter.pki.keyfile import UnreadableKeyFile, read
from smimefilter.plan.snapshot import trust_rules
from smimefilter.policy.preferences import FETCH_USER_CRLS
from smimefilter.ports.journal import Journal
from smimefilter.ports.meter import Meter, NoMeter
from smimefilter.ports.net import Fetched, FetchFailed, Net, Request
from smimefilter.ports.stores import Crls, CrlSource, CrlSources
from smimefilter.trust.issued import IssuedCrl
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.link import Link
from smimefilter.trust.sources import CrlPlaces, newer_than, signer_of, superseded
from smimefilter.trust.strength import weak_signature

from .crl_turns import Turns
from .snapshots import Snapshots

SKEW: Final = timedelta(minutes=5)  # clocks differ
LEASE: Final = timedelta(minutes=15)  # longer than any fetch, reading a large one included
LOOK_EVERY: Final = 1.0  # seconds between looks for a new snapshot
CLAIM_EVERY: Final = 15.0  # seconds between looks for URLs that are due
ACCEPT: Final = "application/pkix-crl, application/x-pkcs7-crl, */*;q=0.1"


class Outcome(StrEnum):
    """What a try came to."""

    NEW = "new"
    UNCHANGED = "unchanged"
    EXPIRED = "expired"
    OLDER = "older"
    INVALID = "invalid"
    FAILED = "failed"
    LEFT = "left"  # another process is at it


# Of several CRLs from one URL the most telling outcome is that of the URL.
_TOLD_FIRST: Final = (
    Outcome.NEW, Outcome.INVALID, Outcome.EXPIRED, Outcome.UNCHANGED, Outcome.OLDER,
)  # fmt: skip
FAILURES: Final = frozenset({Outcome.OLDER, Outcome.INVALID, Outcome.EXPIRED, Outcome.FAILED})


@dataclass(frozen=True, slots=True)
class Update:
    """One URL, tried."""

    outcome: Outcome
    source: CrlSource  # as it is now; its `outcome` says more


class CrlUpdates:
    """Fetches CRLs, when they are due and on demand."""

    def __init__(
        self,
        *,
        net: Net,
        snapshots: Snapshots,
        sources: CrlSources,
        crls: Crls,
        journal: Journal,
        clock: Callable[[], datetime],
        turns: Turns,
        most: int,
        meter: Meter | None = None,
    ) -> None:
        """`most`: octets of a CRL."""
        self._meter = meter or NoMeter()
        self._net = net
        self._snapshots = snapshots
        self._sources = sources
        self._crls = crls
        self._journal = journal
        self._clock = clock
        self._turns = turns
        self._most = most
        self._places = CrlPlaces()
        self._judging = asyncio.Lock()
        self._told: set[str] = set()  # URLs whose failing was logged
        self._stored: list[IssuedCrl] = []
        self._seen_by: Knowledge | None = None  # none of these

    async def run(self) -> None:
        """Fetch what is due, until cancelled. Trouble is logged, and stops nothing."""
        followed: Knowledge | None = None
        waited, failing = CLAIM_EVERY, False
        while True:
            try:
                if self._knowledge is not followed:
                    followed = self._knowledge
                    await self.follow()
                    waited = CLAIM_EVERY
                if waited >= CLAIM_EVERY:
                    waited = 0.0
                    await self._fetch_due()
                    sources = await self._sources.all()
                    bad = sum(source.failures > 0 for source in sources)
                    self._meter.crl_sources(followed=len(sources), failing=bad)
                failing = False
            except Exception as error:  # noqa: BLE001 - the CRLs at hand stay in force
                if not failing:
                    self._journal.trouble("CRLs not updated", error)
                failing = True
            await asyncio.sleep(LOOK_EVERY)
            waited += LOOK_EVERY

    async def follow(self) -> set[str]:
        """Bring the list of URLs up to date with the certificates; the URLs."""
        knowledge = self._knowledge
        view = self._snapshots.current.snapshot.tree.view("")
        users = view.get(FETCH_USER_CRLS).value
        urls = await asyncio.to_thread(self._places.of, knowledge, users=users)
        await self._sources.follow(urls, self._clock())
        return urls

    async def update(
        self, urls: Collection[str], done: Callable[[Update], None] = lambda _: None
    ) -> list[Update]:
        """Fetch these now, whether they are due or not, but for those that another process is
        at; `done` is told of each as it ends."""
        now = self._clock()
        return await self._fetch(await self._sources.claim(now, now + LEASE, urls), done)

    async def _fetch_due(self) -> None:
        now = self._clock()
        await self._fetch(await self._sources.claim(now, now + LEASE), self._report)

    async def _fetch(
        self, claimed: Iterable[CrlSource], done: Callable[[Update], None]
    ) -> list[Update]:
        async def one(source: CrlSource) -> Update:
            update = await self._try(source)
            await self._sources.settle(update.source)
            done(update)
            return update

        return list(await asyncio.gather(*map(one, claimed)))

    async def _try(self, source: CrlSource) -> Update:
        try:
            fetched = await self._net.fetch(self._request(source))
            return await self._look_at(source, fetched)
        except FetchFailed as trouble:
            return self._failed(source, str(trouble))
        except UnreadableCrl as trouble:
            return self._failed(source, str(trouble))
        except Exception as error:  # noqa: BLE001 - one URL's trouble is its own
            self._journal.trouble("CRL not updated: defect", error, url=source.url)
            return self._failed(source, "trouble of our own, see the log")

    def _request(self, source: CrlSource) -> Request:
        if self._at_hand(source.sha256) is None:  # what the server would leave out is missing
            return Request(source.url, self._most, ACCEPT)
        return Request(
            source.url,
            self._most,
            ACCEPT,
            etag=source.etag,
            last_modified=source.last_modified,
        )

    async def _look_at(self, source: CrlSource, fetched: Fetched) -> Update:
        if fetched.content is None:
            at_hand = self._at_hand(source.sha256)
            if at_hand is None:
                raise FetchFailed("nothing was sent")
            what = f"unchanged: {_called(at_hand)}"
            return self._kept(Outcome.UNCHANGED, source, fetched, at_hand, what)
        crls = await asyncio.to_thread(_read, fetched.content)
        async with self._judging:  # one after the other: none misses what another one stored
            updates = [await self._judge(source, fetched, crl) for crl in crls]
        return min(updates, key=lambda update: _TOLD_FIRST.index(update.outcome))

    async def _judge(self, source: CrlSource, fetched: Fetched, crl: IssuedCrl) -> Update:
        called = _called(crl.crl)
        signer, flaw = await asyncio.to_thread(self._signer_of, crl)
        if signer is None:
            return await self._keep_unused(source, crl, f"{called}: kept, not used: {flaw}")
        others = [*self._stored_since(), *self._knowledge.crls_named(crl.issuer_name)]
        newer = await asyncio.to_thread(newer_than, crl, signer, others)
        if newer is not None:
            what = f"{called}: older than the one at hand ({_called(newer.crl)}), not taken"
            return self._failed(source, what, Outcome.OLDER)
        gone = set()
        if crl.crl.this_update <= self._clock() + SKEW:  # else the old ones are still in force
            found = await asyncio.to_thread(superseded, crl, signer, others)
            gone = {old.crl.sha256 for old in found}
        is_new = await self._crls.replace(crl.crl.der, gone, source.url)
        self._stored_since().append(crl)
        outcome = Outcome.NEW if is_new else Outcome.UNCHANGED
        what = called if is_new else f"unchanged: {called}"
        return self._kept(outcome, source, fetched, crl.crl, what)

    def _signer_of(self, crl: IssuedCrl) -> tuple[Link | None, str]:
        """Who signed a CRL so that it can be used; or why it cannot be."""
        signer = signer_of(crl, self._knowledge)
        if signer is None:
            return None, "no CA at hand signed it"
        view = self._snapshots.current.snapshot.tree.view("")
        weak = weak_signature(crl.scheme, trust_rules(view))
        return (None, weak) if weak else (signer, "")

    async def _keep_unused(self, source: CrlSource, crl: IssuedCrl, what: str) -> Update:
        """Store it for people to see, in the place of the last such one from this URL."""
        last = self._at_hand(source.sha256)
        unused = last is not None and self._signer_of(IssuedCrl(last))[0] is None
        await self._crls.replace(crl.crl.der, {source.sha256} if unused else set(), source.url)
        return self._failed(replace(source, sha256=crl.crl.sha256), what, Outcome.INVALID)

    def _at_hand(self, sha256: str) -> Crl | None:
        stored = (issued.crl for issued in self._stored_since())
        return next((c for c in (*stored, *self._knowledge.crls) if c.sha256 == sha256), None)

    def _stored_since(self) -> list[IssuedCrl]:
        """What was stored since the snapshot was made."""
        if self._seen_by is not self._knowledge:
            self._seen_by, self._stored = self._knowledge, []
        return self._stored

    def _kept(
        self, outcome: Outcome, source: CrlSource, fetched: Fetched, crl: Crl, what: str
    ) -> Update:
        """The CRL is stored; one past its time is no success, for all that."""
        if crl.next_update is not None and crl.next_update < self._clock():
            past = f"{what}: past its next update ({crl.next_update:%Y-%m-%d %H:%M})"
            return self._failed(replace(source, sha256=crl.sha256), past, Outcome.EXPIRED)
        return self._succeeded(outcome, source, fetched, crl, what)

    def _succeeded(
        self, outcome: Outcome, source: CrlSource, fetched: Fetched, crl: Crl, what: str
    ) -> Update:
        now = self._clock()
        return Update(
            outcome,
            CrlSource(
                url=source.url,
                due=self._turns.after(now, crl),
                tried=now,
                succeeded=now,
                outcome=what,
                etag=fetched.etag,
                last_modified=fetched.last_modified,
                sha256=crl.sha256,
            ),
        )

    def _failed(
        self, source: CrlSource, what: str, outcome: Outcome = Outcome.FAILED
    ) -> Update:
        now, failures = self._clock(), source.failures + 1
        return Update(
            outcome,
            replace(
                source,
                due=self._turns.again(now, failures),
                tried=now,
                failures=failures,
                outcome=what,
                etag="",
                last_modified="",
            ),
        )

    def _report(self, update: Update) -> None:
        """The log is told what is new, and of a failure when it begins."""
        source = update.source
        if update.outcome is Outcome.NEW:
            self._journal.note("CRL updated", url=source.url, what=source.outcome)
        if not source.failures:
            self._told.discard(source.url)
        elif source.url not in self._told:  # once, until it goes well again
            self._told.add(source.url)
            trouble = AdminError(source.outcome, where=source.url)
            self._journal.trouble("CRL not updated", trouble)

    @property
    def _knowledge(self) -> Knowledge:
        return self._snapshots.current.snapshot.trust.knowledge


def _read(content: bytes) -> list[IssuedCrl]:
    """What came: one CRL in DER, or PEM with one or, from a directory, several. Raises
    `UnreadableCrl`."""
    if content.startswith(b"\x30"):
        return [IssuedCrl(Crl.read(content))]
    try:
        found = read(content, keys=False).crls
    except UnreadableKeyFile:
        found = ()
    if not found:
        raise UnreadableCrl("not a CRL")
    return [IssuedCrl(Crl.read(der)) for der in found]


def _called(crl: Crl) -> str:
    kind = "delta CRL" if crl.is_delta else "CRL"
    number = "" if crl.number is None else f" no. {crl.number}"
    entries = "1 entry" if crl.count == 1 else f"{crl.count} entries"
    of = f"{crl.this_update:%Y-%m-%d %H:%M}, {entries}, {crl_issuer(crl.der)}"
    return f"{kind}{number} of {of}"
