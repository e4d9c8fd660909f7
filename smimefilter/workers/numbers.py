"""Metrics of all workers as one page.

Each worker keeps its numbers in files of its own in a folder of ours (prometheus_client's mode
for several processes), where they outlast it: what a worker had counted when it was killed is
not lost, and whoever takes its place counts on. Counters and histograms are added up; what a
gauge showed goes with its worker.

Leaves the page to `obs/page.py`. Raises `AdminError` when it cannot be shown.
"""

from __future__ import annotations

import shutil
import tempfile

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from smimefilter.config import Metrics
from smimefilter.obs.page import Page


class Numbers:
    """The folder, and the page where it is asked for."""

    def __init__(self) -> None:
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
        return Page(settings, registry)

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
