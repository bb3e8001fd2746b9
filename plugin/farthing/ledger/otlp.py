"""OTLP trace requests, read: protobuf or JSON in, one `wire.WireRequest` out."""

import base64
import json
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from farthing.ledger.wire import WireRequest

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class MalformedError(Exception):
    """The body is not a valid OTLP trace request; the text says why. Nothing of it is stored."""


def read(body: bytes, content_type: str) -> Any:
    """Return the request in ``body``. Raises MalformedError; what is wrong with single spans shows later."""
    try:
        if content_type == JSON:
            request = ExportTraceServiceRequest()
            ParseDict(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
            body = request.SerializeToString()
        return WireRequest.FromString(body)
    except (DecodeError, ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None


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
