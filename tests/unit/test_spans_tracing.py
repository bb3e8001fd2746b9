"""Ordinary spans reach the endpoint when it is there, and hurt nobody when it is not."""

import logging
import socket
import time

import pytest
from opentelemetry import trace

from farthing.settings import Telemetry
from farthing.telemetry.tracing import _EXPORT_TIMEOUT_S, Tracing, extract
from tests.unit.otlp_stand_in import Collector

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector():
    running = Collector(auth=("farthing", "s3cret"))
    yield running
    running.stop()


def settings(endpoint):
    return Telemetry(
        otlp_endpoint=endpoint, otlp_user="farthing", otlp_password="s3cret", service_name="gateway"
    )


def test_spans_arrive_with_resource_and_credentials(collector):
    tracing = Tracing(settings(collector.endpoint), instance="i-1")
    with (
        tracing.tracer.start_as_current_span(
            "grade", context=extract({"TraceParent": TRACEPARENT})
        ) as parent,
        tracing.tracer.start_as_current_span("hold"),
    ):
        pass
    tracing.shutdown()
    assert collector.accepted == ["hold", "grade"]
    hold, grade = collector.spans
    assert grade.trace_id == hold.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    assert grade.parent_span_id == bytes.fromhex("b7ad6b7169203331")
    assert hold.parent_span_id == parent.get_span_context().span_id.to_bytes(8, "big")
    named = {item.key: item.value.string_value for item in collector.resources[0].attributes}
    assert (named["service.name"], named["service.instance.id"]) == ("gateway", "i-1")


def test_the_hosts_own_tracer_provider_is_left_alone(collector):
    before = trace.get_tracer_provider()
    tracing = Tracing(settings(collector.endpoint), instance="i")
    assert trace.get_tracer_provider() is before
    tracing.shutdown()


def test_only_a_valid_w3c_trace_context_is_taken_over():
    found = trace.get_current_span(extract({"traceparent": TRACEPARENT, "tracestate": "vendor=1"}))
    context = found.get_span_context()
    assert context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert context.is_remote
    assert context.trace_state["vendor"] == "1"
    for headers in ({}, {"traceparent": "junk"}, {"traceparent": ""}, {"x-b3-traceid": "1" * 32}):
        assert not trace.get_current_span(extract(headers)).get_span_context().is_valid


def test_baggage_and_the_callers_own_span_do_not_leak_in():
    from opentelemetry import baggage

    with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 2, False))):
        found = extract({"baggage": "user=eve"})
    assert not baggage.get_all(found)
    assert not trace.get_current_span(found).get_span_context().is_valid


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "takes and never answers"])
def test_a_dead_endpoint_holds_up_no_request_and_costs_one_log_line(caplog, refuses):
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if refuses:
            silent.close()
        tracing = Tracing(settings(endpoint), instance="i")
        slowest = 0.0
        for _ in range(6000):  # more than the queue holds
            started = time.monotonic()
            with tracing.tracer.start_as_current_span("grade"):
                pass
            slowest = max(slowest, time.monotonic() - started)
        started = time.monotonic()
        tracing.force_flush()
        tracing.force_flush()
        tracing.shutdown()
    assert time.monotonic() - started < 12
    assert slowest < _EXPORT_TIMEOUT_S  # what a request that waited for an export would have taken
    ours = [record for record in caplog.records if record.name.startswith("farthing")]
    assert len(ours) == 1
    assert "ordinary spans are dropped" in ours[0].getMessage()
    noise = [r for r in caplog.records if r.name.startswith(("opentelemetry.exporter", "urllib3"))]
    assert noise == []
    assert "s3cret" not in caplog.text
