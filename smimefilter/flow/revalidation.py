"""Verdicts made anew ahead of need, and news about the certificates of active users.

When roots, certificates, CRLs, the trust list or policies change, all verdicts are to be made
again. They would be made with the next mail of each user; here they are made beforehand for
those who are active, little by little beside the mail, and what verdicts miss is fetched. Now
and then the same is done for what time alone changes. A certificate that was revoked or ends
soon is reported once, by the log and in the meter; that it is well again, too.

Leaves what is a concern to `concerns.py`, who is active to `activity.py`. Raises nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from smimefilter.plan.snapshot import Moment
from smimefilter.policy.tree import Tree
from smimefilter.ports.journal import Journal
from smimefilter.ports.meter import Meter
from smimefilter.ports.stores import ActiveUser
from smimefilter.trust.verdict import Need, Purpose

from .activity import Activity
from .concerns import Concern, Trouble, concerns, needs_of
from .lookups import Lookups
from .snapshots import Snapshots

LOOK_EVERY: Final = 1.0  # seconds between looks for a new snapshot
REVIEW_EVERY: Final = 600.0  # seconds, whether there is a new one or not
FETCH_FOR: Final = 30.0  # seconds that what a few users need is waited for
AT_ONCE: Final = 20  # users whose verdicts are made in one go
REST: Final = 3.0  # times what that took, the mail has the interpreter for itself

_Known = dict[tuple[str, Purpose, str, Trouble], Concern]


class Revalidation:
    """Follows the snapshots, until cancelled."""

    def __init__(
        self,
        snapshots: Snapshots,
        activity: Activity,
        journal: Journal,
        meter: Meter,
        clock: Callable[[], datetime],
        lookups: Lookups | None = None,
        *,
        reports: bool = True,
    ) -> None:
        """`reports`: of several processes on one host, one does."""
        self._reports = reports
        self._lookups = lookups
        self._snapshots = snapshots
        self._activity = activity
        self._journal = journal
        self._meter = meter
        self._clock = clock
        self._known: _Known = {}

    async def run(self) -> None:
        """Review at every change, and every few minutes."""
        seen: tuple[int, Tree] | None = None
        due = 0.0
        while True:
            if self._version != seen or time.monotonic() >= due:
                seen, due = self._version, time.monotonic() + REVIEW_EVERY
                try:
                    await self.review()
                except Exception as error:  # noqa: BLE001 - mail goes on without
                    self._journal.trouble("certificates of active users not reviewed", error)
            await asyncio.sleep(LOOK_EVERY)

    @property
    def _version(self) -> tuple[int, Tree]:
        """Of what a review rests on, but for answers of OCSP: those it asks for itself."""
        snapshot = self._snapshots.current.snapshot
        return snapshot.revision, snapshot.tree

    async def review(self) -> None:
        """Make the verdicts of all active users, and report what is new."""
        found: list[Concern] = []
        version, users = self._version, self._activity.users()
        for start in range(0, len(users), AT_ONCE):
            found += await self._some(users[start : start + AT_ONCE])
            if self._version != version:
                return  # superseded: the next review begins at once
        if self._reports:
            self._report(found)

    async def _some(self, users: Sequence[ActiveUser]) -> list[Concern]:
        started = time.monotonic()
        found, needs = await asyncio.to_thread(_look_at, self._moment, users)
        if needs and self._lookups and await self._lookups.meet(needs, FETCH_FOR):
            found, _ = await asyncio.to_thread(_look_at, self._moment, users)
        await asyncio.sleep(min(REST * (time.monotonic() - started), REST))
        return found

    @property
    def _moment(self) -> Moment:
        return self._snapshots.current.snapshot.at(self._clock())

    def _report(self, found: Sequence[Concern]) -> None:
        now: _Known = {concern.key: concern for concern in found}
        for key, concern in now.items():
            if key not in self._known:
                self._journal.warn("certificate of an active user", **_facts(concern))
        for key, concern in self._known.items():
            if key not in now:
                self._journal.note(
                    "certificate of an active user no longer in trouble", **_facts(concern)
                )
        self._known = now
        counts = Counter((concern.user.purpose, concern.trouble) for concern in found)
        self._meter.concerns(
            {
                (purpose.value, trouble.value): counts[purpose, trouble]
                for purpose in (Purpose.ENCRYPT, Purpose.SIGN)
                for trouble in Trouble
            }
        )


def _look_at(moment: Moment, users: Sequence[ActiveUser]) -> tuple[list[Concern], list[Need]]:
    needs = [need for user in users for need in needs_of(moment, user)]
    return concerns(moment, users), needs


def _facts(concern: Concern) -> dict[str, object]:
    return {
        "user": concern.user.address,
        "purpose": concern.user.purpose.value,
        "trouble": concern.trouble.value,
        "until": f"{concern.until:%Y-%m-%d}",
        "covered": concern.covered,
        "subject": concern.subject,
        "thumbprint": concern.thumbprint,
        "why": concern.why,
    }
