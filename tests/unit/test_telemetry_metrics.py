"""What the metrics tell of grading: how many grades, cache hits, and the time that they saved."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from farthing.settings import Telemetry
from farthing.telemetry.metrics import GradeMetrics, Metrics


def test_hit_rate_and_saved_time_can_be_read_off():
    reader = InMemoryMetricReader()
    metrics = GradeMetrics(MeterProvider([reader]).get_meter("test"))
    metrics.record("LOW", "learned", "miss", 0.0004, 0.0)
    metrics.record("LOW", "cache", "exact", 0.00003, 0.0003)
    metrics.record("LOW", "cache", "exact", 0.00003, 0.0002)
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    found = {metric.name: list(metric.data.data_points) for metric in scope.metrics}
    grades = {point.attributes["farthing.grade.cache"]: point.value for point in found["farthing.grades"]}
    assert grades == {"miss": 1, "exact": 2}
    (saved,) = found["farthing.grade.saved"]
    assert abs(saved.value - 0.0005) < 1e-12
    durations = {p.attributes["farthing.grade.source"]: p.count for p in found["farthing.grade.duration"]}
    assert durations == {"learned": 1, "cache": 2}


def test_without_an_endpoint_nothing_is_sent_and_recording_costs_nothing():
    metrics = Metrics(Telemetry(), instance="i")
    metrics.grades.record("LOW", "learned", "", 0.001, 0.0)
    metrics.shutdown()
