"""Whatever a client sends, reading it for loops raises nothing and takes little time."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.credits.loops import LoopLimits, find_loop, mark_of, with_note
from tests.unit.conversations import SURFACES, call, request, user

LIMITS = LoopLimits()
WORDS = st.sampled_from([
    "user", "assistant", "system", "tool", "function", "model", "text", "input_text", "output_text",
    "tool_use", "tool_result", "function_call", "function_call_output", "custom_tool_call", "mcp_call",
    "reasoning", "message", "computer_call", "computer_call_output", "image_url", "id-1", "{}", '{"a": 1',
])  # fmt: skip
NAMES = st.sampled_from([
    "role", "type", "content", "text", "tool_calls", "function", "function_call", "name", "arguments",
    "input", "output", "id", "call_id", "tool_call_id", "tool_use_id", "action", "is_error", "custom",
])  # fmt: skip
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
ITEMS = st.lists(st.dictionaries(NAMES, VALUES, max_size=6) | VALUES, max_size=6)
PAYLOADS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("messages", "input", "prompt"), ITEMS | VALUES)
    | {"previous_response_id": VALUES},
)


@settings(max_examples=300)
@given(PAYLOADS, st.integers(1, 9))
def test_any_payload_has_a_mark_and_perhaps_a_loop(payload, times):
    for name in ("messages", "input"):
        if isinstance(payload.get(name), list):
            payload[name] = payload[name] * times
    mark = mark_of(payload)
    assert len(mark) == 16
    assert mark == mark_of(payload)
    loop = find_loop(payload, (mark,) * times, LIMITS)
    assert loop is None or (loop.count >= 4 and loop.reason)
    for surface in SURFACES:
        noted = with_note(payload, surface, "note")
        assert set(noted) == set(payload)


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def _ten_megabytes(case):
    text = "x y 1.5 " * 1_250_000
    match case:
        case "one result":
            return request("chat", user("Go"), *[call("read", result=text)] * 6)
        case "one argument":
            return request("messages", user("Go"), *[call("write", body=text)] * 6)
        case "argument text":
            return request("responses", user("Go"), *[call("write", body=text)] * 6)
        case "small steps":
            return request("chat", user("Go"), *[call("read", page=i) for i in range(40_000)])
        case "the same small steps":
            return request("responses", user("Go"), *[call("read")] * 40_000)
        case "parallel calls":
            items = request("chat", user("Go"), call("read"))["messages"]
            items[2]["tool_calls"] *= 50_000
            return {"messages": items[:3] + items[3:] * 50_000}
        case "numbers":
            return request("chat", user("Go"), *[call("read", result="1" * 5_000_000)] * 6)
        case "hyphens":
            return request("chat", user("Go"), *[call("read", result="0-" * 5_000_000)] * 6)
        case "many keys":
            keys = {f"k{i}": i for i in range(500_000)}
            return request("messages", user("Go"), *[call("write", **keys)] * 6)
        case "no items at all":
            return {"input": [1] * 5_000_000}
    raise AssertionError(case)


@pytest.mark.parametrize(
    "case",
    ["one result", "one argument", "argument text", "small steps", "the same small steps", "parallel calls",
     "numbers", "hyphens", "many keys", "no items at all"],
)  # fmt: skip
def test_ten_megabytes_are_read_in_little_time(case):
    payload = _ten_megabytes(case)
    began = time.process_time()
    mark = mark_of(payload)
    find_loop(payload, (mark,) * 3, LIMITS)
    assert time.process_time() - began < 0.3


@pytest.mark.parametrize("depth", [100, 3_000, 50_000])
def test_deep_arguments_are_no_trouble(depth):
    deep = request("messages", user("Go"))
    use = {"type": "tool_use", "id": "a", "name": "f", "input": nested(depth)}
    deep["messages"].append({"role": "assistant", "content": [use]})
    deep["messages"].append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]})
    text = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "[" * depth}
    for payload in (deep, {"input": [text, {"type": "function_call_output", "call_id": "a"}] * 5}):
        mark = mark_of(payload)
        find_loop(payload, (mark,), LIMITS)


@pytest.mark.parametrize("surface", SURFACES)
def test_two_hundred_messages_are_read_in_far_less_than_a_model_needs(surface):
    steps = [
        call("read", page=i, path="/srv/books/2026", result=f"page {i}: " + "an invoice, 12.50 " * 40)
        for i in range(100)
    ]
    payload = request(surface, user("Sum all invoices."), *steps)
    assert len(json.dumps(payload)) > 50_000
    took = []
    for _ in range(50):
        began = time.perf_counter()
        find_loop(payload, (mark_of(payload),), LIMITS)
        took.append(time.perf_counter() - began)
    took.sort()
    print(f"{surface}: mark_of + find_loop at 200 messages: p50 {took[25] * 1e3:.3f} ms")
    assert took[25] < 0.05
