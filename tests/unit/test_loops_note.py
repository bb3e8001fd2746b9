"""The agent's note stands at the end of a copy of its request, and breaks nothing in it."""

import copy
import json

import pytest

from farthing.credits.loops import with_note
from tests.unit.conversations import SURFACES, call, request, says, user

NOTE = "This is the last step; answer now."


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("events", [[user("Hi")], [user("Hi"), call("look", result="21 degrees")]], ids=len)
def test_it_is_the_last_thing_said_and_the_rest_stays(surface, events):
    payload = request(surface, *events) | {"model": "auto", "tools": [{"name": "look"}]}
    before = copy.deepcopy(payload)
    noted = with_note(payload, surface, NOTE)
    assert payload == before
    assert json.dumps(noted).count(NOTE) == 1
    name = "input" if surface == "responses" else "messages"
    assert {k: v for k, v in noted.items() if k != name} == {k: v for k, v in before.items() if k != name}
    last = noted[name][-1]
    assert last["role"] == "user"
    assert NOTE in json.dumps(last)
    # All before the note is as it was: caches of the prompt hold, and results stay with their calls.
    old, new = json.dumps(before[name][:-1])[:-1], json.dumps(noted[name])
    assert new.startswith(old)


def test_text_stays_text_and_parts_stay_parts():
    text = with_note({"messages": [{"role": "user", "content": "Hi"}]}, "chat", NOTE)
    assert text["messages"] == [{"role": "user", "content": f"Hi\n\n{NOTE}"}]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = with_note({"messages": [{"role": "user", "content": [image]}]}, "chat", NOTE)
    assert parts["messages"][0]["content"] == [image, {"type": "text", "text": NOTE}]
    assert with_note({"input": "Hi"}, "responses", NOTE) == {"input": f"Hi\n\n{NOTE}"}


def test_behind_tool_results_it_is_a_turn_of_its_own_in_chat_and_a_block_in_messages():
    chat = with_note(request("chat", user("Hi"), call("look")), "chat", NOTE)["messages"]
    assert [message["role"] for message in chat[-3:]] == ["assistant", "tool", "user"]
    blocks = with_note(request("messages", user("Hi"), call("look")), "messages", NOTE)["messages"][-1]
    assert [block["type"] for block in blocks["content"]] == ["tool_result", "text"]
    items = with_note(request("responses", user("Hi"), call("look")), "responses", NOTE)["input"]
    assert items[-1] == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": NOTE}],
    }


@pytest.mark.parametrize("surface", SURFACES)
def test_a_prefilled_answer_is_not_cut_off(surface):
    payload = request(surface, user("Hi"), says('{"city": "'))
    assert with_note(payload, surface, NOTE) == payload


@pytest.mark.parametrize(
    ("surface", "payload"),
    [
        ("completions", {"prompt": "Once"}),
        ("embeddings", {"input": "Once"}),
        ("chat", {"messages": []}),
        ("chat", {}),
        ("messages", {"messages": "Hi"}),
        ("responses", {"input": None}),
        ("responses", {"previous_response_id": "resp_1"}),
    ],
)
def test_what_has_no_place_for_it_is_left_as_it_is(surface, payload):
    assert with_note(payload, surface, NOTE) == payload


def test_an_empty_turn_is_filled():
    noted = with_note({"messages": [{"role": "user", "content": ""}]}, "messages", NOTE)
    assert noted["messages"] == [{"role": "user", "content": NOTE}]
