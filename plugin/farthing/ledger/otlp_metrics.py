"""OTLP metrics as rows of the tables that the collector's ClickHouse exporter fills, in RowBinary.

Metrics may be lost, and after a failure half-way a retry may store some twice: no money is read from them.
"""

import base64
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric

from farthing.ledger.otlp import JSON, MalformedError
from farthing.ledger.pairs import length, text
from farthing.ledger.rows import as_map

_BEFORE = (
    "ResourceAttributes", "ResourceSchemaUrl", "ScopeName", "ScopeVersion", "ScopeAttributes",
    "ScopeDroppedAttrCount", "ScopeSchemaUrl", "ServiceName", "MetricName", "MetricDescription", "MetricUnit",
    "Attributes", "StartTimeUnix", "TimeUnix",
)  # fmt: skip
_EXEMPLARS = tuple(
    f"Exemplars.{name}" for name in ("FilteredAttributes", "TimeUnix", "Value", "SpanId", "TraceId")
)
_EXTREMES = ("Flags", "Min", "Max", "AggregationTemporality")
_COLUMNS = {
    "gauge": ("Value", "Flags", *_EXEMPLARS),
    "sum": ("Value", "Flags", *_EXEMPLARS, "AggregationTemporality", "IsMonotonic"),
    "histogram": ("Count", "Sum", "BucketCounts", "ExplicitBounds", *_EXEMPLARS, *_EXTREMES),
    "exponential_histogram": (
        "Count", "Sum", "Scale", "ZeroCount", "PositiveOffset", "PositiveBucketCounts", "NegativeOffset",
        "NegativeBucketCounts", *_EXEMPLARS, *_EXTREMES,
    ),
    "summary": ("Count", "Sum", "ValueAtQuantiles.Quantile", "ValueAtQuantiles.Value", "Flags"),
}  # fmt: skip
INSERTS = {
    kind: f"INSERT INTO otel_metrics_{kind} ({', '.join(f'`{name}`' for name in _BEFORE + columns)})"
    for kind, columns in _COLUMNS.items()
}
"""By kind of metric, the statement that stores its rows."""
FORMAT = "RowBinary"

_SECOND = 10**9
_LATEST_S = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """A request's points by kind, ready for the statements in `INSERTS`; ``reason``: of the first refused."""

    by_kind: dict[str, bytes]
    rejected: int
    reason: str


def read(body: bytes, content_type: str) -> ExportMetricsServiceRequest:
    """Return the request in ``body``. Raises MalformedError."""
    request = ExportMetricsServiceRequest()
    try:
        if content_type == JSON:
            ParseDict(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (DecodeError, ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError(f"not an OTLP metrics request: {error}") from None
    return request


def _with_base64_ids(document: Any) -> Any:
    # OTLP's JSON writes the ids of exemplars as hex where protobuf's own JSON mapping has base64.
    waiting = [document]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for name in ("traceId", "spanId", "trace_id", "span_id"):
                if isinstance(item.get(name), str):
                    item[name] = base64.b64encode(bytes.fromhex(item[name])).decode()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return document


def encode(request: ExportMetricsServiceRequest) -> Rows:
    """Return a request's points as rows. A point that cannot be stored costs no other its place."""
    found: dict[str, list[bytes]] = {}
    rejected, reason = 0, ""
    for resource in request.resource_metrics:
        attributes = as_map(resource.resource.attributes)
        of_resource = _map(attributes) + text(resource.schema_url)
        service = text(attributes.get("service.name", ""))
        for scope in resource.scope_metrics:
            of_scope = b"".join(
                (
                    text(scope.scope.name),
                    text(scope.scope.version),
                    _map(as_map(scope.scope.attributes)),
                    _u32(scope.scope.dropped_attributes_count),
                    text(scope.schema_url),
                )
            )
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind not in _COLUMNS:
                    continue  # nothing was measured
                names = (text(metric.name), text(metric.description), text(metric.unit))
                before = b"".join((of_resource, of_scope, service, *names))
                for point in getattr(metric, kind).data_points:
                    try:
                        row = before + _point(point) + _WRITERS[kind](point, metric)
                    except (ValueError, struct.error) as error:
                        rejected += 1
                        reason = reason or f"{metric.name}: {error}"
                    else:
                        found.setdefault(kind, []).append(row)
    return Rows({kind: b"".join(rows) for kind, rows in found.items()}, rejected, reason)


def _point(point: Any) -> bytes:
    times = (_seconds(point.start_time_unix_nano), _seconds(point.time_unix_nano))
    return _attributes(point.attributes) + struct.pack("<II", *times)


def _gauge(point: Any, _: Metric) -> bytes:
    return struct.pack("<dI", _number(point), point.flags) + _exemplars(point.exemplars)


def _sum(point: Any, metric: Metric) -> bytes:
    return _gauge(point, metric) + struct.pack(
        "<i?", metric.sum.aggregation_temporality, metric.sum.is_monotonic
    )


def _histogram(point: Any, metric: Metric) -> bytes:
    return b"".join(
        (
            struct.pack("<Qd", point.count, point.sum),
            _array(point.bucket_counts, "<Q"),
            _array(point.explicit_bounds, "<d"),
            _exemplars(point.exemplars),
            _extremes(point, metric.histogram.aggregation_temporality),
        )
    )


def _exponential(point: Any, metric: Metric) -> bytes:
    above, below = point.positive, point.negative
    return b"".join(
        (
            struct.pack("<QdiQ", point.count, point.sum, point.scale, point.zero_count),
            struct.pack("<i", above.offset),
            _array(above.bucket_counts, "<Q"),
            struct.pack("<i", below.offset),
            _array(below.bucket_counts, "<Q"),
            _exemplars(point.exemplars),
            _extremes(point, metric.exponential_histogram.aggregation_temporality),
        )
    )


def _summary(point: Any, _: Metric) -> bytes:
    quantiles = point.quantile_values
    return b"".join(
        (
            struct.pack("<Qd", point.count, point.sum),
            _array((item.quantile for item in quantiles), "<d"),
            _array((item.value for item in quantiles), "<d"),
            _u32(point.flags),
        )
    )


_WRITERS: dict[str, Callable[[Any, Metric], bytes]] = {
    "gauge": _gauge,
    "sum": _sum,
    "histogram": _histogram,
    "exponential_histogram": _exponential,
    "summary": _summary,
}


def _extremes(point: Any, temporality: int) -> bytes:
    return struct.pack("<Iddi", point.flags, point.min, point.max, temporality)


def _exemplars(exemplars: Iterable[Exemplar]) -> bytes:
    known = list(exemplars)
    count = length(len(known))
    columns = (
        (_attributes(item.filtered_attributes) for item in known),
        (_u32(_seconds(item.time_unix_nano)) for item in known),
        (struct.pack("<d", _number(item)) for item in known),
        (text(item.span_id.hex()) for item in known),
        (text(item.trace_id.hex()) for item in known),
    )
    return b"".join(count + b"".join(column) for column in columns)


def _number(point: Any) -> float:
    """Return the value of a point or an exemplar: whole or not, the tables have one column for both."""
    kind = point.WhichOneof("value")
    return float(getattr(point, kind)) if kind else 0.0


def _seconds(unix_ns: int) -> int:
    seconds = unix_ns // _SECOND
    if seconds > _LATEST_S:
        raise ValueError("a time lies beyond the year 2106")
    return seconds


def _attributes(attributes: Iterable[KeyValue]) -> bytes:
    return _map(as_map(attributes))


def _map(items: dict[str, str]) -> bytes:
    return length(len(items)) + b"".join(text(key) + text(value) for key, value in items.items())


def _array(items: Iterable[float], layout: str) -> bytes:
    packed = [struct.pack(layout, item) for item in items]
    return length(len(packed)) + b"".join(packed)


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)
