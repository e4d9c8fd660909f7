"""Keeping CRLs current: fetching them from where certificates say, again before they end.

Every URL has its own turn and fails alone: it is begun when it is due, and nobody waits for it.
Nodes that share a database claim a URL before they fetch it, so that it is fetched once.

Leaves the network to `ports/net.py`, what becomes of a fetched CRL to `crl_intake.py`, when it
is a URL's turn again to `crl_turns.py`; `docs/decisions/0011-crl-updates.md`. Raises
`StoreTrouble`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from smimefilter.base.errors import AdminError
from smimefilter.pki.crl import UnreadableCrl
from smimefilter.policy.preferences import FETCH_USER_CRLS
from smimefilter.ports.journal import Journal
from smimefilter.ports.meter import Meter, NoMeter
from smimefilter.ports.net import FetchFailed, Net, Request
from smimefilter.ports.stores import CrlSource, CrlSources, StoreTrouble
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.sources import CrlPlaces

from .crl_intake import CrlIntake, Outcome, Update
from .snapshots import Snapshots

LOOK_EVERY: Final = 1.0  # seconds between looks for a new snapshot
AT_ONCE: Final = 16
AT_ONCE_OF_A_HOST: Final = 4
AT_ONCE_OF_A_BRANCH: Final = 4  # what is named below one CA below a root
CLAIM_EVERY: Final = 15.0  # seconds between looks for URLs that are due
ACCEPT: Final = "application/pkix-crl, application/x-pkcs7-crl, */*;q=0.1"


class CrlUpdates:
    """Fetches CRLs, when they are due and on demand."""

    def __init__(
        self,
        *,
        net: Net,
        snapshots: Snapshots,
        sources: CrlSources,
        intake: CrlIntake,
        journal: Journal,
        clock: Callable[[], datetime],
        lease: timedelta,
        most: int,
        meter: Meter | None = None,
    ) -> None:
        """`lease`: longer than any fetch takes, reading what came included; `most`: octets of
        a CRL."""
        self._meter = meter or NoMeter()
        self._net = net
        self._snapshots = snapshots
        self._sources = sources
        self._intake = intake
        self._journal = journal
        self._clock = clock
        self._lease = lease
        self._most = most
        self._places = CrlPlaces()
        self._told: set[str] = set()  # URLs whose failing was logged

    async def run(self) -> None:
        """Fetch what is due, until cancelled. Trouble is logged, and stops nothing."""
        under_way = _UnderWay(self._places)
        try:
            await self._run(under_way)
        finally:
            await under_way.give_up()

    async def _run(self, under_way: _UnderWay) -> None:
        followed: Knowledge | None = None
        waited, failing, more = CLAIM_EVERY, False, False
        while True:
            try:
                if self._knowledge is not followed:
                    followed = self._knowledge
                    await self.follow()
                    waited = CLAIM_EVERY
                if more or waited >= CLAIM_EVERY:
                    waited = 0.0
                    more = await self._fetch_due(under_way)
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
        updates: list[Update] = []

        def note(update: Update) -> None:
            updates.append(update)
            done(update)

        left = dict.fromkeys(urls)
        under_way = _UnderWay(self._places)
        try:
            while left or under_way:
                picked = under_way.pick(left)
                for url in picked:
                    del left[url]
                await self._begin(under_way, picked, note, due=False)
                await under_way.one_ended()
        finally:
            await under_way.give_up()
        return updates

    async def _fetch_due(self, under_way: _UnderWay) -> bool:
        """Begin what is due and has a place; whether something is left."""
        due = await self._sources.due(self._clock())
        picked = under_way.pick(due)
        await self._begin(under_way, picked, self._report, due=True)
        return len(picked) < len(due)

    async def _begin(
        self,
        under_way: _UnderWay,
        urls: Collection[str],
        done: Callable[[Update], None],
        *,
        due: bool,
    ) -> None:
        """Fetch these as far as nobody else is at them, without waiting for the end."""
        if not urls:
            return
        now = self._clock()
        for source in await self._sources.claim(now, now + self._lease, urls, due=due):
            under_way.begin(source.url, self._one(source, done))

    async def _one(self, source: CrlSource, done: Callable[[Update], None]) -> None:
        update = await self._try(source)
        try:
            await self._sources.settle(update.source)
        except Exception as error:  # noqa: BLE001 - its turn comes when the lease has ended
            self._journal.trouble("CRLs not updated", error, url=source.url)
        done(update)

    async def _try(self, source: CrlSource) -> Update:
        try:
            fetched = await self._net.fetch(self._request(source))
            return await self._intake.take(source, fetched)
        except FetchFailed as trouble:
            return self._intake.failed(source, str(trouble))
        except UnreadableCrl as trouble:
            return self._intake.failed(source, str(trouble))
        except StoreTrouble as trouble:
            self._journal.trouble("CRLs not updated", trouble, url=source.url)
            return self._intake.failed(source, trouble.public)
        except Exception as error:  # noqa: BLE001 - one URL's trouble is its own
            self._journal.trouble("CRL not updated: defect", error, url=source.url)
            return self._intake.failed(source, "trouble of our own, see the log")

    def _request(self, source: CrlSource) -> Request:
        if self._intake.at_hand(source.sha256) is None:  # what would not be sent is missing
            return Request(source.url, self._most, ACCEPT)
        return Request(
            source.url,
            self._most,
            ACCEPT,
            etag=source.etag,
            last_modified=source.last_modified,
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


class _UnderWay:
    """The URLs that are being fetched: so many at once, and so many of one host and of one
    branch, so that a slow host, or a CA that names many, keeps no other one waiting."""

    def __init__(self, places: CrlPlaces) -> None:
        self._places = places
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def pick(self, urls: Iterable[str]) -> list[str]:
        """Those of these that have a place now, in their order."""
        hosts = Counter(map(_host, self._tasks))
        branches = Counter(one for url in self._tasks for one in self._places.branches(url))
        picked: list[str] = []
        for url in urls:
            if len(self._tasks) + len(picked) == AT_ONCE:
                break
            host, named_by = _host(url), self._places.branches(url)
            room = not named_by or min(branches[one] for one in named_by) < AT_ONCE_OF_A_BRANCH
            if url not in self._tasks and hosts[host] < AT_ONCE_OF_A_HOST and room:
                hosts[host] += 1
                branches.update(named_by)
                picked.append(url)
        return picked

    def begin(self, url: str, fetching: Coroutine[None, None, None]) -> None:
        """Go on with this beside the others."""
        task = self._tasks[url] = asyncio.create_task(fetching)
        task.add_done_callback(lambda _: self._tasks.pop(url, None))

    async def one_ended(self) -> None:
        """Wait until there is a place again, if there is anything to wait for."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)

    async def give_up(self) -> None:
        """Cancel what there is."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
