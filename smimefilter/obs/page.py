"""The page that Prometheus reads, over HTTP on an address of its own.

For those alone who can reach it: there is no login. Raises `AdminError` when that address
cannot be had.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from smimefilter.base.errors import AdminError
from smimefilter.config import Metrics

from .health import Health


class Page:
    """Shown as long as it is not closed."""

    def __init__(
        self, settings: Metrics, registry: CollectorRegistry, health: Health | None = None
    ) -> None:
        """Listen from now on, with the pages of `health` beside. Raises `AdminError`."""
        try:
            self._server, self._thread = start_http_server(
                settings.port, settings.address, registry
            )
            if health is not None:
                self._server.set_app(health.beside(self._server.get_app()))  # type: ignore[arg-type]
        except OSError as error:
            raise AdminError(
                f"metrics cannot be shown: {(error.strerror or str(error)).lower()}",
                where=f"{settings.address}:{settings.port}",
                mend="choose another port at `metrics`",
            ) from None

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
