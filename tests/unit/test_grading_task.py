"""Every message shape becomes a task, and the task is the user's own turn in its context."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.grading import Task, task_from
from farthing.grading.shapes import WINDOW

CALL = {"id": "c1", "type": "function", "function": {"name": "run", "arguments": '{"cmd": "pytest"}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def chat(*messages: object, **more: object) -> Task:
    return task_from({"messages": list(messages), **more})


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_a_plain_chat_is_graded_on_its_last_user_turn() -> None:
    task = chat(
        {"role": "system", "content": "Be terse."},
        user("First question"),
        {"role": "assistant", "content": "First answer"},
        user("Second question"),
    )
    assert task.ask == "Second question"
    assert (task.turns, task.system_chars, task.continued) == (2, 9, False)
    assert task.total_chars == len("Be terse.First questionFirst answerSecond question")


@pytest.mark.parametrize(
    "payload",
    [
        {"prompt": "Why?"},
        {"prompt": ["Why?"]},
        {"messages": [user("Why?")]},
        {"messages": [user([{"type": "text", "text": "Why?"}])]},
        {"messages": [user(["Why?"])]},
        {"messages": [{"role": "human", "content": "Why?"}]},
        {"messages": ["Why?"]},
        {"messages": None, "input": "Why?"},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Why?"}]}]},
        {"input": [{"role": "user", "content": "Why?"}], "instructions": "Be terse."},
        {"input": [{"type": "input_text", "text": "Why?"}]},
        {"system": [{"type": "text", "text": "Be terse."}], "messages": [user("Why?")]},
        {"messages": [SimpleNamespace(role="user", content="Why?")]},
        {"messages": [{"role": "system", "content": "Why?"}]},
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Why?"}]}]},
    ],
)
def test_each_surface_gives_the_same_ask(payload: dict[str, object]) -> None:
    task = task_from(payload)
    assert (task.ask, task.ask_chars) == ("Why?", 4)


def test_an_agent_loop_is_graded_on_the_ask_that_started_it() -> None:
    loops = [
        chat(
            user("Fix the failing test"),
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "Error: 3 failed"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "all passed"}]},
        ),
        chat(
            user("Fix the failing test"),
            {"role": "assistant", "content": None, "function_call": CALL["function"]},
            {"role": "function", "name": "run", "content": "Traceback: KeyError"},
            {"role": "function", "name": "run", "content": "all passed"},
        ),
        chat(
            user("Fix the failing test"),
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "run", "input": {}}]},
            user([{"type": "tool_result", "tool_use_id": "c1", "is_error": True, "content": "no"}]),
            user([{"type": "tool_result", "content": [{"type": "text", "text": "all passed"}]}]),
        ),
        task_from(
            {
                "input": [
                    user("Fix the failing test"),
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                    {"type": "function_call", "call_id": "c1", "name": "run", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c1", "output": "error: no such file"},
                    {"type": "function_call_output", "call_id": "c2", "output": "all passed"},
                ]
            }
        ),
    ]
    for task in loops:
        assert task.ask == "Fix the failing test"
        assert (task.turns, task.tool_results, task.loop_steps, task.loop_errors) == (1, 2, 2, 1)


def test_a_new_ask_ends_the_loop_but_keeps_its_history() -> None:
    task = chat(user("Fix it"), {"role": "tool", "content": "done"}, user("Now write the changelog entry"))
    assert (task.ask, task.loop_steps, task.tool_results) == ("Now write the changelog entry", 0, 1)


@pytest.mark.parametrize(
    "word",
    [
        *("ok, continue", "Yes.", "👍", "继续", "weiter bitte", "2", "Oui !", "can you continue?", "もっと"),
        *("please continue with part 2", "that's wrong", "Könntest du weitermachen?"),
    ],
)
def test_a_short_continuation_inherits_the_earlier_ask(word: str) -> None:
    task = chat(
        user("Prove the theorem"),
        {"role": "assistant", "content": "Part one…"},
        user("continue"),
        {"role": "assistant", "content": "Part two…"},
        user(word),
    )
    assert (task.ask, task.continued, task.turns) == ("Prove the theorem", True, 3)


def test_to_ask_about_continuing_is_not_to_continue() -> None:
    task = chat(user("Prove the theorem"), user("How do I continue a loop in C?"))
    assert (task.ask, task.continued) == ("How do I continue a loop in C?", False)


def test_a_short_new_ask_is_no_continuation() -> None:
    for ask in ("thanks!", "capital of Peru?", "Continue with a proof of the converse, in detail please"):
        assert chat(user("Prove the theorem"), user(ask)).ask == ask
    assert chat(user("ok")).ask == "ok"


def test_attachments_are_counted_wherever_they_are() -> None:
    task = chat(
        user([{"type": "text", "text": "Compare"}, IMAGE, {"type": "input_audio", "input_audio": {}}]),
        user([{"type": "image", "source": {}}, {"type": "document", "source": {"type": "base64"}}]),
        user([{"type": "tool_result", "content": [{"type": "image", "source": {}}]}]),
        user([{"type": "input_image", "image_url": "x"}, {"type": "file", "file": {}}, "And this?"]),
    )
    assert (task.images, task.audio, task.documents, task.ask) == (4, 1, 2, "And this?")


def test_a_text_document_is_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "x" * 500}
    task = chat(user([{"type": "document", "source": source}, {"type": "text", "text": "Summarise"}]))
    assert (task.documents, task.ask_chars) == (0, 509)


def test_tools_and_formats_of_the_three_surfaces() -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {}}}
    for tool in (
        {"type": "function", "function": {"name": "f", "parameters": schema}},
        {"type": "function", "name": "f", "parameters": schema},
        {"name": "f", "input_schema": schema},
    ):
        task = chat(user("x"), tools=[tool, {"type": "web_search"}])
        assert (task.tools, task.tool_parameters) == (2, 2)
    for form in (
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": {"type": "json_object"}},
        {"response_format": Task},
        {"text": {"format": {"type": "json_schema"}}},
        {"output_format": {"type": "json_schema"}},
        {"output_config": {"format": {"type": "json_schema"}}},
    ):
        assert chat(user("x"), **form).structured
    assert not chat(user("x"), response_format={"type": "text"}, text={"format": {"type": "text"}}).structured


def test_a_long_ask_keeps_its_two_ends() -> None:
    text = "HEAD" + "x" * 1_000_000 + "TAIL"
    parts = [{"type": "text", "text": part} for part in (text[:300_000], text[300_000:])]
    for content in (text, parts):
        task = chat(user(content))
        assert task.ask.startswith("HEAD")
        assert task.ask.endswith("TAIL")
        assert len(task.ask) <= 2 * WINDOW + 4
        assert task.ask_chars == 1_000_008


def test_refusals_and_empty_turns_are_read() -> None:
    assert chat().turns == 0
    assert chat(user("")).ask == ""
    assert chat(user(None), {"role": "assistant", "content": None, "refusal": "No."}).total_chars == 3
    assert task_from({}) == Task()


def test_hostile_sizes_take_bounded_time() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = {"type": "text", "content": [deep]}
    loop: list[Any] = []
    loop.append(loop)
    started = time.perf_counter()
    chat(*[user("Why?") if i % 2 else {"role": "assistant", "content": "So."} for i in range(10_000)])
    chat(user(deep), user(loop), loop, deep)
    chat(user([{"type": "text", "text": "x"}] * 100_000))
    chat(*[user([{"type": "text", "text": "x"}] * 500)] * 2_000)
    chat(user("x"), tools=[{"name": "f", "input_schema": {"properties": {"a": 1}}}] * 100_000)
    assert time.perf_counter() - started < 3.0


def test_the_ask_is_read_whatever_stands_before_it() -> None:
    flood = user([{"type": "text", "text": "x"}] * 10_000)
    calls = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}] * 10_000}
    started = time.perf_counter()
    assert chat(*[flood, calls] * 50, user("Why?")).ask == "Why?"
    assert time.perf_counter() - started < 1.0


def words(text: str) -> list[str]:
    return text.split()


FIELDS = words("messages input prompt system instructions tools functions response_format text output_format")
KEYS = words(
    "role type content text tool_calls function arguments output source data input name refusal summary "
    "format properties parameters input_schema function_call is_error status"
)
KINDS = words(
    "user assistant tool system function developer text image_url tool_use tool_result document thinking "
    "function_call function_call_output reasoning message input_text refusal"
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner | st.sampled_from(KINDS),
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        junk,
        max_size=6,
    )
)
def test_no_shape_raises_and_reading_is_repeatable(payload: dict[str, object]) -> None:
    task = task_from(payload)
    assert task == task_from(payload)
    assert min(task.ask_chars, task.turns, task.loop_steps, task.tools, task.total_chars) >= 0
    assert len(task.ask) <= 2 * WINDOW + 100
