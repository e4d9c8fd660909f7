"""Numbers for Prometheus: mails by what became of them, and certificates in trouble.

Shown over HTTP on an address of its own, for those alone who can reach it: there is no login.
Raises `AdminError` when that address cannot be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from smimefilter.base.envelope import Deferred, Delivered, Fate, Notified, Refused
from smimefilter.base.errors import AdminError
from smimefilter.config import Metrics
from smimefilter.ports.journal import MailRecord

from .health import Health

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30)


class PrometheusMeter:
    """A `ports.meter.Meter`, and a page that shows it."""

    def __init__(self) -> None:
        self._server: WSGIServer | None = None
        self._thread: Thread | None = None
        registry = self._registry = CollectorRegistry()
        self._recipients = Counter(
            "smimefilter_recipients",
            "Recipients of mails, by what was decided and what became of it",
            ("action", "fate"),
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
        )

        self._crl_sources = Gauge(
            "smimefilter_crl_sources",
            "URLs that CRLs are fetched from, by how the last try went",
            ("state",),
            registry=registry,
        )

    def mail(self, record: MailRecord) -> None:
        """Count its recipients and its time."""
        decisions = record.plan.decisions if record.plan else (None,) * len(record.fates)
        for decision, fate in zip(decisions, record.fates, strict=True):
            action = decision.action.value if decision else "none"
            self._recipients.labels(action, _word(fate)).inc()
        self._seconds.observe(record.milliseconds / 1000)

    def concerns(self, found: Mapping[tuple[str, str], int]) -> None:
        """Set the gauges."""
        for labels, count in found.items():
            self._concerns.labels(*labels).set(count)

    def crl_sources(self, *, followed: int, failing: int) -> None:
        """Set the gauges."""
        self._crl_sources.labels("good").set(followed - failing)
        self._crl_sources.labels("failing").set(failing)

    def show(self, settings: Metrics, health: Health | None = None) -> None:
        """Listen from now on, with the pages of `health` beside. Raises `AdminError`."""
        try:
            self._server, self._thread = start_http_server(
                settings.port, settings.address, self._registry
            )
            if health is not None:
                self._server.set_app(health.beside(self._server.get_app()))  # type: ignore[arg-type]
        except OSError as error:
            raise AdminError(
                f"metrics cannot be shown: {(error.strerror or str(error)).lower()}",
                where=f"{settings.address}:{settings.port}",
                mend="choose another port at `metrics`",
            ) from None

    def hide(self) -> None:
        """Listen no longer."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None


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
