"""The charge span: a frozen `Charge` → attributes (pure) → one finished, serialised OTLP span.

The span is built here and not by a tracer, so no sampler and no full queue can lose it: statements
are made of these spans.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, get_current_span
from opentelemetry.trace.status import Status, StatusCode

from farthing.money import nano_from_usd, usd_text
from farthing.telemetry import attributes as a
from farthing.telemetry.charge import Account, Charge, ContextUse
from farthing.telemetry.resource import SCOPE, gateway_resource

AttributeScalar = str | int | bool | float

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)


def charge_attributes(charge: Charge, *, mirror_gen_ai_cost: bool = False) -> dict[str, AttributeScalar]:
    """Return the span attributes of a charge.

    Money is exact decimal USD text. An unpriced charge (``cost`` is None) has no amounts at all, so
    that nobody can read it as free. Empty text is left out, but for the account, which always stands.
    ``mirror_gen_ai_cost`` adds ``gen_ai.usage.cost*`` as doubles, for viewers that read those:
    they are approximate, and no statement is made from them.
    """
    usage, account = charge.usage, charge.account
    text: dict[str, str] = {
        **model_facts(charge.surface, charge.provider, charge.model),
        a.CONVERSATION_ID: charge.session_id,
        a.AGENT_NAME: charge.agent,
        a.TASK: charge.task,
        a.CHARGE_ID: charge.id,
        a.CHARGE_KIND: charge.kind,
        a.CHARGE_OUTCOME: charge.outcome,
        a.ERROR_TYPE: (charge.error or a.ERROR_TYPE_OTHER) if charge.outcome == "failed" else "",
        a.SESSION_ID: charge.session_id,
        a.SURFACE: charge.surface,
        a.GRADE: charge.grade,
        a.GRADE_SOURCE: charge.grade_source,
        a.INTENT: charge.intent,
        a.TIER: charge.tier,
        a.COST_CURRENCY: a.CURRENCY_USD,
        a.COST_PRICE_VERSION: charge.price_version,
        a.COST_SOURCE: charge.cost_source,
        a.BASELINE_MODEL: charge.baseline_model,
        a.CLIMBED_FROM: charge.climbed_from,
        a.GATEWAY_INSTANCE: charge.gateway_instance,
    }
    found: dict[str, AttributeScalar] = {name: value for name, value in text.items() if value}
    found |= {
        a.ACCOUNT_KEY_HASH: account.key_hash,
        a.ACCOUNT_USER: account.user,
        a.ACCOUNT_DEPARTMENT: account.department,
        a.ACCOUNT_COST_CENTRE: account.cost_centre,
        a.INPUT_TOKENS: usage.input_tokens,
        a.OUTPUT_TOKENS: usage.output_tokens,
        a.CACHE_READ_TOKENS: usage.cache_read,
        a.CACHE_WRITE_TOKENS: usage.cache_write,
        a.REASONING_TOKENS: usage.reasoning,
        a.CACHE_WRITE_1H_TOKENS: usage.cache_write_1h,
        a.USAGE_ESTIMATED: charge.usage_estimated,
        a.SESSION_STEP: charge.session_step,
        a.STREAMED: charge.streamed,
        a.STAND_IN: charge.stand_in,
        a.CREDITS_HELD: usd_text(charge.held),
        a.CREDITS_SETTLED: usd_text(charge.settled),
        a.CREDITS_BALANCE: usd_text(charge.balance),
        a.GATEWAY_SEQUENCE: charge.sequence,
    }
    if charge.grade:
        found[a.GRADE_SCORE] = charge.grade_score
    if charge.context is not None:
        found |= context_attributes(charge.context)
    if charge.baseline_cost is not None:
        found[a.BASELINE_COST] = usd_text(charge.baseline_cost)
    if charge.cost is not None:
        found |= {
            a.COST_TOTAL: usd_text(charge.cost.total),
            a.COST_INPUT: usd_text(charge.cost.input),
            a.COST_OUTPUT: usd_text(charge.cost.output),
            a.COST_CACHE_READ: usd_text(charge.cost.cache_read),
            a.COST_CACHE_WRITE: usd_text(charge.cost.cache_write),
        }
        if mirror_gen_ai_cost:
            approximate = float(usd_text(charge.cost.total))
            found |= {
                a.USAGE_COST: approximate,
                a.USAGE_COST_AMOUNT: approximate,
                a.USAGE_COST_CURRENCY: a.CURRENCY_USD,
                # The proposal's word for "computed by the recorder", which says nothing of who was paid.
                a.USAGE_COST_SOURCE: "local",
            }
    return {name: _writable(value) if isinstance(value, str) else value for name, value in found.items()}


def model_facts(surface: str, provider: str, model: str) -> dict[str, str]:
    """Return which model was asked for what, in the words of OpenTelemetry's GenAI conventions."""
    return {
        a.OPERATION: operation_of(surface),
        a.PROVIDER: provider,
        a.REQUEST_MODEL: model,
        a.RESPONSE_MODEL: model,
    }


def attempt_name(surface: str, model: str) -> str:
    """Return the name of the span of an attempt at a model, charged or not."""
    return _writable(f"{operation_of(surface)} {model}".rstrip())


def context_attributes(use: ContextUse) -> dict[str, AttributeScalar]:
    """Return how a history was sent, as the span attributes of a charge or of a request."""
    return {
        a.CONTEXT_DECISION: use.decision,
        a.CONTEXT_TOKENS_BEFORE: use.tokens_before,
        a.CONTEXT_TOKENS_AFTER: use.tokens_after,
        a.CONTEXT_SAVED: usd_text(use.saved),
    }


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """A charge span ready for the outbox. Ids are lower-case hex."""

    payload: bytes
    """A serialised OTLP ExportTraceServiceRequest holding this span alone."""
    trace_id: str
    span_id: str


class ChargeSpans:
    """Builds the finished span of each charge of one gateway process."""

    def __init__(self, service_name: str, instance: str, *, mirror_gen_ai_cost: bool = False) -> None:
        self._resource = gateway_resource(service_name, instance)
        self._mirror = mirror_gen_ai_cost

    def finish(
        self,
        charge: Charge,
        parent: SpanContext | Context | None = None,
        links: Sequence[Link] = (),
    ) -> FinishedSpan:
        """Return the span of ``charge``, always sampled, as a child of ``parent`` if that is a valid span.

        ``links`` are to the spans it has to do with beside its parent.

        Raises ValueError if the charge's times have no time zone.
        """
        above = get_current_span(parent).get_span_context() if isinstance(parent, Context) else parent
        if above is not None and not above.is_valid:
            above = None
        context = SpanContext(
            trace_id=above.trace_id if above else _random_id(16),
            span_id=_random_id(8),
            is_remote=False,
            trace_flags=_SAMPLED,
            trace_state=above.trace_state if above else None,
        )
        span = ReadableSpan(
            name=attempt_name(charge.surface, charge.model),
            context=context,
            parent=above,
            resource=self._resource,
            attributes=charge_attributes(charge, mirror_gen_ai_cost=self._mirror),
            links=links,
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR, charge.error) if charge.outcome == "failed" else _UNSET,
            start_time=_unix_ns(charge.started),
            end_time=_unix_ns(charge.ended),
            instrumentation_scope=SCOPE,
        )
        payload = encode_spans([span]).SerializeToString()
        return FinishedSpan(payload, f"{context.trace_id:032x}", f"{context.span_id:016x}")


@dataclass(frozen=True, slots=True)
class Paid:
    """What settling needs to know of a charge, read back from its span. ``amount`` is nano-dollars."""

    account: Account
    session_id: str
    amount: int
    tier: str
    model: str
    grade: str
    kind: str


def paid_of(payload: bytes) -> Paid:
    """Read who paid, and how much, from the bytes of a charge span. Raises ValueError if they hold none."""
    request = ExportTraceServiceRequest.FromString(payload)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                found = {pair.key: pair.value.string_value for pair in span.attributes}
                if a.CHARGE_ID in found:
                    account = Account(
                        found.get(a.ACCOUNT_KEY_HASH, ""),
                        found.get(a.ACCOUNT_USER, ""),
                        found.get(a.ACCOUNT_DEPARTMENT, ""),
                        found.get(a.ACCOUNT_COST_CENTRE, ""),
                    )
                    amount = nano_from_usd(found[a.CREDITS_SETTLED])
                    names = (a.TIER, a.RESPONSE_MODEL, a.GRADE, a.CHARGE_KIND)
                    tier, model, grade, kind = (found.get(name, "") for name in names)
                    return Paid(account, found.get(a.SESSION_ID, ""), amount, tier, model, grade, kind)
    raise ValueError("not a charge span")


def operation_of(surface: str) -> str:
    """Return the GenAI conventions' operation name of a call on one of our surfaces."""
    return {"embeddings": "embeddings", "completions": "text_completion"}.get(surface, "chat")


def _writable(text: str) -> str:
    # The OTLP encoder drops an attribute that UTF-8 cannot write (a lone surrogate): a charge would
    # lose its account. A question mark in its place keeps the rest.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _random_id(length: int) -> int:
    while not (found := int.from_bytes(secrets.token_bytes(length), "big")):
        pass  # an all-zero id means "no span" in W3C trace context
    return found


def _unix_ns(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"charge time {moment} has no time zone; charges keep UTC")
    # Integer arithmetic: float seconds cannot hold nanoseconds of this century.
    return (moment - _EPOCH) // _MICROSECOND * 1000
