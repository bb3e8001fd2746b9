"""Where a run ends, and what its client and its agent are told."""

from dataclasses import replace

import pytest

from farthing.credits.loops import Loop, Stop, explain, last_step_note, verdict
from farthing.credits.store import Run

RUN = Run(
    session_id="ab" * 16,
    user="ada",
    department="research",
    key_hash="k",
    started_ms=1_000_000,
    last_ms=1_060_000,
    steps=12,
    settled=3_000,
    held=500,
    max_steps=20,
    max_cost=10_000,
)
LOOP = Loop("repeat", 5, "search")


def judged(run=RUN, wall_s=3_600.0, now_ms=1_060_000, loop=None):
    return verdict(run, wall_s=wall_s, now_ms=now_ms, loop=loop)


def test_a_run_within_its_caps_goes_on():
    assert judged() is None
    assert judged(replace(RUN, max_steps=None, max_cost=None, settled=10**15), wall_s=None) is None
    assert judged(replace(RUN, steps=20)) is None


@pytest.mark.parametrize(
    ("run", "stop", "setting"),
    [
        (replace(RUN, stopped_by="grace", entered=False), Stop("stopped"), ""),
        (replace(RUN, steps=20, entered=False), Stop("steps"), "loops.steps"),
        (replace(RUN, settled=9_500), Stop("cost"), "loops.credits"),
        (replace(RUN, max_cost=0, settled=0, held=0), Stop("cost"), "loops.credits"),
        (replace(RUN, started_ms=1_060_000 - 3_600_001), Stop("wall"), "loops.wall_s"),
    ],
    ids=["admin", "steps", "cost", "nothing", "wall"],
)
def test_each_cap_stops_it_and_says_how_to_go_on(run, stop, setting):
    assert judged(run, loop=LOOP) == stop
    text = explain(run, stop, "3.000")
    assert f"It has asked for {run.steps} calls and spent 3.000 credits." in text
    assert setting in text
    assert ("/farthing/" in text) == (stop.kind != "wall")


@pytest.mark.parametrize("kind", ["repeat", "poll", "cycle", "stall"])
def test_a_loop_stops_it_with_its_reason(kind):
    loop = Loop(kind, 5, "search")
    stop = judged(loop=loop)
    assert stop == Stop("loop", loop)
    setting = {"repeat": "repeats", "poll": "polls", "cycle": "cycles", "stall": "stalls"}[kind]
    assert stop.setting == f"loops.{setting}"
    text = explain(RUN, stop, "3.000")
    assert loop.reason in text
    assert f"raise loops.{setting} in farthing.yaml" in text


def test_it_is_told_who_stopped_it():
    assert "stopped by grace" in explain(replace(RUN, stopped_by="grace"), Stop("stopped"), "0.000")


def test_one_call_is_one_call():
    assert "asked for 1 call and" in explain(replace(RUN, steps=1), Stop("cost"), "0.000")


def test_reasons_are_plain_sentences():
    assert Loop("poll", 20, "status").reason == (
        "the tool `status` was called 20 times in a row with the same arguments"
    )
    assert Loop("cycle", 4, "open, unlock").reason == (
        "the same calls of the tools `open`, `unlock` came round 4 times with the same results"
    )
    assert Loop("stall", 8, "").reason == "the same step came 8 times and brought nothing new"


@pytest.mark.parametrize(
    ("run", "now_ms", "word"),
    [
        (replace(RUN, steps=20), 1_060_000, "last step"),
        (replace(RUN, settled=8_600, held=400), 1_060_000, "credits"),
        (RUN, 1_000_000 + 3_240_000, "time"),
    ],
)
def test_the_agent_is_told_when_its_budget_is_nearly_spent(run, now_ms, word):
    note = last_step_note(run, wall_s=3_600.0, now_ms=now_ms)
    assert note.startswith("This session's budget is nearly spent")
    assert word in note


def test_the_agent_is_left_alone_before():
    assert last_step_note(RUN, wall_s=3_600.0, now_ms=1_060_000) is None
    assert last_step_note(replace(RUN, settled=8_499), wall_s=None, now_ms=10**12) is None
    assert last_step_note(replace(RUN, max_steps=None, max_cost=None), wall_s=None, now_ms=10**12) is None
