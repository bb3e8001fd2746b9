"""Requests as a gateway tells of them: a root, a child, and a charge beneath the root."""

from datetime import UTC, datetime

from opentelemetry.trace import StatusCode, set_span_in_context

from collector.process import Collector
from farthing.telemetry.spans import ChargeSpans
from farthing.telemetry.tracing import Tracing
from tests.collector.conftest import Rig, post
from tests.ledger_stack import charge


def traced(rig: Rig, collector: Collector, count: int, failing: int = 0) -> list[str]:
    """Send ``count`` requests, of which the first ``failing`` fail; return their trace ids."""
    telemetry = rig.settings.telemetry.model_copy(update={"otlp_endpoint": collector.url})
    tracing, spans = Tracing(telemetry, instance="test"), ChargeSpans("farthing", "test")
    sent = []
    for number in range(count):
        root = tracing.tracer.start_span("farthing request")
        within = set_span_in_context(root)
        tracing.tracer.start_span("grade", within).end()
        now = datetime.now(UTC)
        one = charge(number, id=f"traced-{number}", climbed_from="", started=now, ended=now)
        sent.append(spans.finish(one, within))
        if number < failing:
            root.set_status(StatusCode.ERROR)
        root.end()
    tracing.shutdown()
    for at in range(0, count, 100):
        assert post(collector, *(one.payload for one in sent[at : at + 100])).status_code == 200
    return [one.trace_id for one in sent]
