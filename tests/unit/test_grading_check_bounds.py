"""Whatever the answer, the schema or the request: no exception, nothing fetched, and soon done."""

import json
import socket
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.grading.check import Answer, LearnedCheck, ToolCall, check_answer, check_prefix

SECONDS = 2.0
"""Far above the tens of milliseconds that are meant, for a busy machine."""
CHECK = LearnedCheck.load()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
NAMES = """messages input prompt system tools functions tool_choice function_call text response_format
output_format output_config max_tokens max_output_tokens"""


def _words(text: str) -> list[str]:
    return text.split()


FIELDS = st.sampled_from(_words(NAMES))
NESTED = st.recursive(
    JSON,
    lambda inner: st.dictionaries(
        st.sampled_from(["type", "format", "json_schema", "schema", "function", "name", "parameters", "role"])
        | st.sampled_from(["content", "properties", "required", "enum", "pattern", "$ref", "items", "allOf"]),
        inner | st.sampled_from(["json_schema", "json_object", "function", "object", "user", "#"]),
        max_size=5,
    ),
    max_leaves=20,
)
ASK = {
    "role": "user",
    "content": "Ann has 3 apples and buys 4. How many has she? Answer in 5 words, in JSON.",
}
HOSTILE = {
    "blanks": " " * 1_000_000,
    "lines": "\n" * 100_000 + "x",
    "null bytes": "\x00" * 1_000_000,
    "zalgo": "e\u0301\u0302\u0303\u0304" * 200_000,
    "deep": "[" * 500_000 + "]" * 500_000,
    "words": " ".join(map(str, range(150_000))),
    "one word": "a" * 1_000_000,
    "sums": "1 + 1 = 2 " * 100_000,
    "signs": "=" * 500_000 + "-+*/" * 100_000,
    "brackets": "(" * 1_000_000,
    "sorry": "sorry, " * 140_000,
    "figures": "9" * 1_000_000,
    "points": "1. a\n" * 200_000,
    "quotes": '"' * 1_000_000,
    "fences": "```" * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("json_asked", [False, True])
def test_a_megabyte_is_checked_in_bounded_time(name: str, json_asked: bool) -> None:
    payload: dict[str, object] = {"messages": [ASK]}
    if json_asked:
        payload["response_format"] = {"type": "json_object"}
    text = HOSTILE[name]
    started = perf_counter()
    check_answer(payload, Answer(text, (ToolCall("f", text),)))
    check_answer(payload, Answer(text, (), "stop"), learned=CHECK)
    check_prefix(payload, text)
    assert perf_counter() - started < SECONDS
    started = perf_counter()
    check_answer({"messages": [{"role": "user", "content": text}]}, Answer("5", (), "stop"), learned=CHECK)
    assert perf_counter() - started < SECONDS


def doubling() -> dict[str, object]:
    parts: dict[str, object] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    return {"$defs": {**parts, "a40": {}}, "$ref": "#/$defs/a0"}


SCHEMAS: dict[str, object] = {
    "doubling": doubling(),
    "itself": {"$ref": "#"},
    "elsewhere": {"$ref": "http://198.51.100.1/schema.json"},
    "a draft of its own": {
        "properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#"}}
    },
    "pattern": {"properties": {"a": {"pattern": "^(a+)+$"}}},
    "broken pattern": {"properties": {"a": {"pattern": "("}}},
    "name pattern": {"patternProperties": {"^(a|a)*$": {}}, "additionalProperties": False},
    "unique": {"properties": {"b": {"uniqueItems": True}}},
    "wide": {"properties": {"b": {"items": {"enum": list(range(4000))}}}},
    "huge": {"enum": list(range(1_000_000))},
    "unknown type": {"type": "strnig"},
    "no schema": {"properties": [1]},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_hostile_schema_neither_hangs_nor_fetches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the check tried to connect")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    wanted = {"type": "json_schema", "json_schema": {"schema": SCHEMAS[name]}}
    payload = {"messages": [ASK], "response_format": wanted}
    values = (
        {"a": "a" * 5000 + "!"},
        {"b": [{"c": i} for i in range(5000)]},
        {"a" * 40 + f"{i}!": 1 for i in range(900)},
    )
    for value in values:
        started = perf_counter()
        verdict = check_answer(payload, Answer(json.dumps(value), (), "stop"))
        assert perf_counter() - started < SECONDS
        assert verdict.failure in ("", "schema")


def test_many_calls_against_slow_schemas_share_one_time_limit() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": doubling()}}
    started = perf_counter()
    check_answer({"messages": [ASK], "tools": [tool]}, Answer("", (ToolCall("f", '{"a": 1}'),) * 64))
    assert perf_counter() - started < SECONDS


def test_a_schema_that_cannot_be_read_passes() -> None:
    for schema in ("elsewhere", "unknown type", "no schema", "huge", "doubling"):
        wanted = {"type": "json_schema", "json_schema": {"schema": SCHEMAS[schema]}}
        assert check_answer({"messages": [ASK], "response_format": wanted}, Answer('{"a": 1}', (), "stop")).ok


@given(
    st.dictionaries(FIELDS, NESTED, max_size=5),
    st.text(max_size=60),
    st.text(max_size=8),
    st.text(max_size=30),
)
def test_no_request_and_no_answer_raises(
    payload: dict[str, object], text: str, name: str, arguments: str
) -> None:
    calls = (ToolCall(name, arguments),) if name else ()
    check_answer(payload, Answer(text, calls, "length", token_logprobs=(-1.0,) * 9), learned=CHECK)
    check_prefix(payload, text, [name] if name else [])


@given(NESTED, JSON)
def test_no_schema_raises(schema: object, value: object) -> None:
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    check_answer({"messages": [ASK], "response_format": wanted}, Answer(json.dumps(value), (), "stop"))
