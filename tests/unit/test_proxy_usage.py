"""Usage as the three surfaces report it: cached, written and reasoning tokens, none lost, none doubled."""

from types import SimpleNamespace

import pytest

from farthing.proxy.usage import delta_text, finished, usage_of
from farthing.telemetry import Usage

CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 30,
    "total_tokens": 130,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 12},
}
RESPONSES = {
    "input_tokens": 100,
    "output_tokens": 30,
    "total_tokens": 130,
    "input_tokens_details": {"cached_tokens": 60},
    "output_tokens_details": {"reasoning_tokens": 12},
}
MESSAGES = {
    "input_tokens": 30,
    "output_tokens": 30,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 10,
}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (CHAT, Usage(100, 30, 60, 10, 12)),
        (RESPONSES, Usage(100, 30, 60, 0, 12)),
        (MESSAGES, Usage(100, 30, 60, 10, 0)),
    ],
    ids=["chat", "responses", "messages"],
)
def test_each_surface_counts_the_whole_input_once(usage, expected):
    assert usage_of({"usage": usage}) == expected
    assert usage_of(SimpleNamespace(usage=_as_object(usage))) == expected


def _as_object(value):
    if isinstance(value, dict):
        return SimpleNamespace(**{name: _as_object(inner) for name, inner in value.items()})
    return value


def test_anthropic_through_litellms_chat_keeps_its_cache_figures():
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "cache_read_input_tokens": 60}
    usage["cache_creation_input_tokens"] = 10
    assert usage_of({"usage": usage}) == Usage(100, 5, 60, 10)


def test_a_responses_event_carries_its_usage_inside():
    assert usage_of({"type": "response.completed", "response": {"usage": RESPONSES}}).output_tokens == 30


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"usage": None},
        {"usage": {}},
        {"usage": {"prompt_tokens": 0, "total_tokens": 0}},
        "text",
    ],
    ids=str,
)
def test_no_usage_is_none_and_not_zero(answer):
    assert usage_of(answer) is None


def test_what_a_chunk_adds_counts_text_reasoning_and_tool_calls():
    call = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    delta = {"content": "Hel", "reasoning_content": "hmm", "tool_calls": [call]}
    assert delta_text({"choices": [{"delta": delta}]}) == 'Helhmmf{"a": 1}'
    assert delta_text({"type": "response.output_text.delta", "delta": "lo"}) == "lo"
    assert delta_text({"type": "content_block_delta", "delta": {"text": "x", "partial_json": None}}) == "x"
    assert delta_text({"type": "ping"}) == delta_text({"choices": []}) == ""


def test_a_chunk_that_ends_a_choice_is_seen():
    assert finished({"choices": [{"finish_reason": "stop"}]})
    assert not finished({"choices": [{"finish_reason": None}]})
    assert not finished({"choices": []})
