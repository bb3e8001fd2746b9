"""What the sovereign tier makes of a request before the engine sees it, and of the answer after."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_deploy.calls import CHAT, COMPLETIONS, MESSAGES, RESPONSES, SURFACES, Call, read_call
from ray_deploy.engine import ToolMarkers
from ray_deploy.errors import Refused
from ray_deploy.relay import Renamer

NAMES = ("smollm2", "gpt-5")
MARKERS = ToolMarkers("<tool_call>\n", "</tool_call>")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("weather", "time")]
QUESTION = [{"role": "user", "content": "Rain?"}]


def read(surface: str, raw: bytes, markers: ToolMarkers | None = MARKERS) -> Call:
    return read_call(surface, raw, names=NAMES, max_output=512, markers=markers)


def sent(surface: str, markers: ToolMarkers | None = MARKERS, **body: Any) -> dict[str, Any]:
    """The body that the engine gets for a client's body."""
    result = json.loads(read(surface, json.dumps({"model": "gpt-5"} | body).encode(), markers).body)
    assert isinstance(result, dict)
    return result


def refusal(raw: bytes) -> tuple[int, dict[str, Any]]:
    with pytest.raises(Refused) as refused:
        read(CHAT, raw)
    return refused.value.response.status_code, json.loads(bytes(refused.value.response.body))["error"]


# Errors


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"model": "gpt-5"', b"\xff\xfe", b"[1]", b'"gpt-5"', b"null", b"[" * 100_000]
)
def test_what_is_not_a_json_object_is_a_400(raw: bytes) -> None:
    status, error = refusal(raw)
    assert status == 400
    assert error["code"] == "invalid_json"
    assert error["type"] == "invalid_request_error"
    assert error["param"] is None
    assert error["message"]


@pytest.mark.parametrize("model", [None, "", 5, ["gpt-5"]])
def test_a_request_must_name_its_model(model: object) -> None:
    status, error = refusal(json.dumps({"model": model}).encode())
    assert (status, error["param"], error["code"]) == (400, "model", "missing_model")


@pytest.mark.parametrize("model", ["gpt-6", "GPT-5", "gpt-5 ", "openai/gpt-5"])
def test_an_unknown_model_is_a_404_that_lists_the_known(model: str) -> None:
    status, error = refusal(json.dumps({"model": model}).encode())
    assert (status, error["param"], error["code"]) == (404, "model", "model_not_found")
    assert "gpt-5, smollm2" in error["message"]


# The cap on the output


@pytest.mark.parametrize(
    ("surface", "asked", "expected"),
    [
        (CHAT, {}, {"max_tokens": 512}),
        (CHAT, {"max_tokens": 10}, {"max_tokens": 10}),
        (CHAT, {"max_tokens": 513}, {"max_tokens": 512}),
        (CHAT, {"max_tokens": -1}, {"max_tokens": 512}),
        (CHAT, {"max_completion_tokens": 4096}, {"max_completion_tokens": 512}),
        (CHAT, {"max_tokens": 5, "n_predict": 4096}, {"max_tokens": 5, "n_predict": 512}),
        (COMPLETIONS, {"max_tokens": 1e9}, {"max_tokens": 512}),
        (RESPONSES, {}, {"max_output_tokens": 512}),
        (RESPONSES, {"max_output_tokens": 4096}, {"max_output_tokens": 512}),
        (MESSAGES, {"max_tokens": 4096}, {"max_tokens": 512}),
        (CHAT, {"max_tokens": "many"}, {"max_tokens": "many"}),  # the engine's to refuse
    ],
)
def test_no_request_gets_past_the_cap(surface: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sent(surface, **asked) == {"model": "gpt-5"} | expected


def test_all_else_reaches_the_engine_as_it_came() -> None:
    body = {
        "messages": [{"role": "user", "content": "ü 😀"}],
        "temperature": 0.1,
        "seed": 7,
        "x": [None],
    }
    assert sent(CHAT, max_tokens=5, **body) == {"model": "gpt-5", "max_tokens": 5} | body


# Forced tool calls


def test_a_required_call_is_begun_for_the_model_on_every_surface() -> None:
    chat = sent(CHAT, messages=QUESTION, tools=TOOLS, tool_choice="required")
    assert chat["messages"] == [*QUESTION, {"role": "assistant", "content": "<tool_call>\n"}]
    assert chat["stop"] == ["</tool_call>"]
    assert chat["tools"] == TOOLS

    messages = sent(MESSAGES, messages=QUESTION, tools=[{"name": "weather"}], tool_choice={"type": "any"})
    assert messages["messages"][-1] == {"role": "assistant", "content": "<tool_call>\n"}
    assert messages["stop_sequences"] == ["</tool_call>"]

    responses = sent(
        RESPONSES, input="Rain?", tools=[{"type": "function", "name": "weather"}], tool_choice="required"
    )
    assert responses["input"][0] == {"role": "user", "content": "Rain?"}
    assert responses["input"][1]["content"] == [{"type": "output_text", "text": "<tool_call>\n"}]


@pytest.mark.parametrize(
    ("surface", "tools", "choice", "required"),
    [
        (CHAT, TOOLS, {"type": "function", "function": {"name": "time"}}, "required"),
        (
            RESPONSES,
            [{"name": "weather"}, {"name": "time"}],
            {"type": "function", "name": "time"},
            "required",
        ),
        (
            MESSAGES,
            [{"name": "weather"}, {"name": "time"}],
            {"type": "tool", "name": "time"},
            {"type": "any"},
        ),
    ],
)
def test_a_named_tool_becomes_the_only_one(
    surface: str, tools: list[dict[str, Any]], choice: object, required: object
) -> None:
    body = sent(surface, messages=QUESTION, input="Rain?", tools=tools, tool_choice=choice)
    assert body["tools"] == [tools[1]]
    assert body["tool_choice"] == required


@pytest.mark.parametrize("choice", [None, "auto", "none", {"type": "auto"}, {"type": "allowed_tools"}, 7])
def test_a_free_choice_stays_free(choice: object) -> None:
    body = {"messages": QUESTION, "tools": TOOLS, "tool_choice": choice, "max_tokens": 5}
    assert sent(CHAT, **body) == {"model": "gpt-5"} | body


def test_a_choice_without_tools_is_the_engines_to_judge() -> None:
    body = {"messages": QUESTION, "tool_choice": "required", "max_tokens": 5}
    assert sent(CHAT, **body) == {"model": "gpt-5"} | body


def test_an_answer_that_the_client_began_is_not_begun_again() -> None:
    turns = [*QUESTION, {"role": "assistant", "content": "Let me see. "}]
    body = sent(CHAT, messages=turns, tools=TOOLS, tool_choice="required")
    assert body["messages"] == turns


def test_a_model_with_other_marks_is_left_to_the_engine() -> None:
    body = {"messages": QUESTION, "tools": TOOLS, "tool_choice": "required", "max_tokens": 5}
    assert sent(CHAT, markers=None, **body) == {"model": "gpt-5"} | body


@pytest.mark.parametrize("surface", SURFACES)
@given(
    body=st.dictionaries(
        st.sampled_from(["messages", "input", "tools", "tool_choice", "max_tokens"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda x: (
                st.lists(x, max_size=3)
                | st.dictionaries(st.sampled_from(["role", "name", "function", "type"]), x, max_size=3)
            ),
            max_leaves=8,
        ),
    )
)
def test_no_body_is_so_odd_that_reading_it_breaks(surface: str, body: dict[str, Any]) -> None:
    with suppress(Refused):
        sent(surface, **body)


# The name in the answer


@given(
    model=st.text(min_size=1),
    events=st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_the_name_is_replaced_wherever_the_network_cuts_the_stream(
    model: str, events: list[str], cuts: list[int]
) -> None:
    def stream(name: str) -> bytes:
        lines = [json.dumps({"text": event, "model": name}, separators=(",", ":")) for event in events]
        return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()

    raw, renamer, out, position = stream("engine-1a2b"), Renamer("engine-1a2b", model), b"", 0
    for cut in cuts * len(raw):
        out += renamer.feed(raw[position : position + cut])
        position += cut
    assert out + renamer.end() == stream(model)


def test_an_answer_that_talks_about_the_alias_keeps_its_words() -> None:
    body = json.dumps({"text": 'my model is "engine-1a2b"', "model": "engine-1a2b"}).encode()
    renamer = Renamer("engine-1a2b", "gpt-5")
    assert json.loads(renamer.feed(body) + renamer.end()) == {
        "text": 'my model is "engine-1a2b"',
        "model": "gpt-5",
    }


def test_an_event_leaves_as_soon_as_it_is_whole() -> None:
    renamer = Renamer("engine-1a2b", "gpt-5")
    assert renamer.feed(b'data: {"model":"engi') == b""
    assert renamer.feed(b'ne-1a2b"}\n\n') == b'data: {"model":"gpt-5"}\n\n'
