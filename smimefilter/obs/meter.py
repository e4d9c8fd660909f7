"""Numbers for Prometheus: mails by what became of them, mail under way and turned away, and
certificates in trouble.

Of one process they are kept in memory and shown here; of workers in a folder that their
supervisor shows (`workers/numbers.py`). Leaves the page to `page.py`. Raises `AdminError`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from smimefilter.base.envelope import Deferred, Delivered, Fate, Notified, Refused
from smimefilter.base.reasons import Because
from smimefilter.config import Metrics
from smimefilter.ports.journal import MailRecord

from .health import Health
from .page import Page

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30)


class PrometheusMeter:
    """A `ports.meter.Meter`, and a page that shows it."""

    def __init__(self) -> None:
        self._page: Page | None = None
        registry = self._registry = CollectorRegistry()
        self._recipients = Counter(
            "smimefilter_recipients",
            "Recipients of mails, by what was decided and what became of it",
            ("action", "fate"),
            registry=registry,
        )
        self._settled_before = Counter(
            "smimefilter_recipients_settled_before",
            "Recipients of mails that came again, who were done with already",
            registry=registry,
        )
        self._seconds = Histogram(
            "smimefilter_mail_seconds",
            "From hand-over to reply",
            buckets=_SECONDS,
            registry=registry,
        )
        self._concerns = Gauge(
            "smimefilter_active_user_certificates_in_trouble",
            "Certificates of active users that cannot be used, or not for long",
            ("purpose", "trouble"),
            registry=registry,
            multiprocess_mode="livemostrecent",  # the leading worker's, of two the new one's
        )
        self._crl_sources = Gauge(
            "smimefilter_crl_sources",
            "URLs that CRLs are fetched from, by how the last try went",
            ("state",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._under_way = Gauge(
            "smimefilter_mails_under_way",
            "Mails that have been let in and not been answered yet",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._octets = Gauge(
            "smimefilter_bytes_under_way",
            "Sizes of these, as declared or as received so far",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "smimefilter_mails_waiting",
            "Mails that wait to be let in",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._turned_away = Counter(
            "smimefilter_turned_away",
            "Connections and mails that there was no place for",
            ("limit",),
            registry=registry,
        )

        self._store = Gauge(
            "smimefilter_store_reachable",
            "1 where the database can be read; 0 where mail goes on from memory",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def mail(self, record: MailRecord) -> None:
        """Count its recipients and its time."""
        decisions = record.plan.decisions if record.plan else (None,) * len(record.fates)
        for decision, fate in zip(decisions, record.fates, strict=True):
            action = decision.action.value if decision else "none"
            self._recipients.labels(action, _word(fate)).inc()
            if decision and any(r.because is Because.SETTLED_BEFORE for r in decision.reasons):
                self._settled_before.inc()
        self._seconds.observe(record.milliseconds / 1000)

    def concerns(self, found: Mapping[tuple[str, str], int]) -> None:
        """Set the gauges."""
        for labels, count in found.items():
            self._concerns.labels(*labels).set(count)

    def crl_sources(self, *, followed: int, failing: int) -> None:
        """Set the gauges."""
        self._crl_sources.labels("good").set(followed - failing)
        self._crl_sources.labels("failing").set(failing)

    def load(self, *, mails: int, octets: int, waiting: int) -> None:
        """Set the gauges."""
        self._under_way.set(mails)
        self._octets.set(octets)
        self._waiting.set(waiting)

    def turned_away(self, limit: str) -> None:
        """Count it."""
        self._turned_away.labels(limit).inc()

    def store(self, *, reachable: bool) -> None:
        """Set the gauge."""
        self._store.set(int(reachable))

    def show(self, settings: Metrics, health: Health | None = None) -> None:
        """Listen from now on, with the pages of `health` beside. Raises `AdminError`."""
        self._page = Page(settings, self._registry, health)

    def hide(self) -> None:
        """Listen no longer."""
        if self._page is not None:
            self._page.close()
            self._page = None


def keep_numbers_in(folder: str, worker: str) -> None:
    """From now on numbers of this process are kept there, under this name: no other process
    has it meanwhile, and what one before has counted is counted on."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def _word(fate: Fate) -> str:
    match fate:
        case Delivered():
            return "delivered"
        case Deferred():
            return "deferred"
        case Refused():
            return "refused"
        case Notified():
            return "notified"
