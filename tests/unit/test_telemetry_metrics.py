"""What the metrics tell: of grading, of the outbox, and to whoever scrapes them."""

import re
import sys

import httpx
import prometheus_client
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from farthing.settings import SettingsError, Telemetry
from farthing.telemetry.metrics import GradeMetrics, Metrics
from tests.stack import free_port


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


def scrape(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text


def test_each_worker_is_scraped_at_a_port_of_its_own():
    first_port = free_port()
    workers = [Metrics(Telemetry(prometheus_port=first_port), instance=f"i-{n}") for n in (1, 2)]
    try:
        ports = [worker._scrape.port for worker in workers]
        assert ports[0] == first_port
        assert ports[1] > first_port
        for number, worker in enumerate(workers, 1):
            for _ in range(number):
                worker.calls.denied("credits", 'mar"keting\n💰')
            worker.outbox.saw(number, 0, 0.5, 4096)
        for number, port in enumerate(ports, 1):
            text = scrape(port)
            (denied,) = re.findall(r"^farthing_denials_total\{(.*)\} (\S+)$", text, re.MULTILINE)
            assert float(denied[1]) == number
            assert r'farthing_account_department="mar\"keting\n💰"' in denied[0]
            pending = re.findall(r"^farthing_outbox_pending\{(.*)\} (\S+)$", text, re.MULTILINE)
            assert [float(value) for _, value in pending] == [number]
            assert f'farthing_gateway_instance="i-{number}"' in pending[0][0]
        assert b"farthing_" not in prometheus_client.generate_latest(), "LiteLLM's own page stays its own"
    finally:
        for worker in workers:
            worker.shutdown()
    with pytest.raises(httpx.TransportError):
        scrape(first_port)


def test_an_outbox_that_was_not_looked_at_yet_has_no_figures():
    reader = InMemoryMetricReader()
    metrics = Metrics(Telemetry(), instance="i", meters=MeterProvider([reader]))
    assert reader.get_metrics_data() is None
    metrics.outbox.saw(2, 1, 3.5, 8192)
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    found = {metric.name: metric.data.data_points[0].value for metric in scope.metrics}
    assert found == {
        "farthing.outbox.pending": 2,
        "farthing.outbox.rejected": 1,
        "farthing.outbox.lag_s": 3.5,
        "farthing.outbox.bytes": 8192,
    }


def test_without_the_exporter_the_start_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.prometheus", None)
    with pytest.raises(SettingsError, match=r"farthing\[prometheus\]"):
        Metrics(Telemetry(prometheus_port=9464), instance="i")
