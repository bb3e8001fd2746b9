"""Metrics to be scraped: an HTTP port of each gateway process.

A port of its own for each, and not a page of the proxy: the proxy's workers share one port, so a scrape would
meet another worker each time and its counters would jump. Each worker takes the first port that is free, and
Prometheus scrapes them all as targets.
"""

import logging
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader

from farthing.settings import SettingsError

log = logging.getLogger(__name__)

_MOST_WORKERS = 64


class Scrape:
    """Serves metrics in Prometheus' text format at ``port``, or the next one free (up to 63 above)."""

    reader: MetricReader
    """For the meter provider whose metrics are served."""
    port: int

    def __init__(self, host: str, port: int) -> None:
        """Raises SettingsError if the exporter is not installed, OSError if no port is free."""
        try:
            from opentelemetry.exporter.prometheus import PrometheusMetricReader
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise SettingsError(
                "telemetry.prometheus_port needs the exporter: pip install 'farthing[prometheus]'"
            ) from None
        # Not the process's own registry: LiteLLM serves that one, with its own metrics in it.
        registry = CollectorRegistry()
        self.reader = PrometheusMetricReader(registry=registry)
        self._server, self.port = _serve(start_http_server, host, port, registry)
        log.info("farthing: metrics for Prometheus at http://%s:%d/metrics", host, self.port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _serve(start: Any, host: str, port: int, registry: Any) -> tuple[Any, int]:
    for candidate in range(port, min(port + _MOST_WORKERS, 65_536)):
        try:
            server, _ = start(candidate, host, registry)
        except OSError as error:
            problem = error
        else:
            return server, candidate
    raise problem
