"""Token counts without a network, and the bound that a hold is made of."""

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from farthing.cost import (
    count_text,
    has_hidden_input,
    input_upper_bound,
    input_upper_bound_async,
    text_upper_bound,
)
from farthing.cost.request_text import AUDIO_TOKENS, FILE_TOKENS, IMAGE_TOKENS, TOOL_USE_TOKENS

DATA = "data:image/png;base64," + "QUJD" * 100_000


def user(*parts: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def test_text_is_counted_in_o200k_tokens() -> None:
    assert count_text("") == 0
    assert count_text("hello world") == 2
    assert count_text("你好，世界") == 3
    assert count_text("word " * 100_000) == pytest.approx(100_001, abs=20)


def test_special_tokens_and_broken_text_are_text() -> None:
    assert count_text("<|endoftext|>") > 1
    assert count_text("a\ud800b\0") > 0
    assert text_upper_bound("\ud800" * 10) >= 10


def test_the_users_own_tiktoken_cache_is_respected() -> None:
    code = (
        "import os; from farthing.cost import count_text; from farthing.cost.tokens import encoding;"
        "import tiktoken; tiktoken.get_encoding = lambda name: None; encoding();"
        "print(os.environ['TIKTOKEN_CACHE_DIR'])"
    )
    plain = {name: value for name, value in os.environ.items() if name != "TIKTOKEN_CACHE_DIR"}
    for env, expected in ((plain, "litellm_core_utils"), ({**plain, "TIKTOKEN_CACHE_DIR": "/own"}, "/own")):
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        )
        assert expected in ran.stdout


@settings(deadline=None)
@given(st.text(max_size=400))
def test_the_bound_is_above_our_own_count_and_within_the_bytes(words: str) -> None:
    size = len(words.encode("utf-8", "surrogatepass"))
    assert count_text(words) <= text_upper_bound(words) <= size


def test_everything_the_model_reads_is_counted() -> None:
    words = "The quick brown fox jumps over the lazy dog. " * 20
    least = count_text(words)
    base = input_upper_bound(user(text("hi")))
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": words}}}
    result = {"type": "tool_result", "content": [text(words)]}
    call = {"type": "tool_use", "name": "f", "input": {"deep": {"deeper": [words]}}}

    class Answer(BaseModel):
        """The form of an answer."""

        __doc__ = words

    for more in (
        {"system": words},
        {"system": [text(words)]},
        {"instructions": words},
        {"input": words},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": words}]}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": words}]},
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": words}]},
        {"prompt": words},
        {"prompt": [words]},
        user(text(words)),
        user(result),
        user(call),
        user({"type": "document", "source": {"type": "text", "data": words}}),
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": words}}]}
            ]
        },
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": words}]},
        {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": words}]}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
        {"tools": [{"name": "f", "input_schema": schema}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
        {"response_format": Answer},
        {"text": {"format": {"type": "json_schema", "schema": schema}}},
        {"prediction": {"type": "content", "content": words}},
    ):
        assert input_upper_bound({**user(text("hi")), **more}) >= base + least - 2, more
    assert input_upper_bound({**user(text("hi")), "tools": [{"name": "f"}]}) > base + TOOL_USE_TOKENS


def test_every_message_adds_its_wrapping() -> None:
    one = [{"role": "user", "content": "x"}]
    assert input_upper_bound({"messages": one * 100}) >= input_upper_bound({"messages": one}) + 99 * 8


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"type": "image_url", "image_url": {"url": DATA}}, IMAGE_TOKENS),
        ({"type": "input_image", "image_url": DATA}, IMAGE_TOKENS),
        ({"type": "image", "source": {"type": "base64", "data": DATA}}, IMAGE_TOKENS),
        ({"type": "tool_result", "content": [{"type": "image", "source": {"data": DATA}}]}, IMAGE_TOKENS),
        ({"type": "input_audio", "input_audio": {"data": DATA}}, AUDIO_TOKENS),
        ({"type": "file", "file": {"file_data": DATA}}, len(DATA) // 8),
        ({"type": "document", "source": {"type": "base64", "data": "QUJD"}}, FILE_TOKENS),
    ],
)
def test_attachments_are_fixed_figures_and_their_data_is_no_text(part: dict[str, Any], tokens: int) -> None:
    added = input_upper_bound(user(text("hi"), part)) - input_upper_bound(user(text("hi")))
    assert tokens <= added <= tokens + 100


def test_stored_conversations_are_named_as_hidden() -> None:
    assert has_hidden_input({"input": "x", "previous_response_id": "resp_1"})
    assert has_hidden_input({"input": "x", "conversation": "conv_1"})
    assert has_hidden_input({"prompt": {"id": "pmpt_1"}})
    assert not has_hidden_input({"input": "x", "prompt": "y", "previous_response_id": None})


def test_junk_raises_nothing() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = {"type": "tool_use", "input": [deep]}
    loop: dict[str, Any] = {"type": "tool_use"}
    loop["input"] = loop
    for junk in (
        None,
        5,
        1.5,
        True,
        b"x",
        [],
        {},
        [[[]]],
        [None, 5],
        {"type": 5},
        object(),
        deep,
        loop,
        "\ud800",
    ):
        assert input_upper_bound({"messages": junk, "tools": junk, "system": [junk], "input": [junk]}) > 0


def test_typical_requests_are_counted_on_the_spot() -> None:
    words = ("def f(x):\n    return x + 1  # comment, with 3 words\n" * 400)[:16_000]
    count_text("warm")
    assert min(seconds(lambda: input_upper_bound(user(text(words)))) for _ in range(5)) < 0.005


@pytest.mark.parametrize("unit", ["a", " ", "\n", "a ", "0", "字", "😀", "\ud800", "=-", "\t"])
def test_hostile_text_is_counted_in_bounded_time(unit: str) -> None:
    words = unit * (3_000_000 // len(unit))
    assert seconds(lambda: input_upper_bound({"prompt": words})) < 2.0


def test_beyond_a_megabyte_bytes_are_the_bound() -> None:
    words = "字" * 1_000_000
    one, two = input_upper_bound({"prompt": words}), input_upper_bound({"prompt": words * 2})
    assert two - one == 3_000_000


async def test_long_text_leaves_the_event_loop_free() -> None:
    payload = user(text("The quick brown fox jumps over the lazy dog. " * 22_000))
    gaps = [0.0]
    counting = asyncio.create_task(input_upper_bound_async(payload))
    last = time.perf_counter()
    while not counting.done():
        await asyncio.sleep(0.001)
        gaps.append(time.perf_counter() - last)
        last = time.perf_counter()
    assert await counting == input_upper_bound(payload)
    assert len(gaps) > 5, "the loop ran while the text was counted"
    assert await input_upper_bound_async(user(text("hi"))) == input_upper_bound(user(text("hi")))
