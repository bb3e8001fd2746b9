"""Past calls are read from whatever an operator can export; what cannot be read is told, never guessed."""

import csv
import io
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.audit.calls import PastCall, call_of
from farthing.audit.errors import AuditError
from farthing.audit.files import read_file
from farthing.cost import count_text
from farthing.grading import task_from
from farthing.telemetry import Usage

BODY = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Which of our ferries sails first?"}],
    "tools": [{"type": "function", "function": {"name": "timetable"}}],
}
ROW = {
    "request_id": "req-1",
    "call_type": "acompletion",
    "api_key": "88dc",
    "spend": 0.0123,
    "total_tokens": 1200,
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "startTime": "2026-11-20T08:00:00.250Z",
    "endTime": "2026-11-20T08:00:01Z",
    "model": "gpt-5",
    "model_group": "auto",
    "custom_llm_provider": "openai",
    "user": "ada",
    "metadata": {},
    "messages": {},
    "response": {},
    "proxy_server_request": BODY,
    "session_id": "s-1",
    "status": "success",
    "cache_hit": "False",
}


def ask_of(call):
    return task_from(call.payload).ask


def read(path, text):
    """Return (calls, what was left out, bad lines) of a file with ``text``."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    bad = []
    found = list(read_file(str(path), lambda number, why: bad.append((number, why))))
    return (
        [one for one in found if isinstance(one, PastCall)],
        [one for one in found if isinstance(one, str)],
        bad,
    )


def as_csv(rows, delimiter=","):
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()})
    return out.getvalue()


EXPORTS = {
    "json lines": lambda rows: "\n".join(json.dumps(row) for row in rows),
    "json array": lambda rows: json.dumps(rows),
    "indented array": lambda rows: json.dumps(rows, indent=2),
    "an API's answer": lambda rows: json.dumps({"data": rows, "total": len(rows)}, indent=1),
    "objects one after another": lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows),
    "columns of JSON text": lambda rows: "\n".join(
        json.dumps({k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()}) for row in rows
    ),
    "csv": as_csv,
    "semicolon csv": lambda rows: as_csv(rows, ";"),
    "tab separated": lambda rows: as_csv(rows, "\t"),
    "with a byte order mark": lambda rows: "\ufeff" + as_csv(rows),
    "blank lines about": lambda rows: "\n\n" + "\n\n".join(json.dumps(row) for row in rows) + "\n\n",
}


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_of_spend_logs_reads_the_same(tmp_path, name):
    rows = [ROW, {**ROW, "request_id": "req-2", "spend": "0.5"}]
    (first, second), left_out, bad = read(tmp_path / "export", EXPORTS[name](rows))
    assert (left_out, bad) == ([], [])
    assert (first.name, second.name) == ("req-1", "req-2")
    assert first.started == datetime(2026, 11, 20, 8, 0, 0, 250_000, UTC)
    assert (first.model, first.provider) == ("gpt-5", "openai")
    assert (first.paid, second.paid) == (12_300_000, 500_000_000), "exact nano-dollars, no float between"
    assert first.usage == Usage(1000, 200)
    assert not first.estimated
    assert ask_of(first) == "Which of our ferries sails first?"
    assert task_from(first.payload).tools == 1


def test_pandas_notation_of_a_column_is_read(tmp_path):
    row = {**ROW, "proxy_server_request": str(BODY)}
    (call,), _, bad = read(tmp_path / "x.csv", as_csv([row]))
    assert not bad
    assert ask_of(call) == "Which of our ferries sails first?"


@pytest.mark.parametrize(
    "columns",
    [
        {"messages": BODY["messages"], "proxy_server_request": {}},
        {"messages": {"messages": BODY["messages"]}, "proxy_server_request": {}},
        {"messages": json.dumps(BODY["messages"]), "proxy_server_request": "{}"},
        {"messages": "Which of our ferries sails first?", "proxy_server_request": None},
        {"messages": {}, "proxy_server_request": {"url": "http://proxy/v1/chat/completions", "body": BODY}},
        {"messages": {}, "proxy_server_request": json.dumps({"input": "Which of our ferries sails first?"})},
    ],
)
def test_a_prompt_is_found_wherever_the_row_keeps_it(columns):
    assert ask_of(call_of({**ROW, **columns}, "line 1")) == "Which of our ferries sails first?"


@pytest.mark.parametrize(
    "columns",
    [
        {"messages": {}, "proxy_server_request": {}},
        {"messages": "{}", "proxy_server_request": "{}"},
        {"messages": None, "proxy_server_request": None},
        {"messages": [], "proxy_server_request": {"model": "auto"}},
        {"proxy_server_request": {"messages": [{"role": "user", "content": "redacted-by-litellm"}]}},
    ],
)
def test_a_call_that_kept_no_prompt_is_still_a_call_with_its_cost(columns):
    call = call_of({**ROW, **columns}, "line 1")
    assert call.payload is None
    assert call.paid == 12_300_000


def test_a_prompt_that_litellm_shortened_is_marked():
    body = {
        "messages": [{"role": "user", "content": "Read this … (litellm_truncated skipped 900 chars.) ok?"}]
    }
    assert call_of({**ROW, "proxy_server_request": body}, "line 1").cut
    assert not call_of(ROW, "line 1").cut


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"status": "failure"}, "failed"),
        ({"cache_hit": "True"}, "cached"),
        ({"cache_hit": True}, "cached"),
        ({"call_type": "aembedding"}, "other"),
        ({"call_type": "image_generation"}, "other"),
    ],
)
def test_what_no_tier_answered_is_left_out_with_its_reason(columns, why):
    assert call_of({**ROW, **columns}, "line 1") == why


def test_a_spend_of_zero_is_no_record_of_a_price():
    assert call_of({**ROW, "spend": 0.0}, "line 1").paid is None
    assert call_of({**ROW, "spend": ""}, "line 1").paid is None


def test_cached_and_reasoning_tokens_of_a_row_come_from_its_details():
    details = {
        "prompt_tokens_details": {"cached_tokens": 600, "cache_creation_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 150},
    }
    for holder in (
        {"metadata": {"usage_object": details}},
        {"metadata": json.dumps({"additional_usage_values": details})},
        {"response": {"usage": details}},
    ):
        assert call_of({**ROW, **holder}, "line 1").usage == Usage(1000, 200, 600, 100, 150)


ANSWERS = [
    {"choices": [{"message": {"content": "The *Aurora*, at six."}}]},
    {"output": [{"type": "message", "content": [{"type": "output_text", "text": "The *Aurora*, at six."}]}]},
    {"content": [{"type": "text", "text": "The *Aurora*, at six."}]},
    "The *Aurora*, at six.",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_without_usage_tokens_are_counted_and_marked(answer):
    call = call_of({**BODY, "response": answer}, "line 7")
    assert call.estimated
    assert not call.unanswered
    assert call.usage.output_tokens == count_text("The *Aurora*, at six.")
    assert call.usage.input_tokens > count_text("Which of our ferries sails first?")
    assert call.name == "line 7"
    silent = call_of(BODY, "line 7")
    assert (silent.usage.output_tokens, silent.unanswered) == (0, True)


@pytest.mark.parametrize(
    ("record", "usage"),
    [
        ({"prompt": "Hi", "usage": {"prompt_tokens": 9, "completion_tokens": 4}}, Usage(9, 4)),
        ({"prompt": "Hi", "prompt_tokens": "9", "completion_tokens": "4"}, Usage(9, 4)),
        ({"prompt": "Hi", "response": {"usage": {"input_tokens": 9, "output_tokens": 4}}}, Usage(9, 4)),
        (
            {
                "messages": [{"role": "user", "content": "Hi"}],
                "usage": {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 50},
            },
            Usage(59, 4, 50),
        ),
        (
            {
                "input": "Hi",
                "usage": {
                    "input_tokens": 59,
                    "output_tokens": 4,
                    "total_tokens": 63,
                    "input_tokens_details": {"cached_tokens": 50},
                },
            },
            Usage(59, 4, 50),
        ),
        (
            {
                "custom_id": "r1",
                "body": {"input": "Hi"},
                "response": {"body": {"usage": {"prompt_tokens": 3}}},
            },
            Usage(3, 0),
        ),
    ],
)
def test_usage_is_read_as_each_surface_reports_it(record, usage):
    call = call_of(record, "line 1")
    assert call.usage == usage
    assert not call.estimated


def test_plain_requests_keep_a_prompt_that_is_itself_json():
    assert ask_of(call_of({"prompt": '{"a": 1}'}, "line 1")) == '{"a": 1}'


def test_bad_lines_are_told_by_number_and_the_rest_is_read(tmp_path):
    lines = [
        "not json",
        json.dumps(ROW),
        "[1, 2]",
        json.dumps({"temperature": 1}),
        json.dumps({**ROW, "request_id": "r", "prompt_tokens": "many"}),
        json.dumps({**ROW, "request_id": "s", "spend": -1}),
        json.dumps(ROW),
        '{"prompt": "hi"',
        json.dumps({"prompt": "Hi", "usage": {"prompt_tokens": 1.5}}),
        json.dumps({"prompt": "Hi"}),
    ]
    calls, _, bad = read(tmp_path / "x.jsonl", "\n".join(lines).encode() + b"\n\xff\xfe{}\n" + b"[" * 100_000)
    assert [call.name for call in calls] == ["req-1", "line 10"]
    assert [number for number, _ in bad] == [1, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    why = dict(bad)
    assert why[1].startswith("not JSON")
    assert "none of prompt" in why[4]
    assert why[5] == "prompt_tokens is not a number of tokens"
    assert "repeats a request_id" in why[7]
    assert not any("hi" in text.lower().split() for text in why.values()), "no prompt in an error"


def test_bad_rows_of_csv_are_told_by_the_line_they_begin_on(tmp_path):
    text = as_csv([ROW, {**ROW, "request_id": "req-2", "user": "two\nlines"}, {**ROW, "request_id": "req-3"}])
    calls, _, bad = read(tmp_path / "x.csv", text + "req-4,too,short\n")
    assert [call.name for call in calls] == ["req-1", "req-2", "req-3"]
    assert bad == [(6, f"has 3 fields, not {len(ROW)}")]


def test_long_prompts_fit_in_a_csv_field(tmp_path):
    body = {"messages": [{"role": "user", "content": "word " * 100_000}]}
    (call,), _, bad = read(tmp_path / "x.csv", as_csv([{**ROW, "proxy_server_request": body}]))
    assert not bad
    assert task_from(call.payload).ask_chars == 500_000


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "is empty"), (" \n\n", "is empty"), ("[{", "line 1: not JSON"), ("[\n{},\n{]", "line 3: not JSON")],
)
def test_a_file_that_is_nothing_is_refused_with_a_reason(tmp_path, text, why):
    with pytest.raises(AuditError, match=why):
        read(tmp_path / "x", text)


def test_a_file_that_cannot_be_opened_is_refused_with_a_reason(tmp_path):
    for name in (str(tmp_path / "none.jsonl"), str(tmp_path)):
        with pytest.raises(AuditError, match=r"cannot be read: (No such file|Is a directory)"):
            list(read_file(name, lambda number, why: None))


def test_json_lines_are_read_as_they_come(tmp_path, monkeypatch):
    lines = iter([json.dumps(ROW).encode(), b'{"prompt": "Hi"}'])

    class Endless:
        """A source that could never be held whole."""

        def __iter__(self):
            yield from lines
            while True:
                yield b'{"prompt": "again"}'

    monkeypatch.setattr("farthing.audit.files._opened", lambda name: _Held(Endless()))
    found = read_file("-", lambda number, why: None)
    assert [next(found).name for _ in range(4)] == ["req-1", "line 2", "line 3", "line 4"]


class _Held:
    def __init__(self, value):
        self._value = value

    def __enter__(self):
        return self._value

    def __exit__(self, *ended):
        return None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*ROW, *BODY, "prompt", "input", "usage", "body", "id", "timestamp"])


@given(st.dictionaries(fields, json_values, max_size=8))
def test_no_shape_of_a_record_fails_but_with_a_reason(record):
    with suppress(ValueError):
        call_of(record, "line 1")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("audit") / "any"


@given(data=st.binary(max_size=400))
def test_no_bytes_of_a_file_fail_but_with_a_reason(file, data):
    file.write_bytes(data)
    with suppress(AuditError):
        list(read_file(str(file), lambda number, why: None))
