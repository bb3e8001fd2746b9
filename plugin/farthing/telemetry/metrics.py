"""Metrics: the instruments of a gateway, and where they go. Unlike charges they may be lost."""

from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from farthing import __version__
from farthing.settings import Telemetry
from farthing.telemetry import attributes as attr
from farthing.telemetry.resource import basic_auth, gateway_resource


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


class Metrics:
    """The metrics of one gateway process.

    They go to ``telemetry.metrics_endpoint``; without one to the host application's meter provider, if any.
    """

    def __init__(self, telemetry: Telemetry, *, instance: str) -> None:
        self._provider: MeterProvider | None = None
        if telemetry.metrics_endpoint:
            exporter = OTLPMetricExporter(
                endpoint=f"{telemetry.metrics_endpoint.rstrip('/')}/v1/metrics",
                headers=basic_auth(telemetry.otlp_user, telemetry.otlp_password),
                timeout=3,
            )
            self._provider = MeterProvider(
                [PeriodicExportingMetricReader(exporter)],
                resource=gateway_resource(telemetry.service_name, instance),
                shutdown_on_exit=False,
            )
        provider = self._provider or metrics.get_meter_provider()
        self.grades = GradeMetrics(provider.get_meter("farthing", __version__))

    def shutdown(self) -> None:
        """Send what is collected and stop."""
        if self._provider:
            self._provider.shutdown()
