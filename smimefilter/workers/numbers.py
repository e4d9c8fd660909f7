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
        self._shown: Metrics | None = None
        self._page: Page | None = None

    def show(self, settings: Metrics | None) -> str:
        """Show the page there from now on, and nowhere else; the folder that workers are told
        of, "" where nothing is counted. Raises `AdminError`, and then all is as it was."""
        if settings != self._shown:
            page = None
            if settings is not None:
                registry = CollectorRegistry()
                MultiProcessCollector(registry, path=self._made())  # type: ignore[no-untyped-call]
                page = Page(settings, registry)
            if self._page is not None:
                self._page.close()
            self._page, self._shown = page, settings
        return self._made() if settings is not None else ""

    def forget(self, worker: str) -> None:
        """A worker is dead: its gauges show nothing any more."""
        if self._folder:
            mark_process_dead(worker, self._folder)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Show nothing, keep nothing."""
        self.show(None)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _made(self) -> str:
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="smimefilter-")
        return self._folder
