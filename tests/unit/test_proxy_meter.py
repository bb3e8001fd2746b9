"""The meter's side of grading: what the pipeline is told about a call."""

import pytest
from opentelemetry import trace

from farthing.grading import Grade
from farthing.grading.decision import Decision
from farthing.proxy.calls import Call
from farthing.proxy.meter import Meter
from farthing.proxy.tree import Tree
from farthing.settings import Grading, Settings, Telemetry
from farthing.telemetry import Account
from farthing.telemetry.metrics import Metrics


class Pipeline:
    """Notes the session it was told, in which the same ask again is a retry."""

    def __init__(self):
        self.session = None

    async def grade(self, task, scope, quality, ask, session_id):
        self.session = session_id
        return Decision(Grade("LOW", 0.1, "short", "learned"))


def call_of(routed=True) -> Call:
    payload = {"messages": [{"role": "user", "content": "Say hello."}]}
    return Call(Account("k", "ada", "research", ""), "chat", trace.INVALID_SPAN, payload, "s1", routed=routed)


def meter_of(pipeline, mode="route") -> Meter:
    return Meter(
        Settings(grading=Grading(mode=mode)),
        pipeline=pipeline,
        prices=None,
        holds=None,
        charge_log=None,
        tree=Tree(trace.NoOpTracer()),
        metrics=Metrics(Telemetry(), instance="i"),
    )


@pytest.mark.parametrize(
    ("mode", "routed", "session"), [("route", True, "s1"), ("route", False, ""), ("shadow", True, "")]
)
async def test_asking_again_is_a_retry_only_where_the_grade_chose_the_tier(mode, routed, session):
    pipeline = Pipeline()
    await meter_of(pipeline, mode).grade(call_of(routed))
    assert pipeline.session == session


async def test_a_call_that_is_over_keeps_no_prompt_nor_do_those_it_climbed_to():
    call = call_of()
    child = call.child("inference", call.payload)
    call.climbed_to = child
    meter_of(Pipeline()).close(call)
    assert (call.closed, call.payload) == (True, {})
    assert (child.closed, child.payload) == (True, {})
