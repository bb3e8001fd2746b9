"""A mark is the same for the same call sent again, and another for a call that brings something new."""

import pytest

from farthing.credits.loops import Loop, LoopLimits, find_loop, mark_of
from tests.unit.conversations import SURFACES, call, calls, request, says, user

ASK = user("Find the invoice of March.")
LIMITS = LoopLimits()


def results(*told, previous="resp_1", ids=None):
    """A call that continues a stored response: the calls it answers are not sent along."""
    ids = ids or [f"call_{i}" for i in range(len(told))]
    outputs = [
        {"type": "function_call_output", "call_id": i, "output": text}
        for i, text in zip(ids, told, strict=True)
    ]
    return {"input": outputs, "previous_response_id": previous}


def stalled(payloads):
    return find_loop(payloads[-1], [mark_of(payload) for payload in payloads][-24:], LIMITS)


@pytest.mark.parametrize("surface", SURFACES)
def test_the_same_call_sent_again_has_the_same_mark_though_its_ids_are_new(surface):
    events = [ASK, calls(("read", {"page": 1}), ("look", {}), result=["empty", "nothing"])]
    first = mark_of(request(surface, *events))
    assert first == mark_of(request(surface, *events))
    assert len(first) == 16
    int(first, 16)


@pytest.mark.parametrize("surface", SURFACES)
def test_what_is_new_makes_another_mark(surface):
    histories = [
        [ASK],
        [user("Find the invoice of May.")],
        [ASK, call("read", page=1, result="empty")],
        [ASK, call("read", page=2, result="empty")],
        [ASK, call("read", page=1, result="empty"), call("read", page=1, result="empty")],
        [ASK, call("read", page=1, result="page 1 of 3")],
        [ASK, call("read", page=1, result="empty"), user("Try again.")],
        [ASK, says("Which year?"), user("ok")],
        [ASK, says("Shall I send it?"), user("ok")],
    ]
    marks = [mark_of(request(surface, *history)) for history in histories]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("surface", SURFACES)
def test_times_make_no_other_mark_but_numbers_do(surface):
    def mark(text):
        return mark_of(request(surface, ASK, call("status", result=text)))

    assert mark("10:00:01 queued since 1764000000, 12.5 ms") == mark("10:07:44 queued since 1764000900, 9 ms")
    assert mark("queued, 40 s left") != mark("queued, 30 s left")
    assert mark("page 3") != mark("page 4")


@pytest.mark.parametrize("surface", SURFACES)
def test_marks_tell_nothing_of_the_text(surface):
    assert "invoice" not in mark_of(request(surface, ASK))


def test_a_failed_result_is_not_one_that_says_so():
    def mark(failed):
        block = {"type": "tool_result", "tool_use_id": "a", "content": "denied", "is_error": failed}
        use = {"type": "tool_use", "id": "a", "name": "open", "input": {}}
        return mark_of(
            {"messages": [{"role": "assistant", "content": [use]}, {"role": "user", "content": [block]}]}
        )

    assert mark(True) != mark(False)


def test_the_same_telling_result_again_and_again_stalls_a_stored_conversation():
    refusal = "Error: permission denied for /srv/books/ledger.db, ask its owner"
    steps = [results(refusal, previous=f"resp_{i}", ids=[f"call_{i}"]) for i in range(8)]
    assert stalled(steps[:7]) is None
    assert stalled(steps) == Loop("stall", 8, "")


def test_short_results_of_unknown_calls_are_progress():
    steps = [results("ok", previous=f"resp_{i}", ids=[f"call_{i}"]) for i in range(24)]
    assert stalled(steps) is None
    steps = [{k: v for k, v in s.items() if k == "input"} | {"conversation": "conv_1"} for s in steps]
    assert stalled(steps) is None


def test_the_very_same_continuation_sent_again_stalls():
    assert stalled([results("ok")] * 8) == Loop("stall", 8, "")
    assert stalled([{"input": "go on", "previous_response_id": "resp_1"}] * 8).kind == "stall"


def test_a_person_may_say_ok_in_a_stored_conversation():
    oks = [{"input": "ok", "previous_response_id": f"resp_{i}"} for i in range(24)]
    assert stalled(oks) is None
    assert stalled([{"input": "ok", "conversation": {"id": "conv_1"}}] * 24) is None


def test_tools_of_the_provider_and_of_older_apis_are_seen():
    shell = [
        {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "c", "output": "a.txt"},
    ]
    mcp = [
        item
        for i in range(5)
        for item in (
            {"type": "mcp_call", "id": f"m{i}", "name": "lookup", "arguments": "{}", "output": "none"},
            {
                "type": "mcp_approval_response",
                "approval_request_id": "mcpr_" + "abcde"[i] * 32,
                "approve": True,
            },
        )
    ]
    legacy = [
        {"role": "assistant", "content": None, "function_call": {"name": "lookup", "arguments": "{}"}},
        {"role": "function", "name": "lookup", "content": "none"},
    ]
    custom = [
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "no"}]},
    ]
    for items, name in ((shell * 5, "local_shell_call"), (mcp, "lookup"), (custom * 5, "patch")):
        assert find_loop({"input": items}, (), LIMITS) == Loop("repeat", 5, name)
    assert find_loop({"messages": legacy * 5}, (), LIMITS) == Loop("repeat", 5, "lookup")


def test_pictures_are_compared_by_what_they_show():
    def clicks(pictures):
        items = []
        for picture in pictures:
            shot = {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{picture}"}
            items += [
                {"type": "computer_call", "call_id": "c", "action": {"type": "click", "x": 1, "y": 2}},
                {"type": "computer_call_output", "call_id": "c", "output": shot},
            ]
        return find_loop({"input": items}, (), LIMITS)

    pictures = ["iVBORw0KGgo" + "A" * 25_000 + letter * 25_000 + "ElFTkSuQmCC" for letter in "BCDEF"]
    assert clicks(pictures[:1] * 5).kind == "repeat"
    assert clicks(pictures) is None


@pytest.mark.parametrize("limit", [-1, 1])
def test_a_limit_of_one_is_no_repetition(limit):
    for name in ("repeats", "polls", "cycles", "stalls"):
        with pytest.raises(ValueError, match=rf"loops\.{name} must be 0"):
            LoopLimits(**{name: limit})
