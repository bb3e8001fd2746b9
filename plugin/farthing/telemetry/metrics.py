"""Metrics: the instruments of a gateway, and where they go. Unlike charges they may be lost."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricReader,
    PeriodicExportingMetricReader,
)

from farthing import __version__
from farthing.settings import Telemetry
from farthing.telemetry import attributes as attr
from farthing.telemetry.charge import Charge
from farthing.telemetry.resource import basic_auth, gateway_resource
from farthing.telemetry.spans import model_facts

if TYPE_CHECKING:
    from farthing.telemetry.prometheus import Scrape

_log = logging.getLogger(__name__)

TOKEN_BUCKETS = tuple(4**power for power in range(14))
DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))
"""The boundaries that the GenAI conventions advise for ``gen_ai.client.*``: tokens, and seconds."""
OVERHEAD_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


class GradeMetrics:
    """How tasks are graded: how many, by whom, how long it took, and what remembering saved."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._grades = meter.create_counter(
            "farthing.grades", unit="{grade}", description="Tasks graded, by grade, source and intent cache"
        )
        self._duration = meter.create_histogram(
            "farthing.grade.duration", unit="s", description="Time to a grade, judge included"
        )
        self._saved = meter.create_counter(
            "farthing.grade.saved", unit="s", description="Time that the intent cache saved"
        )

    def record(self, grade: str, source: str, cache: str, took_s: float, saved_s: float) -> None:
        """Count one grade; ``cache`` is exact, near, miss or empty."""
        facts = {attr.GRADE: grade, attr.GRADE_SOURCE: source, attr.GRADE_CACHE: cache}
        self._grades.add(1, facts)
        self._duration.record(took_s, {attr.GRADE_SOURCE: source})
        if saved_s:
            self._saved.add(saved_s, {attr.GRADE_CACHE: cache})


class CallMetrics:
    """What calls used and how long they took, what was refused, and how often an answer was asked again."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of each attempt at a model, by type",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="Time of each attempt at a model",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        self._denials = meter.create_counter(
            "farthing.denials", unit="{request}", description="Requests refused by Farthing, by reason"
        )
        self._climbs = meter.create_counter(
            "farthing.climbs",
            unit="{climb}",
            description="Answers asked again of a higher tier; with error.type, no better one came",
        )
        self._overhead = meter.create_histogram(
            "farthing.overhead.duration",
            unit="s",
            description="Time that Farthing added to a request before its model was called",
            explicit_bucket_boundaries_advisory=OVERHEAD_BUCKETS,
        )

    def charged(self, charge: Charge) -> None:
        """Record an attempt that was charged."""
        facts = model_facts(charge.surface, charge.provider, charge.model)
        facts |= {attr.TIER: charge.tier, attr.CHARGE_KIND: charge.kind}
        self._tokens.record(charge.usage.input_tokens, facts | {attr.TOKEN_TYPE: "input"})
        if charge.surface != "embeddings":
            self._tokens.record(charge.usage.output_tokens, facts | {attr.TOKEN_TYPE: "output"})
        if charge.outcome == "failed":
            facts[attr.ERROR_TYPE] = charge.error or attr.ERROR_TYPE_OTHER
        self._duration.record((charge.ended - charge.started).total_seconds(), facts)

    def ended(self, facts: Mapping[str, str], seconds: float) -> None:
        """Record an attempt that cost nothing: one that failed, or that LiteLLM's cache answered."""
        self._duration.record(seconds, facts)

    def denied(self, reason: str, department: str) -> None:
        """Count a request that was refused."""
        self._denials.add(1, {attr.DENIAL_REASON: reason, attr.ACCOUNT_DEPARTMENT: department})

    def climbed(self, below: str, above: str, error: str = "") -> None:
        """Count an answer of the tier ``below`` that was asked again of ``above``."""
        facts = {attr.CLIMB_FROM: below, attr.CLIMB_TO: above}
        self._climbs.add(1, facts | ({attr.ERROR_TYPE: error} if error else {}))

    def added(self, seconds: float, surface: str) -> None:
        """Record how long a request waited for Farthing before its first model was called."""
        self._overhead.record(seconds, {attr.SURFACE: surface})


class OutboxMetrics:
    """How the outbox stands, as it was seen last. All workers of a machine tell of the same file."""

    def __init__(self, meter: metrics.Meter, instance: str) -> None:
        self._facts = {attr.GATEWAY_INSTANCE: instance}
        self._seen: dict[str, float] = {}
        for name, unit, text in (
            ("pending", "{charge}", "Charges on this machine that the ledger does not have yet"),
            ("rejected", "{charge}", "Charges in quarantine: the ledger refuses them"),
            ("lag_s", "s", "Age of the oldest charge that the ledger does not have yet"),
            ("bytes", "By", "Size of the outbox on disk"),
        ):
            meter.create_observable_gauge(
                f"farthing.outbox.{name}", [self._reader(name)], unit=unit, description=text
            )

    def saw(self, pending: int, rejected: int, lag_s: float, size: int) -> None:
        """Note what the outbox says of itself; ``size`` is in bytes."""
        self._seen = {"pending": pending, "rejected": rejected, "lag_s": lag_s, "bytes": size}

    def _reader(self, name: str) -> metrics.CallbackT:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(self._seen[name], self._facts)] if name in self._seen else []

        return read


class Metrics:
    """The metrics of one gateway process.

    They go to ``telemetry.metrics_endpoint`` and are there to be scraped at ``telemetry.prometheus_port``;
    with neither they go to ``meters``, else to the host application's meter provider, if it has one.
    """

    def __init__(
        self, telemetry: Telemetry, *, instance: str, meters: metrics.MeterProvider | None = None
    ) -> None:
        self._scrape: Scrape | None = None
        readers: list[MetricReader] = []
        if telemetry.metrics_endpoint:
            readers.append(PeriodicExportingMetricReader(_exporter(telemetry)))
        if telemetry.prometheus_port:
            from farthing.telemetry import prometheus

            try:
                self._scrape = prometheus.Scrape(telemetry.prometheus_host, telemetry.prometheus_port)
                readers.append(self._scrape.reader)
            except OSError as error:  # calls go on without
                _log.error("farthing: no port for Prometheus' scrapes: %s", error)
        self._provider = _provider(telemetry, instance, readers) if readers else None
        meter = (self._provider or meters or metrics.get_meter_provider()).get_meter("farthing", __version__)
        self.grades = GradeMetrics(meter)
        self.calls = CallMetrics(meter)
        self.outbox = OutboxMetrics(meter, instance)

    def shutdown(self) -> None:
        """Send what is collected and stop."""
        if self._scrape:
            self._scrape.close()
        if self._provider:
            self._provider.shutdown()


def _provider(telemetry: Telemetry, instance: str, readers: Sequence[MetricReader]) -> MeterProvider:
    resource = gateway_resource(telemetry.service_name, instance)
    return MeterProvider(readers, resource=resource, shutdown_on_exit=False)


def _exporter(telemetry: Telemetry) -> OTLPMetricExporter:
    delta = AggregationTemporality.DELTA
    return OTLPMetricExporter(
        endpoint=f"{telemetry.metrics_endpoint.rstrip('/')}/v1/metrics",
        headers=basic_auth(telemetry.otlp_user, telemetry.otlp_password),
        timeout=3,
        # Deltas: a sum over rows is then a sum over time, whichever gateways came and went in it.
        preferred_temporality=None if _TEMPORALITY in os.environ else {Counter: delta, Histogram: delta},
    )
