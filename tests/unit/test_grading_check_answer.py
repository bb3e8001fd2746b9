"""One answer, read from any surface."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.grading.check import Answer, ToolCall, answers_from

NAMES = """choices output content message type text tool_calls function name usage arguments input
finish_reason logprobs token_logprobs stop_reason status"""


def _words(text: str) -> list[str]:
    return text.split()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(_words(NAMES)) | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def chat(message: dict, finish: str = "stop", **choice: object) -> dict:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}]}


def test_reads_a_chat_completion() -> None:
    answer = answers_from(
        chat(
            {
                "content": "Let me look.",
                "reasoning_content": "the user wants the weather",
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                    }
                ],
            },
            "tool_calls",
            logprobs={"content": [{"token": "Let", "logprob": -0.25}, {"token": " me", "logprob": -0.5}]},
        )
        | {"usage": {"completion_tokens": 17}}
    )
    assert answer == [
        Answer(
            "Let me look.",
            (ToolCall("weather", '{"city": "Oslo"}'),),
            "tool_calls",
            token_logprobs=(-0.25, -0.5),
            output_tokens=17,
        )
    ]


def test_reads_a_responses_answer() -> None:
    response = {
        "object": "response",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hidden"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "It is "}]},
            {"type": "message", "content": [{"type": "output_text", "text": "warm."}]},
            {"type": "function_call", "name": "weather", "arguments": "{}"},
        ],
    }
    assert answers_from(response) == [Answer("It is warm.", (ToolCall("weather", "{}"),), "length")]


def test_reads_an_anthropic_message() -> None:
    response = {
        "type": "message",
        "stop_reason": "tool_use",
        "usage": {"output_tokens": 9},
        "content": [
            {"type": "thinking", "thinking": "hidden"},
            {"type": "text", "text": "One moment."},
            {"type": "tool_use", "name": "weather", "input": {"city": "Oslo"}},
        ],
    }
    call = ToolCall("weather", '{"city": "Oslo"}')
    assert answers_from(response) == [Answer("One moment.", (call,), "tool_calls", output_tokens=9)]


def test_reads_a_client_librarys_objects_and_text_completions() -> None:
    message = SimpleNamespace(content="Hello", tool_calls=None, function_call=None, refusal=None)
    choice = SimpleNamespace(message=message, finish_reason="stop", logprobs=None)
    assert answers_from(SimpleNamespace(choices=[choice])) == [Answer("Hello", (), "stop")]
    completion = {
        "choices": [{"text": "a", "finish_reason": "length"}, {"text": "b", "finish_reason": "stop"}]
    }
    assert [(a.text, a.finish) for a in answers_from(completion)] == [("a", "length"), ("b", "stop")]


@pytest.mark.parametrize(
    "response",
    [
        chat({"content": None, "refusal": "I can't do that."}),
        {
            "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}],
            "status": "completed",
        },
        {"content": [], "stop_reason": "refusal"},
    ],
)
def test_a_marked_refusal_is_seen_on_every_surface(response: dict) -> None:
    (answer,) = answers_from(response)
    assert answer.refusal
    assert answer.text == ""


def test_thinking_written_into_the_text_is_not_the_answer() -> None:
    (answer,) = answers_from(chat({"content": "<think>\n2 and 2 is 4\n</think>\n\n4"}))
    assert answer.text == "4"
    (cut,) = answers_from(chat({"content": "<think>\nstill at it"}, "length"))
    assert cut.text == ""


def test_audio_and_server_side_items_are_something_else_than_text() -> None:
    assert answers_from(chat({"content": None, "audio": {"id": "a"}}))[0].other
    assert answers_from({"output": [{"type": "image_generation_call", "result": "…"}]})[0].other
    assert not answers_from({"output": [{"type": "reasoning"}]})[0].other


@given(JSON)
def test_no_shape_raises(response: object) -> None:
    for answer in answers_from(response):
        assert isinstance(answer.text, str)
