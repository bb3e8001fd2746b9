"""The spans of one request, in order, and as text."""

from collections.abc import Mapping, Sequence
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
    a.CHECK_FAILURE, a.CHECK_REASON,
    a.INPUT_TOKENS, a.OUTPUT_TOKENS, a.CACHE_READ_TOKENS, a.COST_TOTAL, a.BASELINE_COST,
    a.CREDITS_HELD, a.CREDITS_SETTLED, a.CREDITS_BALANCE, a.CLIMBED_FROM, a.CHARGE_KIND, a.CHARGE_ID,
    a.AGENT_NAME, a.TASK, a.DENIAL_REASON, a.ERROR_TYPE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that happened in a span. ``offset_ns`` counts from the trace's first span."""

    offset_ns: int
    name: str
    attributes: dict[str, str]


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
    events: tuple[TraceEvent, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """To other spans: a span id, and what that span is to this one (``serves``: the request it serves)."""


def trace(client: Any, trace_id: str) -> list[TraceSpan]:
    """Return the spans of a trace (32 hex digits) in the order they began; empty if it is not known."""
    result = client.query(sqlfiles.load("trace"), parameters={"trace_id": trace_id})
    return [_span(row) for row in result.named_results()]


def _span(row: Mapping[str, Any]) -> TraceSpan:
    events = zip(row["event_offsets"], row["events"], row["event_attributes"], strict=True)
    return TraceSpan(
        offset_ns=int(row["offset_ns"]),
        duration_ns=int(row["duration_ns"]),
        span_id=str(row["span_id"]),
        parent_span_id=str(row["parent_span_id"]),
        service=str(row["service"]),
        name=str(row["name"]),
        kind=str(row["kind"]),
        status=str(row["status"]),
        status_message=str(row["status_message"]),
        attributes=dict(row["attributes"]),
        events=tuple(TraceEvent(int(at), str(name), dict(facts)) for at, name, facts in events),
        links=tuple((str(span), str(what)) for span, what in row["links"]),
    )


def find(client: Any, identifier: str) -> tuple[str, list[TraceSpan]]:
    """Return the trace of a trace id or of a charge's id, with its spans; none if nothing is known of it."""
    spans = trace(client, identifier.lower())
    if spans:
        return identifier.lower(), spans
    found = client.query(sqlfiles.load("trace_of_charge"), parameters={"charge_id": identifier}).result_rows
    trace_id = str(found[0][0]) if found else identifier
    return trace_id, trace(client, trace_id) if found else []


def in_tree(spans: Sequence[TraceSpan]) -> list[tuple[TraceSpan, int]]:
    """Return spans as a tree is read: each with its depth, those below it right behind, in their order."""
    known = {span.span_id for span in spans}
    below: dict[str, list[TraceSpan]] = {}
    for span in spans:
        # The caller's own span is usually not in this ledger: what hangs from it is a root here.
        parent = span.parent_span_id if span.parent_span_id in known - {span.span_id} else ""
        below.setdefault(parent, []).append(span)
    out: list[tuple[TraceSpan, int]] = []
    waiting = [(span, 0) for span in reversed(below.get("", []))]
    while waiting:
        span, depth = waiting.pop()
        out.append((span, depth))
        waiting += [(child, depth + 1) for child in reversed(below.get(span.span_id, []))]
    return out


def render(spans: Sequence[TraceSpan]) -> str:
    """Return the spans as an indented tree with times, and what each says of grade, tier and money."""
    if not spans:
        return "no span of this trace has arrived yet"
    return "\n".join(line for span, depth in in_tree(spans) for line in _lines(span, "  " * depth))


def _lines(span: TraceSpan, indent: str) -> list[str]:
    status = "" if span.status in ("", "Unset") else f"  {span.status} {span.status_message}".rstrip()
    start, lasted = span.offset_ns / 1e6, span.duration_ns / 1e6
    said = [f"{name}={span.attributes[name]}" for name in _SHOWN if span.attributes.get(name)]
    return [
        f"{start:10.1f} ms {lasted:10.1f} ms  {indent}{span.name} ({span.service}){status}",
        *(f"{'':28}{indent}  {item}" for item in said),
        *(f"{'':28}{indent}  {what} span {other}" for other, what in span.links),
        *(f"{'':28}{indent}  event: {event.name}{_facts(event)}" for event in span.events),
    ]


def _facts(event: TraceEvent) -> str:
    return "".join(f" {name}={value}" for name, value in event.attributes.items())
