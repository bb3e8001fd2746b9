"""The trace of a request: one root, and below it a span of each thing that was done for it.

All of it explores and may be lost. What was spent is told by charges alone, so no span here has a charge's
id; and none has text of a request or an answer, unless ``telemetry.capture_content`` asks for it.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from farthing.grading.decision import Decision
from farthing.proxy import content
from farthing.proxy.calls import Attempt, Call
from farthing.telemetry import attributes as attr
from farthing.telemetry.spans import attempt_name, model_facts
from farthing.telemetry.tracing import extract

log = logging.getLogger("farthing")

Facts = Mapping[str, str | int | float | bool]


class Tree:
    """Makes the spans of requests."""

    def __init__(self, tracer: Tracer, *, capture_content: bool = False) -> None:
        self._tracer = tracer
        self._capture = capture_content

    def root(self, surface: str, above: Any, headers: Mapping[str, str], facts: Facts) -> Span:
        """Start a request's own span: inside ``above``, the span active here, or the client's, if any."""
        return self._tracer.start_span(
            f"farthing {surface}",
            context=_context(above, headers),
            kind=SpanKind.SERVER,
            attributes={name: value for name, value in facts.items() if value != ""},
        )

    def step(self, call: Call, name: str, links: Sequence[Link] = ()) -> Span:
        """Start the span ``farthing {name}`` of a step in a call."""
        return self._tracer.start_span(
            f"farthing {name}", context=set_span_in_context(call.span), links=links
        )

    def uncharged(self, call: Call, attempt: Attempt, error: str = "") -> dict[str, str]:
        """Leave the span of an attempt that cost nothing; return its facts.

        With an ``error`` it failed before it began to answer; without one LiteLLM's cache answered.
        """
        deployment = attempt.deployment
        facts = model_facts(call.surface, deployment.provider, deployment.label)
        facts[attr.TIER] = deployment.tier
        span = self._tracer.start_span(
            attempt_name(call.surface, deployment.label),
            context=set_span_in_context(call.span),
            kind=SpanKind.CLIENT,
            attributes=facts if error else facts | {attr.ANSWER_CACHED: True},
            start_time=attempt.started_ns,
        )
        if error:
            facts[attr.ERROR_TYPE] = error
            failed(span, error)
        span.end()
        return facts | {attr.CHARGE_KIND: call.kind}

    def content(self, call: Call, attempt: Attempt) -> None:
        """Leave a span with what was asked and answered, if ``telemetry.capture_content`` asks for it."""
        if not self._capture or call.kind != "inference":
            return
        payload = attempt.plan.payload if attempt.plan else call.payload
        try:
            facts = {
                attr.INPUT_MESSAGES: content.input_messages(payload),
                attr.OUTPUT_MESSAGES: content.output_messages("".join(attempt.answered)),
            }
        except Exception as error:  # text of a shape that nobody foresaw must not cost the charge
            log.error("farthing: a call's text was not captured (%s)", type(error).__name__)
            return
        span = self._tracer.start_span(
            "farthing content",
            context=set_span_in_context(call.span),
            attributes=facts,
            start_time=attempt.started_ns,
        )
        span.end()

    @property
    def captures(self) -> bool:
        """Whether `content` leaves anything."""
        return self._capture


def failed(span: Span, error: str) -> None:
    """Mark a span as failed; ``error`` is a name of few values, never an exception's text."""
    span.set_attribute(attr.ERROR_TYPE, error)
    span.set_status(Status(StatusCode.ERROR, error))


def links_of(call: Call) -> list[Link]:
    """Return the link of a call that is not its request's own answer: to the request that it serves."""
    if call.parent is None or call.kind == "inference":
        return []
    return [Link(call.root.span.get_span_context(), {attr.LINK: "serves"})]


def grade_facts(decision: Decision, mode: str) -> dict[str, str | float]:
    """Return a grade, and how it was found, as span attributes. ``mode`` is `grading.mode`."""
    grade = decision.grade
    facts: dict[str, str | float] = {
        attr.GRADE: grade.grade,
        attr.GRADE_SCORE: grade.score,
        attr.GRADE_SOURCE: grade.source,
        attr.GRADE_REASON: grade.reason,
        attr.GRADE_MODE: mode,
        attr.INTENT: decision.intent,
    }
    if decision.layer:
        facts |= {attr.GRADE_CACHE: decision.layer, attr.GRADE_SAVED: decision.saved_s}
    if decision.judge_failure:
        facts[attr.GRADE_JUDGE_FAILURE] = decision.judge_failure
    return facts


def seconds_since(started_ns: int) -> float:
    """Return the seconds from a moment (Unix nanoseconds) to now."""
    return max(0, time.time_ns() - started_ns) / 1e9


def _context(above: Any, headers: Mapping[str, str]) -> Context:
    # The host's own span first: it has the client's traceparent above it, and LiteLLM's spans below.
    for span in (above, get_current_span()):
        if isinstance(span, Span) and span.get_span_context().is_valid:
            return set_span_in_context(span, Context())
    return extract(headers)
