"""The tool that looks up what was left out: offered, found in an answer, answered, seen by no client."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.context import recall
from farthing.context.recall import NAME
from farthing.cost import count_text
from tests.unit.conversations import SURFACES, request, user

WEATHER = {"name": "get_weather", "description": "Weather", "parameters": {"type": "object"}}
CLIENTS = {
    "chat": {"type": "function", "function": WEATHER},
    "responses": {"type": "function", **WEATHER},
    "messages": {"name": "get_weather", "input_schema": {"type": "object"}},
}
ASKED = {"reference": "ref-3f9a0c51d2"}
everywhere = pytest.mark.parametrize("surface", SURFACES)


def names(tools):
    return [tool.get("name") or tool["function"]["name"] for tool in tools]


def answer(surface, *parts):
    """An answer that came in one piece: texts, and calls as pairs of name and arguments."""
    texts = [part for part in parts if isinstance(part, str)]
    calls = [part for part in parts if not isinstance(part, str)]
    if surface == "chat":
        made = [
            {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for n, (name, given) in enumerate(calls)
        ]
        message = {"role": "assistant", "content": "".join(texts) or None, "tool_calls": made or None}
        return {"choices": [{"message": message, "finish_reason": "tool_calls" if made else "stop"}]}
    if surface == "messages":
        blocks = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "tool_use", "id": f"c{n}", "name": part[0], "input": part[1]}
            for n, part in enumerate(parts)
        ]
        return {"content": blocks, "stop_reason": "tool_use" if calls else "end_turn"}
    items = [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": part}]}
        if isinstance(part, str)
        else {
            "type": "function_call",
            "call_id": f"c{n}",
            "name": part[0],
            "arguments": json.dumps(part[1]),
        }
        for n, part in enumerate(parts)
    ]
    return {"output": items, "status": "completed", "tools": [recall.definition("responses")]}


def looks_up(surface, *parts):
    items = recall.items_of(answer(surface, *parts), surface)
    return items, recall.recalls_in(items, surface)


@everywhere
def test_the_tool_comes_after_the_client_s_own(surface):
    own = [CLIENTS[surface]]
    payload = request(surface, user("Hi")) | {"tools": own}
    tools = recall.tools_with(payload, surface)
    assert names(tools) == ["get_weather", NAME]
    assert tools[0] is own[0]
    assert payload["tools"] == [CLIENTS[surface]], "the client's list stays as it is"
    assert names(recall.tools_with(request(surface, user("Hi")), surface)) == [NAME]


@everywhere
@pytest.mark.parametrize(
    "more",
    [
        {"tool_choice": "none"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "any"}},
        {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        {"tools": [{"type": "function", "name": NAME}]},
        {"tools": [{"type": "function", "function": {"name": NAME}}]},
        {"tools": "all of them"},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"n": 2},
        {"functions": [WEATHER]},
        {"response_format": {"type": "json_schema"}},
        {"text": {"format": {"type": "json_object"}}},
        {"tools": [{"type": "local_shell"}]},
        {"messages": None, "input": None},
    ],
)
def test_it_is_not_offered_where_it_would_get_in_the_way(surface, more):
    assert recall.tools_with(request(surface, user("Hi")) | more, surface) is None


@everywhere
@pytest.mark.parametrize(
    "more", [{"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}, {"n": 1}, {"tools": None}]
)
def test_what_leaves_the_choice_to_the_model_does_not_stand_in_its_way(surface, more):
    assert recall.tools_with(request(surface, user("Hi")) | more, surface)


@everywhere
def test_the_last_time_the_model_has_only_the_client_s_tools(surface):
    payload = request(surface, user("Hi"))
    tools = recall.tools_with(payload | {"tools": [CLIENTS[surface]]}, surface)
    assert recall.withdrawn({"tools": tools}, surface) == {"tools": [CLIENTS[surface]]}
    (choice,) = recall.withdrawn({"tools": recall.tools_with(payload, surface)}, surface).values()
    assert choice == ({"type": "none"} if surface == "messages" else "none")


@everywhere
def test_calls_are_found_among_the_client_s(surface):
    items, found = looks_up(surface, "I look.", ("get_weather", {"place": "Paris"}), (NAME, ASKED))
    assert [recall.wanted(called.arguments) for called in found] == [("ref-3f9a0c51d2", 0)]
    assert [called.name for called in recall.calls_in(items, surface)] == ["get_weather", NAME]
    assert not looks_up(surface, "No.", ("get_weather", {}))[1]


@everywhere
def test_a_follow_up_answers_every_call_in_its_order(surface):
    calls = ("get_weather", {"place": "Paris"}), (NAME, ASKED), (NAME, {"reference": "ref-2"})
    items, _ = looks_up(surface, "I look.", *calls)
    payload = request(surface, user("What was it?"))
    history = payload["input" if surface == "responses" else "messages"]
    ((name, asked),) = recall.follow_up(payload, surface, items, ["the text", "another"]).items()
    assert name == ("input" if surface == "responses" else "messages")
    assert asked[: len(history)] == history
    added = asked[len(history) :]
    if surface == "messages":
        assert [message["role"] for message in added] == ["assistant", "user"]
        told = [(block["tool_use_id"], block["content"]) for block in added[1]["content"]]
        made = [block["id"] for block in added[0]["content"] if block["type"] == "tool_use"]
    elif surface == "responses":
        outputs = [item for item in added if item["type"] == "function_call_output"]
        told = [(item["call_id"], item["output"]) for item in outputs]
        made = [item["call_id"] for item in added if item["type"] == "function_call"]
    else:
        told = [(item["tool_call_id"], item["content"]) for item in added[1:]]
        made = [call["id"] for call in added[0]["tool_calls"]]
    assert [called for called, _ in told] == made
    assert told[0][1].startswith("Not run yet")
    assert [text for _, text in told[1:]] == ["the text", "another"]


def test_an_answer_that_was_cut_off_in_a_call_goes_back_as_json():
    for surface, whole in (
        ("chat", answer("chat", (NAME, {}))),
        ("responses", answer("responses", (NAME, {}))),
    ):
        items = recall.items_of(whole, surface)
        call = items[0]["tool_calls"][0]["function"] if surface == "chat" else items[0]
        call["arguments"] = '{"reference": "re'
        (asked,) = recall.follow_up(request(surface, user("Hi")), surface, items, ["…"]).values()
        call = asked[-2]["tool_calls"][0]["function"] if surface == "chat" else asked[-2]
        assert call["arguments"] == "{}"


def test_reasoning_goes_back_signed_or_not_at_all():
    signed = {"type": "reasoning", "summary": [], "encrypted_content": "sig"}
    bare = {"type": "reasoning", "summary": [], "id": "rs_1"}
    output = [signed, bare, *answer("responses", (NAME, ASKED))["output"]]
    for store, kept in ((False, [signed]), (None, [signed, bare]), (True, [signed, bare])):
        payload = {"input": "Hi"} | ({} if store is None else {"store": store})
        asked = recall.follow_up(
            payload, "responses", recall.items_of({"output": output}, "responses"), ["…"]
        )
        assert [item for item in asked["input"] if item.get("type") == "reasoning"] == kept


@everywhere
def test_a_client_sees_what_was_said_before_a_recall_and_none_of_the_calls(surface):
    items, _ = looks_up(surface, "I look.", (NAME, ASKED))
    said = recall.said_before(items, surface)
    final = recall.finished(answer(surface, "It was 42.", (NAME, ASKED)), surface, said)
    text = json.dumps(final)
    assert text.index("I look.") < text.index("It was 42.")
    assert NAME not in text
    assert "tool_use" not in text
    assert '"tool_calls"' not in text.replace('"tool_calls": null', "")


@everywhere
def test_an_answer_without_recalls_is_the_very_same(surface):
    whole = answer(surface, "Yes.", ("get_weather", {}))
    whole.pop("tools", None)
    assert recall.finished(whole, surface, []) is whole


def test_blank_text_is_not_sent_back_to_providers_that_refuse_it():
    items = recall.items_of(answer("messages", " \n", (NAME, ASKED)), "messages")
    assert [block["type"] for block in items[0]["content"]] == ["tool_use"]


@pytest.mark.parametrize(
    "arguments",
    [
        *("", "{", "[]", "7", "null", '{"reference": 7}', '{"reference": null}', "[" * 100_000),
        json.dumps({"reference": "ref-" + "0" * 1_000}),
    ],
)
def test_arguments_that_ask_for_nothing(arguments):
    assert recall.wanted(arguments) == ("", 0)


@pytest.mark.parametrize("offset", [-5, True, 1.5, "7", None, [1]])
def test_an_offset_that_is_none_is_the_beginning(offset):
    assert recall.wanted(json.dumps(ASKED | {"offset": offset})) == ("ref-3f9a0c51d2", 0)


@given(st.text(max_size=400), st.integers(8, 60))
def test_read_on_at_the_offsets_named_the_parts_are_the_text(text, most):
    parts, offset = [], 0
    while offset < len(text):
        told = recall.excerpt("ref-1", text, offset, most)
        end = f"\n[ref-1 has {len(text)} characters; continued at offset "
        part, cut, rest = told.rpartition(end)
        part = part if cut else told
        assert count_text(part) <= most
        parts.append(part)
        offset = int(rest.removesuffix("]")) if cut else len(text)
    assert "".join(parts) == text


def test_a_text_that_does_not_fit_is_cut_between_words():
    text = "4711 " * 5_000
    part, _, note = recall.excerpt("ref-1", text, 0, 500).rpartition("\n")
    assert part.endswith("4711 ")
    assert "continued at offset" in note


def test_what_cannot_be_given_is_said_in_words():
    assert 'Nothing is kept under "ref-1"' in recall.excerpt("ref-1", None, 0, 100)
    assert "Nothing is kept under that reference" in recall.excerpt("", None, 0, 100)
    assert "no room" in recall.excerpt("ref-1", "text", 0, 0)
    assert "ends at offset 4" in recall.excerpt("ref-1", "text", 9, 100)
