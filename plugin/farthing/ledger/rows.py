"""Spans as rows of otel_traces, in ClickHouse's RowBinary, with the collector exporter's wording.

Attributes of every type are stored as text, as the OpenTelemetry collector's ClickHouse exporter
writes them: `true`, `1`, `0.25`, base64 for bytes, compact JSON with sorted keys for lists and maps.
"""

import base64
import json
import math
import struct
from collections.abc import Iterable
from decimal import Decimal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

COLUMNS = (
    "Timestamp", "TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName",
    "ResourceAttributes", "ScopeName", "ScopeVersion", "SpanAttributes", "Duration", "StatusCode",
    "StatusMessage", "Events.Timestamp", "Events.Name", "Events.Attributes", "Links.TraceId", "Links.SpanId",
    "Links.TraceState", "Links.Attributes",
)  # fmt: skip
INSERT = f"INSERT INTO otel_traces ({', '.join(f'`{name}`' for name in COLUMNS)})"

_KINDS = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES = ("Unset", "Ok", "Error")
# What Go's JSON encoder escapes, so that its text may stand inside HTML.
_GO_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def encode(request: ExportTraceServiceRequest) -> tuple[bytes, int]:
    """Return the request's spans as RowBinary of `COLUMNS`, and how many they are."""
    out: list[bytes] = []
    count = 0
    for resource in request.resource_spans:
        attributes = as_map(resource.resource.attributes)
        service = _text(attributes.get("service.name", ""))
        resource_map = _map(attributes)
        for scope in resource.scope_spans:
            name, version = _text(scope.scope.name), _text(scope.scope.version)
            for span in scope.spans:
                out += _row(span, service, resource_map, name, version)
            count += len(scope.spans)
    return b"".join(out), count


def _row(span: Span, service: bytes, resource: bytes, scope: bytes, version: bytes) -> list[bytes]:
    events, links = span.events, span.links
    kind = _KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else ""
    status = _STATUSES[span.status.code] if 0 <= span.status.code < len(_STATUSES) else ""
    # A clock set back between start and end must not become a duration of centuries.
    duration = max(0, span.end_time_unix_nano - span.start_time_unix_nano)
    return [
        struct.pack("<q", span.start_time_unix_nano),
        _text(_hex(span.trace_id)),
        _text(_hex(span.span_id)),
        _text(_hex(span.parent_span_id)),
        _text(span.trace_state),
        _text(span.name),
        _text(kind),
        service,
        resource,
        scope,
        version,
        _map(as_map(span.attributes)),
        struct.pack("<Q", duration),
        _text(status),
        _text(span.status.message),
        _array(struct.pack("<q", event.time_unix_nano) for event in events),
        _array(_text(event.name) for event in events),
        _array(_map(as_map(event.attributes)) for event in events),
        _array(_text(_hex(link.trace_id)) for link in links),
        _array(_text(_hex(link.span_id)) for link in links),
        _array(_text(link.trace_state) for link in links),
        _array(_map(as_map(link.attributes)) for link in links),
    ]


def as_map(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Return attributes as text by name; of a name that comes twice, the last."""
    return {item.key: as_text(item.value) for item in attributes}


def as_text(value: AnyValue) -> str:
    """Return an attribute's value as the collector's ClickHouse exporter writes it."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "int_value":
        return str(value.int_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "double_value":
        if not math.isfinite(value.double_value):
            return f"json: unsupported value: {_not_finite(value.double_value)}"
        return _number(value.double_value)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind in ("array_value", "kvlist_value"):
        try:
            return _json(value)
        except ValueError:
            return ""
    return ""


def _json(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return "[" + ",".join(_json(item) for item in value.array_value.values) + "]"
    if kind == "kvlist_value":
        items = {item.key: item.value for item in value.kvlist_value.values}
        return "{" + ",".join(f"{_json_text(key)}:{_json(items[key])}" for key in sorted(items)) + "}"
    if kind == "double_value":
        if not math.isfinite(value.double_value):
            raise ValueError("JSON has no such number")
        return _number(value.double_value)
    if kind in ("int_value", "bool_value"):
        return as_text(value)
    return "null" if kind is None else _json_text(as_text(value))


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_GO_ESCAPES)


def _number(value: float) -> str:
    """Return a float with the fewest digits that read back as it; plain from 1e-6 to 1e21, as JavaScript."""
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0')}"
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _hex(identifier: bytes) -> str:
    return identifier.hex() if any(identifier) else ""


def _length(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT = [bytes((number,)) for number in range(0x80)]


def _text(text: str) -> bytes:
    raw = text.encode()
    size = len(raw)
    return (_SHORT[size] if size < 0x80 else _length(size)) + raw


def _map(items: dict[str, str]) -> bytes:
    parts = [_length(len(items))]
    for key, value in items.items():
        parts.append(_text(key))
        parts.append(_text(value))
    return b"".join(parts)


def _array(items: Iterable[bytes]) -> bytes:
    parts = list(items)
    return _length(len(parts)) + b"".join(parts)
