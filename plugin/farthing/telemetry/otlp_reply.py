"""What an OTLP/HTTP receiver's answer to a batch of spans means (OTLP 1.x, section "OTLP/HTTP Response")."""

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

Verdict = Literal["accepted", "rejected", "refused", "later"]

# The receiver blames the request itself; any other failure may pass (401 and 404 when somebody mends
# the settings), so those are retried for ever.
_REFUSED = {400, 413, 422}
_THROTTLED = {429, 503}
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Reply:
    """``accepted``: all spans are in. ``rejected``: the receiver took the request and says that spans in it
    are bad. ``refused``: it blames the whole request. ``later``: try again, not before ``retry_after_s``
    seconds if the receiver named a time.
    """

    verdict: Verdict
    reason: str = ""
    retry_after_s: float | None = None


def read_reply(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Judge an answer. ``headers`` must find names in any case, as httpx's do."""
    if status == 200:
        return _read_success(headers.get("content-type", ""), body)
    if status in _REFUSED:
        return Reply("refused", f"HTTP {status}: {_start_of(body)}")
    wait = _retry_after(headers.get("retry-after", "")) if status in _THROTTLED else None
    return Reply("later", f"HTTP {status}", wait)


def _read_success(content_type: str, body: bytes) -> Reply:
    if not body:
        return Reply("accepted")
    try:
        if "json" in content_type:
            partial = json.loads(body).get("partialSuccess") or {}
            rejected = int(partial.get("rejectedSpans", 0))
            message = str(partial.get("errorMessage", ""))
        elif "protobuf" in content_type:
            decoded = ExportTraceServiceResponse.FromString(body).partial_success
            rejected, message = decoded.rejected_spans, decoded.error_message
        else:
            raise ValueError(content_type)
    except (DecodeError, ValueError, TypeError, AttributeError):
        # A login page or a proxy's greeting is no receipt for money.
        return Reply("later", f"HTTP 200, but no OTLP answer ({content_type or 'no content type'})")
    if rejected > 0:
        return Reply("rejected", f"{rejected} span(s) rejected: {message[:200]}")
    return Reply("accepted")


def _retry_after(value: str) -> float | None:
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_WAIT_S)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return min(max(moment.timestamp() - time.time(), 0.0), _LONGEST_WAIT_S)


def _start_of(body: bytes) -> str:
    # Printable only: the text goes to a log.
    return "".join(c if c.isprintable() else " " for c in body[:200].decode("utf-8", "replace"))
