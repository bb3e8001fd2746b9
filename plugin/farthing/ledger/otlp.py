"""OTLP trace requests, read: protobuf or JSON in, one `ExportTraceServiceRequest` out."""

import base64
import json
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_LATEST = 2**63 - 1


class MalformedError(Exception):
    """The body is not a valid OTLP trace request; the text says why. Nothing of it is stored."""


def read(body: bytes, content_type: str) -> ExportTraceServiceRequest:
    """Return the request in ``body``. Raises MalformedError."""
    request = ExportTraceServiceRequest()
    try:
        if content_type == JSON:
            ParseDict(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (DecodeError, ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None
    _check(request)
    return request


def _with_base64_ids(document: Any) -> Any:
    # OTLP's JSON writes ids as hex where protobuf's own JSON mapping has base64.
    for resource in _each(document, "resourceSpans", "resource_spans"):
        for scope in _each(resource, "scopeSpans", "scope_spans"):
            for span in _each(scope, "spans"):
                _rewrite_ids(span)
                for link in _each(span, "links"):
                    _rewrite_ids(link)
    return document


def _each(parent: Any, *names: str) -> list[dict[str, Any]]:
    found: Any = next((parent[name] for name in names if parent.get(name) is not None), [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ValueError(f"{names[0]} must be a list of objects")
    return found


def _rewrite_ids(item: dict[str, Any]) -> None:
    for name in ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"):
        if item.get(name):
            item[name] = base64.b64encode(bytes.fromhex(item[name])).decode()


def _check(request: ExportTraceServiceRequest) -> None:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                _check_ids(span.trace_id, span.span_id)
                if len(span.parent_span_id) not in (0, 8):
                    raise MalformedError(
                        f"a parent span id has {len(span.parent_span_id)} bytes instead of 8"
                    )
                if span.start_time_unix_nano > _LATEST or span.end_time_unix_nano > _LATEST:
                    raise MalformedError("a span's time lies beyond the year 2262")
                if any(event.time_unix_nano > _LATEST for event in span.events):
                    raise MalformedError("an event's time lies beyond the year 2262")
                for link in span.links:
                    _check_ids(link.trace_id, link.span_id)


def _check_ids(trace_id: bytes, span_id: bytes) -> None:
    if len(trace_id) not in (0, 16):
        raise MalformedError(f"a trace id has {len(trace_id)} bytes instead of 16")
    if len(span_id) not in (0, 8):
        raise MalformedError(f"a span id has {len(span_id)} bytes instead of 8")
