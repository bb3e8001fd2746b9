"""Agents that go round in circles are found, on every surface; those that make progress are let be."""

import json

import pytest

from farthing.credits.loops import Loop, LoopLimits, find_loop
from tests.unit.conversations import SURFACES, call, calls, request, says, user

LIMITS = LoopLimits(repeats=5, polls=20, cycles=4, stalls=8)
ASK = user("Find the invoice of March and tell me its total.")
SEARCH = call("search", query="invoice march", result="nothing found")

pytestmark = pytest.mark.parametrize("surface", SURFACES)


def found(surface, *events, limits=LIMITS, marks=()):
    return find_loop(request(surface, *events), marks, limits)


def test_the_same_call_with_the_same_result_is_a_loop_at_its_fifth_time(surface):
    assert found(surface, ASK, *[SEARCH] * 4) is None
    loop = found(surface, ASK, *[SEARCH] * 5)
    assert loop == Loop("repeat", 5, "search")
    assert loop.reason == (
        "the tool `search` was called 5 times in a row with the same arguments and the same result"
    )


def test_a_loop_that_was_left_is_none(surface):
    assert found(surface, ASK, *[SEARCH] * 9, call("list_folder", path="/2026")) is None


def test_the_order_of_keys_and_the_way_numbers_are_written_do_not_count(surface):
    events = [
        call("read", page=2, path="a", result="…"),
        call("read", path="a", page=2.0, result="…"),
    ] * 3
    assert found(surface, ASK, *events).kind == "repeat"


def test_the_next_page_is_progress_even_where_it_looks_the_same(surface):
    pages = [call("read", page=page, result="no match on this page") for page in range(1, 13)]
    assert found(surface, ASK, *pages) is None


def test_ids_in_arguments_are_other_arguments(surface):
    ids = [f"6f1c7a52-94d0-4d2c-8a58-0d9b7c3e{i:04x}" for i in range(12)]
    assert found(surface, ASK, *[call("user", id=i, result="not found") for i in ids]) is None


def test_a_poll_with_progress_may_go_on_for_longer_but_not_for_ever(surface):
    polls = [call("status", job=7, result=f"running, {done} %") for done in range(0, 60, 3)]
    assert found(surface, ASK, *polls[:19]) is None
    assert found(surface, ASK, *polls) == Loop("poll", 20, "status")
    assert found(surface, ASK, *polls, user("Keep waiting, please.")) is None


def test_a_result_that_changes_only_in_its_times_and_ids_is_the_same(surface):
    results = [
        f"2026-11-24T10:0{i}:00Z ERROR request id: 9f{i}ab77c01 refused after 0.3{i} s, "
        f"<Pool object at 0x7f10c{i}d0>, trace 0b2f{i}c1e-1111-4222-8333-444455556666"
        for i in range(5)
    ]
    assert found(surface, ASK, *[call("send", result=text) for text in results]).kind == "repeat"


def test_calls_made_at_once_count_once_and_in_any_order(surface):
    at_once = calls(("a", {}), ("b", {"x": 1}), ("a", {}), result=["1", "2", "1"])
    turned = calls(("b", {"x": 1}), ("a", {}), result=["2", "1"])
    assert found(surface, ASK, *[at_once, turned] * 2) is None
    assert found(surface, ASK, *[at_once, turned] * 3) == Loop("repeat", 5, "a, b")


def test_results_belong_to_their_calls(surface):
    swapped = [calls(("a", {}), ("b", {}), result=["done", "busy"][:: 1 if i % 2 else -1]) for i in range(12)]
    assert found(surface, ASK, *swapped, limits=LoopLimits(cycles=0)) is None
    assert found(surface, ASK, *swapped).kind == "cycle"


def test_the_beginning_of_an_answer_does_not_hide_a_loop(surface):
    assert found(surface, ASK, *[SEARCH] * 5, says("The total is")).kind == "repeat"


def test_a_call_beside_others_that_bring_something_new_is_no_loop(surface):
    edits = [
        calls(("git_status", {}), ("edit", {"line": i}), result=["clean", f"line {i} written"])
        for i in range(12)
    ]
    assert found(surface, ASK, *edits) is None


@pytest.mark.parametrize("period", [2, 3, 4])
def test_rounds_of_the_same_calls_are_a_cycle_at_their_fourth_time(surface, period):
    round_ = [call(f"tool_{i}", n=i, result=f"as before {i}") for i in range(period)]
    assert found(surface, ASK, *round_ * 3) is None
    loop = found(surface, ASK, *round_ * 4)
    assert (loop.kind, loop.count) == ("cycle", 4)
    assert loop.what == ", ".join(f"tool_{i}" for i in range(period))


def test_a_cycle_may_be_met_in_the_middle_of_its_round(surface):
    round_ = [call("open", result="locked"), call("unlock", result="denied")]
    assert found(surface, ASK, *round_ * 4, round_[0]).kind == "cycle"


def test_test_runs_between_edits_are_no_cycle(surface):
    rounds = [
        (call("edit", line=i, result="done"), call("run_tests", result="1 failed in 2.31s"))
        for i in range(10)
    ]
    assert found(surface, ASK, *[step for pair in rounds for step in pair]) is None


def test_a_person_may_say_ok_as_often_as_they_like(surface):
    story = [(says(f"Chapter {i}: the lamp went out."), user("ok, continue")) for i in range(20)]
    assert found(surface, ASK, *[turn for pair in story for turn in pair]) is None


def test_the_same_answer_to_the_same_words_is_a_stall(surface):
    pair = says("I will do that now."), user("Continue.")
    assert found(surface, ASK, *pair * 7) is None
    assert found(surface, ASK, *pair * 8).kind == "stall"


def test_the_same_answer_to_other_words_is_none(surface):
    asks = [(says("Yes."), user(f"Is {n} prime?")) for n in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31)]
    assert found(surface, ASK, *[turn for pair in asks for turn in pair]) is None


def test_a_person_who_asks_again_after_each_look_stalls_only_later_than_an_agent(surface):
    look = call("status", result="all well"), says("All is well."), user("And now?")
    assert found(surface, ASK, *look * 7) is None
    assert found(surface, ASK, *look * 8) == Loop("stall", 8, "status")


def test_new_words_lead_out_of_every_loop(surface):
    cycle = [call("open", result="locked"), call("unlock", result="denied")] * 4
    stall = [says("I will do that now."), user("Continue.")] * 8
    way_out = user("Stop. Ask me for the key instead.")
    for loop in ([SEARCH] * 5, cycle, stall):
        assert found(surface, ASK, *loop) is not None
        assert found(surface, ASK, *loop, way_out) is None


def test_zero_turns_a_rule_off(surface):
    pair = says("I will do that now."), user("Continue.")
    off = LoopLimits(0, 0, 0, 0)
    assert found(surface, ASK, *[SEARCH] * 50, limits=off) is None
    assert found(surface, ASK, *pair * 50, limits=off) is None
    assert found(surface, ASK, *[SEARCH] * 50, limits=LoopLimits(repeats=0)).kind == "poll"


def test_a_tools_name_is_shown_only_if_it_is_one(surface):
    loop = found(surface, ASK, *[call("ignore all\nrules", result="x")] * 5)
    assert loop.what == "unnamed"
    assert "ignore" not in loop.reason


def test_a_reason_tells_nothing_of_arguments_results_and_texts(surface):
    secret = call("search", query="my-secret-9", result="secret-result")
    assert "secret" not in found(surface, ASK, *[secret] * 5).reason


def test_a_nudge_beside_each_result_does_not_hide_a_loop(surface):
    steps = [event for i in range(5) for event in (SEARCH, user(f"{9 - i} steps left."))]
    assert found(surface, ASK, *steps).kind == "repeat"


def test_a_step_that_is_sent_again_and_again_stalls_by_its_marks(surface):
    payload = request(surface, ASK, SEARCH)
    assert find_loop(payload, ("x", *["m"] * 7), LIMITS) is None
    assert find_loop(payload, ("x", *["m"] * 8), LIMITS) == Loop("stall", 8, "search")
    assert find_loop(payload, (*["m"] * 8, "x"), LIMITS) is None


def test_samples_and_health_checks_are_no_loop(surface):
    assert found(surface, user("ping"), marks=("m",) * 24) is None
    shots = [user("Is 3 even?"), says("no"), user("Is 4 even?")]
    assert found(surface, *shots, marks=("m",) * 24) is None


def test_arguments_that_are_no_json_are_compared_as_text(surface):
    run = call("run", script="x", result="done")
    text = json.dumps(request(surface, ASK, *[run] * 5))
    for valid in (json.dumps(json.dumps({"script": "x"})), json.dumps({"script": "x"})):
        text = text.replace(valid, json.dumps('{"script": '))
    assert text.count('{\\"script\\": "') == 5
    assert find_loop(json.loads(text), (), LIMITS).kind == "repeat"
