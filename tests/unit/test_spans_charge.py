"""The charge span says what a call cost, exactly, and nothing it does not know."""

import random
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from farthing import __version__
from farthing.money import nano_from_usd
from farthing.telemetry import Account, Charge, Cost, Usage
from farthing.telemetry.charge import new_charge_id
from farthing.telemetry.spans import ChargeSpans, charge_attributes
from tests.unit.otlp_stand_in import attributes_of, parent_context

STARTED = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
CHARGE = Charge(
    id="c-1",
    kind="inference",
    outcome="ok",
    started=STARTED,
    ended=STARTED.replace(second=2),
    account=Account("ab" * 32, "ana", "research", "CC-7"),
    session_id="s-1",
    session_step=3,
    surface="chat",
    streamed=True,
    grade="HIGH",
    grade_score=0.875,
    grade_source="rule",
    intent="5eed" * 8,
    tier="strong",
    model="gpt-5 (stand-in)",
    provider="openai",
    stand_in=True,
    usage=Usage(1200, 340, cache_read=1000, cache_write=50, reasoning=200),
    usage_estimated=False,
    cost=Cost(input=187_500, output=3_400_000, cache_read=125_000, cache_write=62_500),
    price_version="2026-02-01",
    cost_source="provider",
    baseline_model="gpt-5",
    baseline_cost=4_000_000,
    held=90_000_000,
    settled=3_775_000,
    balance=-1_500_000_001,
    climbed_from="fast",
    gateway_instance="i" * 32,
    sequence=9,
)


def test_every_figure_of_a_charge_becomes_an_attribute():
    assert charge_attributes(CHARGE) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5 (stand-in)",
        "gen_ai.response.model": "gpt-5 (stand-in)",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 340,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.cache_creation.input_tokens": 50,
        "gen_ai.usage.reasoning.output_tokens": 200,
        "farthing.charge.id": "c-1",
        "farthing.charge.kind": "inference",
        "farthing.charge.outcome": "ok",
        "farthing.account.key_hash": "ab" * 32,
        "farthing.account.user": "ana",
        "farthing.account.department": "research",
        "farthing.account.cost_centre": "CC-7",
        "farthing.session.id": "s-1",
        "farthing.session.step": 3,
        "farthing.surface": "chat",
        "farthing.streamed": True,
        "farthing.grade": "HIGH",
        "farthing.grade.score": 0.875,
        "farthing.grade.source": "rule",
        "farthing.intent": "5eed" * 8,
        "farthing.tier": "strong",
        "farthing.stand_in": True,
        "farthing.usage.estimated": False,
        "farthing.usage.cache_write_1h_tokens": 0,
        "farthing.cost.total": "0.003775000",
        "farthing.cost.input": "0.000187500",
        "farthing.cost.output": "0.003400000",
        "farthing.cost.cache_read": "0.000125000",
        "farthing.cost.cache_write": "0.000062500",
        "farthing.cost.currency": "USD",
        "farthing.cost.price_version": "2026-02-01",
        "farthing.cost.source": "provider",
        "farthing.baseline.model": "gpt-5",
        "farthing.baseline.cost": "0.004000000",
        "farthing.credits.held": "0.090000000",
        "farthing.credits.settled": "0.003775000",
        "farthing.credits.balance": "-1.500000001",
        "farthing.climbed_from": "fast",
        "farthing.gateway.instance": "i" * 32,
        "farthing.gateway.sequence": 9,
    }


def test_an_unpriced_charge_carries_no_amount_so_nobody_reads_it_as_free():
    found = charge_attributes(
        replace(CHARGE, cost=None, baseline_cost=None, price_version=""), mirror_gen_ai_cost=True
    )
    assert {name: value for name, value in found.items() if "cost" in name and "account" not in name} == {
        "farthing.cost.currency": "USD",
        "farthing.cost.source": "provider",
    }
    free = charge_attributes(replace(CHARGE, cost=Cost(0, 0, 0, 0)))
    assert free["farthing.cost.total"] == "0.000000000"


def test_empty_text_is_left_out_but_the_account_always_stands():
    nobody = replace(
        CHARGE,
        account=Account("", "", "", ""),
        session_id="",
        grade="",
        intent="",
        climbed_from="",
        provider="",
    )
    found = charge_attributes(nobody)
    assert {name for name, value in found.items() if value == ""} == {
        "farthing.account.key_hash",
        "farthing.account.user",
        "farthing.account.department",
        "farthing.account.cost_centre",
    }
    for absent in (
        "gen_ai.conversation.id",
        "farthing.grade",
        "farthing.grade.score",
        "farthing.intent",
        "farthing.climbed_from",
    ):
        assert absent not in found


def test_the_mirror_for_trace_viewers_is_asked_for_and_says_who_reckoned():
    assert not any(name.startswith("gen_ai.usage.cost") for name in charge_attributes(CHARGE))
    found = charge_attributes(CHARGE, mirror_gen_ai_cost=True)
    assert {name: value for name, value in found.items() if name.startswith("gen_ai.usage.cost")} == {
        "gen_ai.usage.cost": 0.003775,
        "gen_ai.usage.cost.amount": 0.003775,
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
    }


@given(parts=st.lists(st.integers(0, 10**17), min_size=4, max_size=4))
def test_money_survives_the_way_through_text_to_the_last_nano_dollar(parts):
    found = charge_attributes(replace(CHARGE, cost=Cost(*parts)))
    names = ("input", "output", "cache_read", "cache_write")
    assert [nano_from_usd(found[f"farthing.cost.{name}"]) for name in names] == parts
    assert nano_from_usd(found["farthing.cost.total"]) == sum(parts)


def decode(payload):
    request = ExportTraceServiceRequest.FromString(payload)
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    (span,) = scope.spans
    return resource.resource, scope.scope, span


def test_the_finished_span_is_otlp_that_any_collector_reads():
    finished = ChargeSpans("gateway", "i" * 32).finish(CHARGE)
    resource, scope, span = decode(finished.payload)
    named = {item.key: item.value.string_value for item in resource.attributes}
    assert named["service.name"] == "gateway"
    assert named["service.version"] == __version__
    assert named["service.instance.id"] == "i" * 32
    assert (scope.name, scope.version) == ("farthing", __version__)
    assert span.name == "chat gpt-5 (stand-in)"
    assert span.kind == OtlpSpan.SPAN_KIND_CLIENT
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert span.start_time_unix_nano == 1_772_366_400_123_457_000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 2_000_000_000
    assert attributes_of(span) == charge_attributes(CHARGE)
    assert (span.trace_id.hex(), span.span_id.hex()) == (finished.trace_id, finished.span_id)
    assert span.parent_span_id == b""
    assert len(span.trace_id) == 16
    assert len(span.span_id) == 8


def test_the_span_joins_the_trace_of_its_request():
    parent = parent_context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    in_context = trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
    for given_parent in (parent, in_context):
        _, _, span = decode(ChargeSpans("g", "i").finish(CHARGE, given_parent).payload)
        assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
        assert span.parent_span_id.hex() == "b7ad6b7169203331"
        assert span.span_id.hex() != "b7ad6b7169203331"


def test_an_unsampled_request_still_gets_its_charge_recorded():
    unsampled = trace.SpanContext(
        random.getrandbits(128), 77, is_remote=True, trace_flags=trace.TraceFlags(0)
    )
    _, _, span = decode(ChargeSpans("g", "i").finish(CHARGE, unsampled).payload)
    assert int.from_bytes(span.trace_id, "big") == unsampled.trace_id
    assert attributes_of(span)["farthing.cost.total"] == "0.003775000"


@pytest.mark.parametrize("parent", [None, Context(), trace.INVALID_SPAN_CONTEXT])
def test_without_a_valid_parent_the_charge_starts_a_trace_of_its_own(parent):
    spans = ChargeSpans("g", "i")
    first, second = spans.finish(CHARGE, parent), spans.finish(CHARGE, parent)
    assert first.trace_id != second.trace_id
    assert int(first.trace_id, 16) != 0
    assert decode(first.payload)[2].parent_span_id == b""


def test_a_failed_call_is_an_error_and_a_cancelled_one_is_not():
    spans = ChargeSpans("g", "i")
    _, _, failed = decode(spans.finish(replace(CHARGE, outcome="failed")).payload)
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert attributes_of(failed)["error.type"] == "_OTHER"
    _, _, cancelled = decode(spans.finish(replace(CHARGE, outcome="cancelled")).payload)
    assert cancelled.status.code == Status.STATUS_CODE_UNSET


def test_times_must_have_a_zone():
    with pytest.raises(ValueError, match="time zone"):
        ChargeSpans("g", "i").finish(replace(CHARGE, started=datetime(2026, 1, 1)))


def test_text_that_utf8_cannot_write_does_not_cost_the_charge_its_account():
    odd = replace(CHARGE, model="gpt\ud800", account=Account("k", "an\udfffa é", "research", ""))
    _, _, span = decode(ChargeSpans("g", "i").finish(odd).payload)
    assert attributes_of(span)["farthing.account.user"] == "an?a é"
    assert span.name == "chat gpt?"


def test_charge_ids_are_unique_and_sort_by_time():
    first = new_charge_id()
    time.sleep(0.002)
    later = [new_charge_id() for _ in range(1000)]
    assert all(first < one and len(one) == len(first) == 32 for one in later)
    assert len(set(later)) == len(later)
