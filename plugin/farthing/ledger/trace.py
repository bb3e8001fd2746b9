"""The spans of one request, in order, and as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from farthing.ledger import sqlfiles
from farthing.telemetry import attributes as a

# What a reader wants of a span beside its name and time, in this order.
_SHOWN = (
    a.ACCOUNT_USER, a.ACCOUNT_DEPARTMENT, a.GRADE, a.GRADE_SCORE, a.GRADE_SOURCE, a.GRADE_REASON, a.TIER,
    a.RESPONSE_MODEL,
    a.CONTEXT_DECISION, a.CONTEXT_TOKENS_BEFORE, a.CONTEXT_TOKENS_AFTER, a.CONTEXT_SAVED, a.CONTEXT_REASON,
    a.CONTEXT_TURNS, a.CONTEXT_WRITER,
    a.INPUT_TOKENS, a.OUTPUT_TOKENS, a.CACHE_READ_TOKENS, a.COST_TOTAL, a.BASELINE_COST,
    a.CREDITS_HELD, a.CREDITS_SETTLED, a.CREDITS_BALANCE, a.CLIMBED_FROM, a.CHARGE_KIND, a.CHARGE_ID,
    a.ERROR_TYPE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """One span of a trace. Times are nanoseconds; ``offset_ns`` counts from the trace's first span."""

    offset_ns: int
    duration_ns: int
    span_id: str
    parent_span_id: str
    service: str
    name: str
    kind: str
    status: str
    status_message: str
    attributes: dict[str, str]
    events: tuple[str, ...]


def trace(client: Any, trace_id: str) -> list[TraceSpan]:
    """Return the spans of a trace (32 hex digits) in the order they began; empty if it is not known."""
    result = client.query(sqlfiles.load("trace"), parameters={"trace_id": trace_id})
    return [
        TraceSpan(
            int(offset),
            int(duration),
            str(span),
            str(parent),
            str(service),
            str(name),
            str(kind),
            str(status),
            str(message),
            dict(attributes),
            tuple(events),
        )
        for offset, duration, span, parent, service, name, kind, status, message, attributes, events in (
            result.result_rows
        )
    ]


def render(spans: Sequence[TraceSpan]) -> str:
    """Return the spans as an indented tree with times, and what each says of grade, tier and money."""
    if not spans:
        return "no span of this trace has arrived yet"
    known = {span.span_id for span in spans}
    below: dict[str, list[TraceSpan]] = {}
    for span in spans:
        # The caller's own span is usually not in this ledger: what hangs from it is a root here.
        parent = span.parent_span_id if span.parent_span_id in known - {span.span_id} else ""
        below.setdefault(parent, []).append(span)
    out: list[str] = []
    waiting = [(span, 0) for span in reversed(below.get("", []))]
    while waiting:
        span, depth = waiting.pop()
        out += _lines(span, "  " * depth)
        waiting += [(child, depth + 1) for child in reversed(below.get(span.span_id, []))]
    return "\n".join(out)


def _lines(span: TraceSpan, indent: str) -> list[str]:
    status = "" if span.status in ("", "Unset") else f"  {span.status} {span.status_message}".rstrip()
    start, lasted = span.offset_ns / 1e6, span.duration_ns / 1e6
    said = [f"{name}={span.attributes[name]}" for name in _SHOWN if span.attributes.get(name)]
    return [
        f"{start:10.1f} ms {lasted:10.1f} ms  {indent}{span.name} ({span.service}){status}",
        *(f"{'':28}{indent}  {item}" for item in said),
        *(f"{'':28}{indent}  event: {event}" for event in span.events),
    ]
