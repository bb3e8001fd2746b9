"""Metrics on their way in: a gateway's real exporter, every kind of point, and what is refused."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from farthing.ledger import connect
from farthing.ledger.otlp_metrics import INSERTS
from farthing.settings import Settings, Telemetry
from farthing.telemetry.metrics import Metrics
from tests.ledger_stack import AUTH, PASSWORD, PROTOBUF, USER, charge, embedded_ledger

NOW = 1_795_860_000  # seconds; 2026-11-28
KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


def rows(settings: Settings, query: str):
    return list(connect(settings.ledger).query(query).named_results())


def post(settings: Settings, body: bytes, **headers: str) -> httpx.Response:
    url = f"{settings.ledger.url}/v1/metrics"
    return httpx.post(url, content=body, headers=PROTOBUF | headers, auth=AUTH, timeout=30)


def test_a_gateways_metrics_arrive_as_deltas_that_can_be_added_up(settings):
    telemetry = Telemetry(metrics_endpoint=settings.ledger.url, otlp_user=USER, otlp_password=PASSWORD)
    metrics = Metrics(telemetry, instance="i-1")
    for _ in range(2):
        metrics.calls.charged(charge())
        metrics.calls.denied("credits", "rese'arch 💰")
        metrics.outbox.saw(3, 0, 12.5, 4096)
        metrics._provider.force_flush()
    metrics.shutdown()
    (denied,) = rows(
        settings,
        "SELECT sum(Value) AS n, any(AggregationTemporality) AS temporality, any(IsMonotonic) AS up, "
        "any(ServiceName) AS service, any(MetricUnit) AS unit, any(Attributes) AS attributes, "
        "any(ResourceAttributes['service.instance.id']) AS instance "
        "FROM otel_metrics_sum WHERE MetricName = 'farthing.denials'",
    )
    assert (denied["n"], denied["temporality"], denied["up"]) == (2, 1, True)
    assert (denied["service"], denied["unit"], denied["instance"]) == ("farthing", "{request}", "i-1")
    assert denied["attributes"] == {
        "farthing.denial.reason": "credits",
        "farthing.account.department": "rese'arch 💰",
    }
    tokens = rows(
        settings,
        "SELECT Attributes['gen_ai.token.type'] AS type, sum(Count) AS calls, sum(Sum) AS tokens, "
        "sumForEach(BucketCounts) AS buckets, any(ExplicitBounds) AS bounds, max(Max) AS most "
        "FROM otel_metrics_histogram WHERE MetricName = 'gen_ai.client.token.usage' GROUP BY type",
    )
    found = {row["type"]: row for row in tokens}
    assert (found["input"]["calls"], found["input"]["tokens"], found["input"]["most"]) == (2, 2000, 1000)
    bounds, buckets = found["input"]["bounds"], found["input"]["buckets"]
    assert len(buckets) == len(bounds) + 1
    assert [n for n, at in zip(buckets, bounds, strict=False) if at == 1024] == [2]
    (lag,) = rows(
        settings,
        "SELECT argMax(Value, TimeUnix) AS lag, any(Attributes) AS attributes FROM otel_metrics_gauge "
        "WHERE MetricName = 'farthing.outbox.lag_s'",
    )
    assert (lag["lag"], lag["attributes"]) == (12.5, {"farthing.gateway.instance": "i-1"})


def one_of_each(time_s: int = NOW) -> dict:
    """Return a request with a point of every kind, in OTLP's JSON."""
    at = {
        "timeUnixNano": str(time_s * 10**9),
        "startTimeUnixNano": str((NOW - 60) * 10**9),
        "attributes": [{"key": "a", "value": {"boolValue": True}}],
    }
    exemplar = {
        "timeUnixNano": str(NOW * 10**9),
        "asInt": "7",
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "filteredAttributes": [{"key": "who", "value": {"stringValue": "x"}}],
    }
    spread = at | {"count": "6", "sum": 3.5, "min": 0.5, "max": 2, "exemplars": [exemplar]}
    metrics = [
        {"name": "m.gauge", "unit": "s", "gauge": {"dataPoints": [at | {"asDouble": 0.25}]}},
        {
            "name": "m.sum",
            "description": "d",
            "sum": {
                "aggregationTemporality": 2,
                "isMonotonic": True,
                "dataPoints": [at | {"asInt": "9", "exemplars": [exemplar]}],
            },
        },
        {
            "name": "m.histogram",
            "histogram": {
                "aggregationTemporality": 1,
                "dataPoints": [spread | {"bucketCounts": ["1", "5"], "explicitBounds": [1]}],
            },
        },
        {
            "name": "m.exponential",
            "exponentialHistogram": {
                "aggregationTemporality": 1,
                "dataPoints": [
                    spread
                    | {
                        "scale": 3,
                        "zeroCount": "1",
                        "positive": {"offset": -2, "bucketCounts": ["2", "3"]},
                        "negative": {"offset": 4, "bucketCounts": []},
                    }
                ],
            },
        },
        {
            "name": "m.summary",
            "summary": {
                "dataPoints": [
                    at | {"count": "6", "sum": 3.5, "quantileValues": [{"quantile": 0.5, "value": 0.6}]}
                ]
            },
        },
    ]
    scope = {"scope": {"name": "lib", "version": "1", "attributes": at["attributes"]}, "metrics": metrics}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "other"}}]}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope], "schemaUrl": "https://x"}]}


def test_every_kind_of_point_is_stored_as_the_collectors_exporter_would(settings):
    response = post(settings, json.dumps(one_of_each()).encode(), **{"Content-Type": "application/json"})
    assert (response.status_code, response.json()) == (200, {})
    found = {
        kind: rows(settings, f"SELECT * FROM otel_metrics_{kind} WHERE ServiceName = 'other'")
        for kind in KINDS
    }
    assert {kind: len(items) for kind, items in found.items()} == dict.fromkeys(KINDS, 1)
    for (row,) in found.values():
        assert row["Attributes"] == row["ScopeAttributes"] == {"a": "true"}
        assert (row["ScopeName"], row["ScopeVersion"], row["ResourceSchemaUrl"]) == ("lib", "1", "https://x")
        assert (row["TimeUnix"].timestamp(), row["StartTimeUnix"].timestamp()) == (NOW, NOW - 60)
    (gauge,), (total,), (spread,), (exponential,), (summary,) = (found[kind] for kind in KINDS)
    assert (gauge["Value"], gauge["MetricUnit"]) == (0.25, "s")
    assert (total["Value"], total["AggregationTemporality"], total["IsMonotonic"]) == (9, 2, True)
    assert total["Exemplars.TraceId"] == ["0af7651916cd43dd8448eb211c80319c"]
    assert (total["Exemplars.SpanId"], total["Exemplars.Value"]) == (["b7ad6b7169203331"], [7])
    assert total["Exemplars.FilteredAttributes"] == [{"who": "x"}]
    assert (spread["Count"], spread["Sum"], spread["Min"], spread["Max"]) == (6, 3.5, 0.5, 2)
    assert (spread["BucketCounts"], spread["ExplicitBounds"]) == ([1, 5], [1])
    names = ("Scale", "ZeroCount", "PositiveOffset", "PositiveBucketCounts", "NegativeOffset")
    assert [exponential[name] for name in names] == [3, 1, -2, [2, 3], 4]
    assert (summary["ValueAtQuantiles.Quantile"], summary["ValueAtQuantiles.Value"]) == ([0.5], [0.6])


def test_what_cannot_be_stored_is_refused_and_costs_no_other_its_place(settings):
    mixed = one_of_each()
    (scope,) = mixed["resourceMetrics"][0]["scopeMetrics"]
    scope["metrics"] = scope["metrics"][:2]
    mixed["resourceMetrics"][0]["resource"]["attributes"][0]["value"]["stringValue"] = "mixed"
    scope["metrics"][0]["gauge"]["dataPoints"][0]["timeUnixNano"] = str(2**64 - 1)
    response = post(settings, json.dumps(mixed).encode(), **{"Content-Type": "application/json"})
    assert response.status_code == 200
    refused = response.json()["partialSuccess"]
    assert refused["rejectedDataPoints"] == "1"
    assert "2106" in refused["errorMessage"]
    assert len(rows(settings, "SELECT 1 FROM otel_metrics_sum WHERE ServiceName = 'mixed'")) == 1
    assert post(settings, b"\xff\xff").status_code == 400
    empty = post(settings, ExportMetricsServiceRequest().SerializeToString())
    assert empty.status_code == 200
    assert ExportMetricsServiceResponse.FromString(empty.content) == ExportMetricsServiceResponse()
    url = f"{settings.ledger.url}/v1/metrics"
    assert httpx.post(url, content=b"", headers=PROTOBUF, auth=("farthing", "wrong")).status_code == 401


def test_the_tables_have_the_columns_that_are_written(settings):
    for kind, insert in INSERTS.items():
        columns = [row["name"] for row in rows(settings, f"DESCRIBE TABLE otel_metrics_{kind}")]
        assert re.findall(r"`([\w.]+)`", insert) == columns
