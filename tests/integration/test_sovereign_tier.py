"""The sovereign tier as its clients and its operator meet it: real Ray Serve, llama.cpp and model."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.stack import free_port, sovereign_tier, start_tier, stop, wait_ready

MODEL = "smollm2-135m-instruct"
CLOUD = "gpt-5"
AWKWARD = 'Stand-in "ü" / cloud'
QUESTION = [{"role": "user", "content": "Say hello to the crew of the ship."}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": PARAMETERS}}


@pytest.fixture(scope="session")
def tier() -> Iterator[str]:
    with sovereign_tier(CLOUD, AWKWARD) as base_url:
        yield base_url


@pytest.fixture
def client(tier: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=tier, api_key="unused", max_retries=0)


def post(tier: str, surface: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{tier}/{surface}", json={"model": MODEL} | body, timeout=60)


def busy(tier: str) -> int:
    return int(httpx.get(tier.removesuffix("/v1") + "/ready", timeout=30).json()["busy"])


def wait_for(condition: Any, seconds: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "waited in vain"
        time.sleep(0.05)
    return time.monotonic() - started


# Names


def test_every_served_name_is_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL, CLOUD, AWKWARD]
    assert client.models.retrieve(CLOUD).id == CLOUD


@pytest.mark.parametrize("name", [MODEL, CLOUD, AWKWARD])
@pytest.mark.parametrize(
    ("surface", "body"),
    [
        ("chat/completions", {"messages": QUESTION, "max_tokens": 3}),
        ("completions", {"prompt": "Once upon", "max_tokens": 3}),
        ("responses", {"input": "hello", "max_output_tokens": 3}),
        ("messages", {"messages": QUESTION, "max_tokens": 3}),
    ],
)
def test_the_answer_carries_the_name_asked_for_streamed_or_not(
    tier: str, surface: str, body: dict[str, Any], name: str
) -> None:
    answer = post(tier, surface, **body | {"model": name})
    assert answer.status_code == 200
    assert answer.json()["model"] == name

    stream = post(tier, surface, **body | {"model": name, "stream": True})
    assert stream.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
    holders = [event.get("response") or event.get("message") or event for event in events]
    assert {holder["model"] for holder in holders if "model" in holder} == {name}
    assert "engine-" not in stream.text


# Surfaces


def test_chat_answers_with_text_and_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=12)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_a_repeated_prompt_is_reported_as_cached(client: openai.OpenAI) -> None:
    def cached() -> int:
        turns = [{"role": "user", "content": "Tell the tale of the grey whale. " * 20}]
        usage = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=1).usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        return usage.prompt_tokens_details.cached_tokens or 0

    cached()
    assert cached() > 100


def test_a_chat_stream_arrives_piece_by_piece_and_ends_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=CLOUD, messages=QUESTION, max_tokens=60, stream=True, stream_options={"include_usage": True}
    )
    arrivals, text, last = [], "", None
    for chunk in stream:
        arrivals.append(time.monotonic())
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        last = chunk
    assert text
    assert last is not None
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 1
    assert len(set(arrivals)) > 5
    assert arrivals[-1] - arrivals[0] > 0.05, "the stream came in one piece"


def test_a_stream_without_the_option_has_no_usage_chunk(tier: str) -> None:
    assert '"usage"' not in post(tier, "chat/completions", messages=QUESTION, max_tokens=3, stream=True).text


def test_responses_answer_and_stream(client: openai.OpenAI) -> None:
    answer = client.responses.create(model=CLOUD, input="hello", max_output_tokens=5)
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens == 5
    events = list(client.responses.create(model=CLOUD, input="hello", max_output_tokens=5, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage is not None
    assert events[-1].response.usage.output_tokens == 5


def test_messages_answer_and_stream(tier: str) -> None:
    client = anthropic.Anthropic(base_url=tier.removesuffix("/v1"), api_key="unused", max_retries=0)
    answer = client.messages.create(model=CLOUD, max_tokens=5, messages=QUESTION)
    assert answer.usage.output_tokens == 5
    assert answer.stop_reason == "max_tokens"
    with client.messages.stream(model=CLOUD, max_tokens=5, messages=QUESTION) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == 5


def test_health_and_readiness(tier: str) -> None:
    root = tier.removesuffix("/v1")
    assert httpx.get(f"{root}/health").status_code == 200
    assert httpx.get(f"{root}/ready").json() == {"status": "ready", "slots": 4, "busy": 0}


# Errors


@pytest.mark.parametrize("surface", ["chat/completions", "completions", "responses", "messages"])
def test_errors_are_openai_error_objects(tier: str, surface: str) -> None:
    unknown = post(tier, surface, model="gpt-6", messages=QUESTION, input="hi", prompt="hi")
    malformed = httpx.post(f"{tier}/{surface}", content=b'{"model": ')
    no_model = httpx.post(f"{tier}/{surface}", json={"messages": QUESTION})
    for answer, status, code in [
        (unknown, 404, "model_not_found"),
        (malformed, 400, "invalid_json"),
        (no_model, 400, "missing_model"),
    ]:
        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == code


def test_clients_recognise_the_errors(tier: str, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-6"):
        client.chat.completions.create(model="gpt-6", messages=QUESTION)
    other = anthropic.Anthropic(base_url=tier.removesuffix("/v1"), api_key="unused", max_retries=0)
    with pytest.raises(anthropic.NotFoundError, match="gpt-6"):
        other.messages.create(model="gpt-6", max_tokens=5, messages=QUESTION)


def test_the_engines_own_refusals_pass_through(tier: str) -> None:
    no_messages = post(tier, "chat/completions")
    assert no_messages.status_code == 400
    assert "messages" in no_messages.json()["error"]["message"]
    too_long = post(tier, "chat/completions", messages=[{"role": "user", "content": "word " * 9000}])
    assert too_long.status_code == 400
    assert "context" in too_long.json()["error"]["message"]


def test_an_unknown_path_is_an_error_object_too(tier: str) -> None:
    answer = httpx.get(f"{tier}/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


# Tools


def test_offered_tools_are_accepted(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[WEATHER, TIME], max_tokens=30
    )
    plain = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=1)
    assert answer.usage is not None
    assert plain.usage is not None
    assert answer.usage.prompt_tokens > plain.usage.prompt_tokens + 50, "the model never saw the tools"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", {"get_weather", "get_time"}),
        ({"type": "function", "function": {"name": "get_time"}}, {"get_time"}),
    ],
)
def test_a_forced_chat_call_comes_back_streamed_or_not(
    client: openai.OpenAI, choice: Any, expected: set[str]
) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What is it like in Paris?"}],
        "tools": [WEATHER, TIME],
        "tool_choice": choice,
        "temperature": 0,  # free sampling may write a city's name until the cap cuts it off
    }
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    for answer in (streamed, client.chat.completions.create(**asked)):
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls
        assert call.function.name in expected
        assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_a_forced_responses_call_comes_back(client: openai.OpenAI) -> None:
    tools = [
        {"type": "function", "name": name, "parameters": PARAMETERS} for name in ("get_weather", "get_time")
    ]
    choice = {"type": "function", "name": "get_time"}
    answer = client.responses.create(
        model=MODEL, input="Paris?", tools=tools, tool_choice=choice, temperature=0
    )
    call = next(item for item in answer.output if item.type == "function_call")
    assert call.name == "get_time"
    assert "city" in json.loads(call.arguments)


def test_a_forced_messages_call_comes_back(tier: str) -> None:
    tools = [{"name": name, "input_schema": PARAMETERS} for name in ("get_weather", "get_time")]
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_time"}):
        answer = post(
            tier,
            "messages",
            messages=QUESTION,
            max_tokens=300,
            tools=tools,
            tool_choice=choice,
            temperature=0,
        ).json()
        assert answer["stop_reason"] == "tool_use"
        (call,) = [block for block in answer["content"] if block["type"] == "tool_use"]
        assert "city" in call["input"]
    assert call["name"] == "get_time"


def test_a_choice_of_a_tool_that_is_not_there_is_refused(tier: str) -> None:
    choice = {"type": "function", "function": {"name": "get_tide"}}
    answer = post(tier, "chat/completions", messages=QUESTION, tools=[WEATHER], tool_choice=choice)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tool_choice"


def test_the_history_of_a_tool_call_is_accepted_and_read(tier: str) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    }
    history = [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": "18 degrees, " + "light rain and a gentle breeze, " * 5,
        },
    ]
    answer = post(tier, "chat/completions", messages=history, tools=[WEATHER], max_tokens=8)
    without = post(tier, "chat/completions", messages=history[:1], tools=[WEATHER], max_tokens=8)
    assert answer.status_code == 200
    grown = answer.json()["usage"]["prompt_tokens"] - without.json()["usage"]["prompt_tokens"]
    assert grown > 50, "the call or its result never reached the model"

    items = [
        {"role": "user", "content": "Weather in Paris?"},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "18 degrees"},
    ]
    assert post(tier, "responses", input=items, max_output_tokens=8).status_code == 200

    blocks = [
        {"role": "user", "content": "Weather in Paris?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "18 degrees"}]},
    ]
    assert post(tier, "messages", messages=blocks, max_tokens=8).status_code == 200


# Disconnects: an answer of 512 tokens takes seconds, so a slot that frees early was freed by the disconnect.


def long_body(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": QUESTION, "ignore_eos": True, "max_tokens": 512} | more


def test_leaving_a_stream_frees_the_slot(tier: str) -> None:
    with httpx.stream("POST", f"{tier}/chat/completions", json=long_body(stream=True), timeout=60) as stream:
        lines = stream.iter_lines()  # held: its end would be the stream's
        next(lines)
        assert busy(tier) == 1
    assert wait_for(lambda: busy(tier) == 0, 10) < 1.5


def test_leaving_before_the_answer_frees_the_slots(tier: str) -> None:
    """llama.cpp looks for vanished clients once a second, and only while nothing else reports progress."""

    def ask_and_leave() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{tier}/chat/completions", json=long_body(), timeout=httpx.Timeout(60, read=0.5))

    in_parallel([ask_and_leave] * 4)  # all slots: four answers of 512 tokens would take far longer than this
    time.sleep(1.5)
    assert busy(tier) == 0


def test_more_requests_than_slots_wait_their_turn(tier: str) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.append(post(tier, "chat/completions", messages=QUESTION, max_tokens=10).status_code)

    in_parallel([ask] * 12)
    assert answers == [200] * 12


def in_parallel(tasks: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()


# The operator's side


def descendants(pid: int) -> dict[int, str]:
    """Processes below ``pid``, with their start time, which tells a reused number from the old process."""
    found: dict[int, str] = {}
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            parents[int(entry.name)] = stat
    level = {pid}
    while level:
        level = {child for child, (parent, _) in parents.items() if parent in level}
        found |= {child: parents[child][1] for child in level}
    return found


def _stat(pid: int) -> tuple[int, str] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), fields[19])


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def still_there(processes: dict[int, str]) -> list[int]:
    return [pid for pid, start in processes.items() if (stat := _stat(pid)) and stat[1] == start]


def listening_beyond_loopback(pids: set[int]) -> list[str]:
    sockets = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(os.readlink(handle))
            except OSError:
                continue
    open_to_all = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address = fields[1].rpartition(":")[0]
            loopback = address.endswith("0100007F") or address == "00000000000000000000000001000000"
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets and not loopback:
                open_to_all.append(fields[1])
    return open_to_all


def test_a_tier_of_ones_own_beside_another(tier: str) -> None:
    """A second tier: locked, on loopback only, capped, drained at SIGTERM, then gone without a trace."""
    port = free_port()
    options = ["--slots", "1", "--context", "512", "--max-output", "150", "--drain-s", "60"]
    process = start_tier(port, *options, environment={"SOVEREIGN_API_KEY": "s3cret"})
    try:
        url = f"http://127.0.0.1:{port}"
        assert re.fullmatch(rf"sovereign tier ready at {url}/v1 \(\d+\.\d s\)\n", wait_ready(process))
        family = descendants(process.pid)
        assert len(family) > 5
        (folder,) = {match for pid in family for match in re.findall(r"/tmp/tier-\w+", command_line(pid))}
        assert Path(folder).is_dir()
        assert listening_beyond_loopback({process.pid, *family}) == []

        body = long_body(stream=True, max_tokens=4000, stream_options={"include_usage": True})
        assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 401
        assert httpx.get(f"{url}/v1/models").json()["error"]["code"] == "invalid_api_key"
        assert httpx.get(f"{url}/v1/models", headers={"x-api-key": "s3cret"}).status_code == 200
        bearer = {"authorization": "Bearer s3cret"}
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json=body, headers=bearer, timeout=60
        ) as stream:
            lines = stream.iter_lines()
            next(lines)
            os.killpg(process.pid, signal.SIGTERM)  # to the whole group, as service managers do
            *_, usage, done = filter(None, lines)
            assert done == "data: [DONE]", "shutdown cut a running answer off"
            assert '"completion_tokens":150' in usage, "the answer went over the cap"
    finally:
        out, err = stop(process)
    assert process.returncode == 0
    assert (out, err) == ("", "")
    assert wait_for(lambda: not still_there(family), 5) < 5
    assert not Path(folder).exists()
    assert httpx.get(tier.removesuffix("/v1") + "/ready").status_code == 200, "the other tier was disturbed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_leaves_nothing(number: signal.Signals) -> None:
    process = start_tier(free_port())
    wait_for(lambda: len(descendants(process.pid)) > 3 or process.poll() is not None, 30)
    family = descendants(process.pid)
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    wait_for(lambda: not still_there(family), 5)


def test_a_taken_port_is_refused_at_once(tier: str) -> None:
    port = tier.removesuffix("/v1").rpartition(":")[2]
    process = start_tier(int(port))
    out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert port in err
    assert "--port" in err


def test_a_damaged_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + b"\0" * 100)
    with TemporaryDirectory(dir="/tmp") as logs:  # tmp_path is too long for a socket
        process = start_tier(free_port(), "--model", str(damaged), "--temp-dir", logs)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert out == ""
        assert "the engine did not start" in err
        assert f"Ray's logs: {logs}/session_latest/logs" in err
        assert list(Path(logs).glob("session_latest/logs/serve/replica_*"))


def test_help_shows_every_setting() -> None:
    root = str(Path(__file__).resolve().parents[2])
    text = subprocess.run(
        [sys.executable, "-m", "ray_deploy", "--help"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    for flag in ("--model", "--served-name", "--max-output", "--replicas", "SOVEREIGN_API_KEY"):
        assert flag in text
