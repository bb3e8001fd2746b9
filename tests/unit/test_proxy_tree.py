"""One request, one tree: what was done for it, in which order, what failed, and no word of its text."""

import asyncio
import json

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from farthing.cost import PriceBook
from farthing.credits import open_store
from farthing.grading import Grade
from farthing.grading.check import Verdict
from farthing.grading.decision import Decision
from farthing.proxy import errors
from farthing.proxy.alarms import Alarms
from farthing.proxy.calls import Calls, Deployment
from farthing.proxy.charge_log import ChargeLog
from farthing.proxy.climbing import Climber
from farthing.proxy.errors import RefusedCallError
from farthing.proxy.feedback import Feedback
from farthing.proxy.holds import Holds
from farthing.proxy.labels import MOST_CHARS
from farthing.proxy.meter import Meter
from farthing.proxy.policy import DEFAULT_POLICY
from farthing.proxy.tree import Tree
from farthing.settings import CostSettings, Credits, Key, Price, Settings, Telemetry
from farthing.telemetry import Account, Usage
from farthing.telemetry.metrics import Metrics
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import ChargeSpans
from tests.unit.otlp_stand_in import attributes_of

ADA = Account("ab" * 32, "ada", "research", "CC-1")
COST = CostSettings(baseline_model="gpt", prices={"gpt": Price(input=1, output=10)})
PRICES = PriceBook(COST)
SECRET = "zanzibarium"
ASK = {"messages": [{"role": "user", "content": f"Explain {SECRET}."}], "max_tokens": 100}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FAST = Deployment("d1", "fast", "gpt", "openai", False, PRICES.price("gpt"))
STRONG = Deployment("d2", "strong", "gpt", "openai", False, PRICES.price("gpt"))


class Pipeline:
    async def grade(self, task, scope, quality, ask, session_id):
        if ask:
            await ask()
        return Decision(Grade("LOW", 0.1, "short", "learned"), intent="5eed")


class World:
    """A real meter on a real store and outbox; ordinary spans and metrics stay in memory."""

    def __init__(self, tmp_path, **telemetry):
        settings = self.settings = Settings(
            cost=COST, credits=Credits(hold_ttl_s=60), telemetry=Telemetry(**telemetry)
        )
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider = provider
        self.outbox = Outbox(tmp_path / "outbox.db", fsync=False)
        self.store = open_store(f"sqlite:///{tmp_path / 'credits.db'}")
        charge_log = ChargeLog(self.outbox, ChargeSpans("farthing", "i-1"))
        self.reader = InMemoryMetricReader()
        metrics = Metrics(settings.telemetry, instance="i-1", meters=MeterProvider([self.reader]))
        self.meter = Meter(
            settings,
            pipeline=Pipeline(),
            prices=PRICES,
            holds=Holds(settings, PRICES, self.store, charge_log, Alarms(settings)),
            charge_log=charge_log,
            tree=Tree(provider.get_tracer("test"), capture_content=settings.telemetry.capture_content),
            metrics=metrics,
        )
        self.climber = Climber(settings, self.meter, Calls(), None, Feedback(None), lambda: None)

    def open(self, headers=None, key=None, above=None, **more):
        return self.meter.open(
            ADA, DEFAULT_POLICY, "chat", {**ASK, **more}, headers or {}, key=key, above=above
        )

    async def attempt(self, call, deployment=FAST):
        await self.meter.begin(call, "acompletion", deployment, call.payload)
        return call.attempt

    @property
    def spans(self):
        return {span.name: span for span in self.exporter.get_finished_spans()}

    async def charges(self):
        found = []
        for pending in await self.outbox.pending():
            request = ExportTraceServiceRequest.FromString(pending.payload)
            found.append(request.resource_spans[0].scope_spans[0].spans[0])
        return found

    def metrics(self):
        (resource,) = self.reader.get_metrics_data().resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path)
    await made.store.grant("g", "user:ada", 10**9, department="research")
    yield made
    await made.outbox.close()
    await made.store.close()


async def settled(world, call, deployment=FAST, outcome="ok"):
    attempt = await world.attempt(call, deployment)
    return await world.meter.settle(call, attempt, Usage(100, 20), outcome)


async def test_a_request_is_one_tree_in_the_clients_trace(world):
    call = world.open({"traceparent": TRACEPARENT})
    charge = await settled(world, call)
    world.meter.close(call)
    spans = world.spans
    root = spans["farthing chat"]
    assert list(spans) == ["farthing grade", "farthing hold", "farthing settle", "farthing chat"]
    assert root.kind is SpanKind.SERVER
    assert f"{root.context.trace_id:032x}-{root.parent.span_id:016x}" == TRACEPARENT[3:-3]
    (charged,) = await world.charges()
    assert charged.name == "chat gpt"
    assert int.from_bytes(charged.trace_id, "big") == root.context.trace_id
    assert int.from_bytes(charged.parent_span_id, "big") == root.context.span_id
    for name in ("farthing grade", "farthing hold", "farthing settle"):
        span = spans[name]
        assert span.parent.span_id == root.context.span_id
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time
    assert root.start_time <= charged.start_time_unix_nano + 1000  # a charge's times are microseconds
    assert charged.end_time_unix_nano <= root.end_time
    assert spans["farthing hold"].end_time <= charged.start_time_unix_nano + 1000
    # The one span that carries a charge's id is the charge.
    carrying = [span.name for span in spans.values() if "farthing.charge.id" in span.attributes]
    assert carrying == []
    assert attributes_of(charged)["farthing.charge.id"] == charge.id
    assert root.status.status_code is StatusCode.UNSET
    assert SECRET not in str([span.to_json() for span in spans.values()]) + str(charged)


async def test_a_request_hangs_below_the_span_that_litellm_made_for_it(world):
    host = world.provider.get_tracer("litellm").start_span("Received Proxy Server Request")
    call = world.open({"traceparent": TRACEPARENT}, above=host)
    assert call.span.parent.span_id == host.get_span_context().span_id
    with trace.use_span(host):
        inside = world.open()
    assert inside.span.parent.span_id == host.get_span_context().span_id, "or the span that is active"


async def test_an_attempt_that_never_answered_has_a_span_and_no_charge(world):
    call = world.open()
    first = await world.attempt(call)
    await world.meter.fail(call, first, "RateLimitError")
    await settled(world, call, STRONG)
    spans = world.spans
    failed = spans["chat gpt"]
    assert failed.kind is SpanKind.CLIENT
    assert (failed.status.status_code, failed.attributes["error.type"]) == (
        StatusCode.ERROR,
        "RateLimitError",
    )
    assert failed.attributes["farthing.tier"] == "fast"
    assert failed.start_time == first.started_ns
    assert "farthing.charge.id" not in failed.attributes
    (charged,) = await world.charges()
    assert attributes_of(charged)["farthing.climbed_from"] == "fast"
    events = {event.name for event in spans["farthing chat"].events}
    assert "farthing.attempt.failed" in events


async def test_a_failed_check_says_what_failed_on_its_span_and_on_the_charge(world):
    call = world.open()
    attempt = await world.attempt(call)
    verdict = world.climber.note(
        call, world.climber.checked(call, lambda: Verdict(False, "refusal", "it declines"))
    )
    await world.meter.settle(call, attempt, Usage(100, 20), "failed")
    check = world.spans["farthing check"]
    assert check.status.status_code is StatusCode.ERROR
    assert check.attributes["error.type"] == verdict.failure == "refusal"
    assert check.parent.span_id == call.span.context.span_id
    (charged,) = await world.charges()
    assert attributes_of(charged)["error.type"] == "refusal"


async def test_a_check_that_breaks_is_an_error_and_the_answer_passes(world):
    call = world.open()
    assert world.climber.checked(call, lambda: 1 / 0).ok
    assert world.spans["farthing check"].attributes["error.type"] == "ZeroDivisionError"


async def test_a_judges_charge_hangs_from_the_grading_and_links_to_the_request_it_serves(world):
    call = world.open()

    async def ask():
        child = call.child("grading", {"messages": []}, "chat", call.grading)
        await settled(world, child)

    await world.meter.grade(call, ask)
    grade = world.spans["farthing grade"]
    (judged,) = await world.charges()
    assert int.from_bytes(judged.parent_span_id, "big") == grade.context.span_id
    (link,) = judged.links
    assert int.from_bytes(link.span_id, "big") == call.span.context.span_id
    assert [(item.key, item.value.string_value) for item in link.attributes] == [("farthing.link", "serves")]
    assert judged.trace_id == link.trace_id, "and stays in its trace"


async def test_a_denial_is_an_error_with_its_reason_counted_once(world):
    call = world.open()
    dear = {**ASK, "max_tokens": 10**6}
    with pytest.raises(RefusedCallError) as refused:
        await world.meter.begin(call, "acompletion", FAST, dear)
    for _ in range(2):
        world.meter.deny(call, refused.value)
    world.meter.close(call, refused.value.type)
    hold, root = world.spans["farthing hold"], world.spans["farthing chat"]
    assert hold.attributes["error.type"] == "InsufficientCreditsError"
    assert hold.status.status_code is root.status.status_code is StatusCode.ERROR
    assert root.attributes["error.type"] == "insufficient_quota"
    assert root.attributes["http.response.status_code"] == 402
    assert root.attributes["farthing.denial.reason"] == "credits"
    (denials,) = world.metrics()["farthing.denials"]
    assert denials.value == 1
    assert dict(denials.attributes) == {
        "farthing.denial.reason": "credits",
        "farthing.account.department": "research",
    }
    assert errors.loop_stopped("too far", "steps").reason == "session_steps"


async def test_agent_and_task_are_labels_of_a_bounded_length(world):
    said = {"metadata": {"farthing_agent": " rev\x00iew\u202eer ", "farthing_task": "t" * 5000}}
    call = world.open(**said)
    await settled(world, call)
    own = Key(sha256="ab" * 32, user="ada", department="research", agent="nightly")
    assert world.open({"x-farthing-agent": "mine"}, own, **said).agent == "nightly"
    assert world.open({"x-farthing-agent": "mine"}, **said).agent == "mine"
    assert world.open(metadata={"farthing_agent": {"a": 1}, "farthing_task": 7}).agent == ""
    (charged,) = await world.charges()
    found = attributes_of(charged)
    assert found["gen_ai.agent.name"] == "reviewer"
    assert found["farthing.task"] == "t" * MOST_CHARS
    assert found["farthing.account.user"] == "ada"
    assert call.child("grading", {}).agent == "reviewer"


async def test_text_is_captured_only_where_it_is_asked_for_and_never_in_a_charge(tmp_path):
    world = World(tmp_path, capture_content=True)
    await world.store.grant("g", "user:ada", 10**9, department="research")
    call = world.open()
    attempt = await world.attempt(call)
    attempt.answered += ["It is", " a word."]
    await world.meter.settle(call, attempt, Usage(100, 20))
    content = world.spans["farthing content"]
    (asked,) = json.loads(content.attributes["gen_ai.input.messages"])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": f"Explain {SECRET}."}]}
    (answered,) = json.loads(content.attributes["gen_ai.output.messages"])
    assert answered["parts"] == [{"type": "text", "content": "It is a word."}]
    assert content.start_time == attempt.started_ns
    holding = [name for name, span in world.spans.items() if SECRET in span.to_json()]
    assert holding == ["farthing content"]
    assert SECRET not in str(await world.charges())
    await world.outbox.close()
    await world.store.close()


async def test_text_that_cannot_be_captured_costs_neither_the_charge_nor_the_answer(tmp_path):
    world = World(tmp_path, capture_content=True)
    await world.store.grant("g", "user:ada", 10**9, department="research")
    call = world.open()
    attempt = await world.attempt(call)
    endless = {}
    endless["it"] = endless
    call.payload = {"messages": [{"role": "user", "content": [[endless]]}]}
    charge = await world.meter.settle(call, attempt, Usage(100, 20))
    assert charge
    assert len(await world.charges()) == 1
    assert "farthing content" not in world.spans
    await world.outbox.close()
    await world.store.close()


async def test_a_process_that_ends_amid_a_cut_streams_settlement_leaves_its_charge(world):
    call = world.open()
    attempt = await world.attempt(call)
    attempt.answered.append("word " * 20_000)
    settling = asyncio.create_task(world.meter.settle(call, attempt, None, "cancelled"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert attempt.ended, "it is being counted"
    assert attempt.charge is None
    for task in world.meter._tasks:  # as asyncio.run ends
        task.cancel()
    await asyncio.gather(settling, return_exceptions=True)
    (charged,) = await world.charges()
    assert attributes_of(charged)["gen_ai.usage.output_tokens"] > 1_000


async def test_a_grading_that_litellm_gives_up_ends_its_span(world):
    call = world.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await world.meter.grade(call, lambda: asyncio.sleep(9))
    assert world.spans["farthing grade"].attributes["error.type"] == "CancelledError"


async def test_an_attempts_hold_ends_though_its_span_cannot_be_made(world, monkeypatch):
    call = world.open()
    attempt = await world.attempt(call)
    monkeypatch.setattr(world.meter.tree, "uncharged", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await world.meter.fail(call, attempt, "RateLimitError")
    assert (await world.store.standing(call.payer)).balance.available == 10**9


async def test_what_calls_use_and_wait_is_measured_as_the_conventions_say(world):
    from time import perf_counter_ns

    call = world.open()
    world.meter.added(call, perf_counter_ns() - 3_000_000)
    world.meter.added(call, perf_counter_ns() - 4_000_000, calling=True)
    world.meter.added(call, perf_counter_ns() - 10**9, calling=True)
    failing = await world.attempt(call)
    await world.meter.fail(call, failing, "Timeout")
    await settled(world, call)
    world.meter.metrics.climbed("fast", "strong")
    found = world.metrics()
    tokens = {point.attributes["gen_ai.token.type"]: point for point in found["gen_ai.client.token.usage"]}
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 100, "output": 20}
    assert tokens["input"].explicit_bounds[:4] == (1, 4, 16, 64)
    assert tokens["input"].attributes["gen_ai.response.model"] == "gpt"
    durations = {
        point.attributes.get("error.type", ""): point for point in found["gen_ai.client.operation.duration"]
    }
    assert {error: point.count for error, point in durations.items()} == {"": 1, "Timeout": 1}
    assert durations[""].explicit_bounds[-1] == 81.92
    (overhead,) = found["farthing.overhead.duration"]
    assert overhead.count == 1
    assert 0.007 <= overhead.sum < 0.5
    assert call.span.attributes["farthing.overhead_s"] == overhead.sum
    (climbs,) = found["farthing.climbs"]
    assert dict(climbs.attributes) == {"farthing.climb.from": "fast", "farthing.climb.to": "strong"}
