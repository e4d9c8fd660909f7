"""Metrics of all workers as one page, and the health of them together.

Each worker keeps its numbers in files of its own in a folder of ours (prometheus_client's mode
for several processes), where they outlast it: what a worker had counted when it was killed is
not lost, and whoever takes its place counts on. Counters and histograms are added up; what a
gauge showed goes with its worker.

Leaves the page to `obs/page.py`. Raises `AdminError` when it cannot be shown.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from smimefilter.config import Metrics
from smimefilter.obs.health import BAD, DEGRADED, Checked, Health
from smimefilter.obs.page import Page

Standing = Callable[[], tuple[int, int]]  # workers that take mail, and of how many


class Numbers:
    """The folder, and the page where it is asked for."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._folder = ""  # made when it is wanted
        self._shown: tuple[Metrics | None, Page | None] = None, None
        self._next: tuple[Metrics | None, Page | None] = self._shown

    def prepare(self, settings: Metrics | None) -> str:
        """Open the page there as well, until `settle`; the folder that workers are told of, ""
        where nothing is counted. Raises `AdminError`."""
        if settings != self._shown[0]:
            self._next = settings, self._opened(settings) if settings else None
        return self._made() if settings else ""

    def settle(self, *, taken: bool) -> None:
        """The page that was prepared takes the place of the one that is shown, or goes."""
        if self._next is not self._shown:
            _, gone = self._shown if taken else self._next
            if gone is not None:
                gone.close()
        self._shown = self._next = self._next if taken else self._shown

    def _opened(self, settings: Metrics) -> Page:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._made())  # type: ignore[no-untyped-call]
        checks = {
            "workers": partial(_workers, self._standing),
            "database": partial(_database, registry),
        }
        return Page(settings, registry, Health({}, checks))

    def forget(self, worker: str) -> None:
        """A worker is dead: its gauges show nothing any more."""
        if self._folder:
            mark_process_dead(worker, self._folder)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Show nothing, keep nothing."""
        self.settle(taken=False)
        self.prepare(None)
        self.settle(taken=True)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _made(self) -> str:
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="smimefilter-")
        return self._folder


def _workers(standing: Standing) -> Checked:
    at_work, wanted = standing()
    if at_work == wanted:
        return Checked()
    return Checked(DEGRADED if at_work else BAD, f"{at_work} of {wanted} take mail")


def _database(registry: CollectorRegistry) -> Checked:
    if registry.get_sample_value("smimefilter_store_reachable") == 0:
        return Checked(DEGRADED, "a worker goes on from memory")
    return Checked()
