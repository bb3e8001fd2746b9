"""The three API surfaces through the real client libraries: graded, metered, settled, recorded."""

from decimal import Decimal

import pytest

from farthing.demo.workload import HARD_ASKS

EASY = [{"role": "user", "content": "What is the capital of Portugal?"}]
HARD = [{"role": "user", "content": HARD_ASKS[0]}]


def assert_books_match(gateway, facts, *, tier, surface, streamed, user="ada"):
    """The client's figures, the ledger's row and the balance must be the same story."""
    charge = gateway.charge(facts["charge"])
    assert charge["user"] == user
    assert charge["tier"] == facts["tier"] == tier
    assert charge["surface"] == surface
    assert charge["streamed"] is streamed
    assert charge["outcome"] == "ok"
    assert charge["usage_estimated"] is False
    assert charge["input_tokens"] > 0
    assert charge["output_tokens"] > 0
    assert charge["cost_total"] == Decimal(facts["cost"]) == charge["settled"]
    assert charge["model"] == facts["model"]
    if tier == "local":
        assert charge["cost_total"] == 0
        assert charge["baseline_cost"] > 0
    else:
        assert charge["cost_total"] > 0
        assert charge["model"].endswith("(stand-in)")
        assert charge["stand_in"] is True
    return charge


def header_facts(headers):
    return {k.removeprefix("x-farthing-"): v for k, v in headers.items() if k.startswith("x-farthing-")}


@pytest.mark.parametrize(("messages", "tier", "grade"), [(EASY, "local", "LOW"), (HARD, "strong", "HIGH")])
def test_chat_in_one_piece(gateway, messages, tier, grade):
    raw = gateway.openai("ada").chat.completions.with_raw_response.create(
        model="auto", messages=messages, max_tokens=12
    )
    assert raw.parse().choices[0].message.content
    facts = header_facts(raw.headers)
    assert facts["grade"] == grade
    assert ("stand-in" in raw.headers["x-litellm-model-name"]) == (tier != "local"), "LiteLLM's header, too"
    assert raw.parse().usage.completion_tokens <= 12, "the router must leave the client's cap alone"
    charge = assert_books_match(gateway, facts, tier=tier, surface="chat", streamed=False)
    assert charge["output_tokens"] == raw.parse().usage.completion_tokens
    assert charge["input_tokens"] == raw.parse().usage.prompt_tokens


@pytest.mark.parametrize("wants_usage", [True, False])
def test_chat_streamed(gateway, wants_usage):
    more = {"stream_options": {"include_usage": True}} if wants_usage else {}
    chunks = list(
        gateway.openai("ada").chat.completions.create(
            model="auto", messages=HARD, max_tokens=12, stream=True, **more
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == (1 if wants_usage else 0), "usage is for the clients that asked"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    facts = chunks[-1].model_extra["farthing"]
    charge = assert_books_match(gateway, facts, tier="strong", surface="chat", streamed=True)
    if wants_usage:
        assert charge["output_tokens"] == usages[0].completion_tokens


def test_chat_streamed_tells_held_in_its_headers(gateway):
    raw = gateway.openai("ada").chat.completions.with_raw_response.create(
        model="strong", messages=EASY, max_tokens=500, stream=True
    )
    facts = header_facts(raw.headers)
    assert Decimal(facts["held"]) > 0
    assert "cost" not in facts
    settled = list(raw.parse())[-1].model_extra["farthing"]
    assert Decimal(settled["cost"]) * 1000 < Decimal(facts["held"]), "a credit is 0.001 USD"
    assert Decimal(settled["balance"]) > Decimal(facts["balance"]), "what was held too much is back"


@pytest.mark.parametrize(("task", "tier"), [(EASY, "local"), (HARD, "strong")])
def test_responses_in_one_piece(gateway, task, tier):
    raw = gateway.openai("ada").responses.with_raw_response.create(
        model="auto", input=task[0]["content"], max_output_tokens=20
    )
    assert raw.parse().output_text
    facts = header_facts(raw.headers)
    charge = assert_books_match(gateway, facts, tier=tier, surface="responses", streamed=False)
    assert charge["output_tokens"] == raw.parse().usage.output_tokens


@pytest.mark.parametrize(("task", "tier"), [(EASY, "local"), (HARD, "strong")])
def test_responses_streamed(gateway, task, tier):
    events = list(
        gateway.openai("ada").responses.create(
            model="auto", input=task[0]["content"], max_output_tokens=20, stream=True
        )
    )
    assert any(event.type == "response.output_text.delta" for event in events)
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    facts = last.model_extra["farthing"]
    charge = assert_books_match(gateway, facts, tier=tier, surface="responses", streamed=True)
    assert charge["output_tokens"] == last.response.usage.output_tokens


@pytest.mark.parametrize(("task", "tier"), [(EASY, "local"), (HARD, "strong")])
def test_messages_in_one_piece(gateway, task, tier):
    raw = gateway.anthropic("ada").messages.with_raw_response.create(
        model="auto", messages=task, max_tokens=20
    )
    message = raw.parse()
    assert message.content[0].text
    facts = header_facts(raw.headers)
    charge = assert_books_match(gateway, facts, tier=tier, surface="messages", streamed=False)
    assert charge["output_tokens"] == message.usage.output_tokens


@pytest.mark.parametrize(("task", "tier"), [(EASY, "local"), (HARD, "strong")])
def test_messages_streamed(gateway, task, tier):
    events = list(
        gateway.anthropic("ada").messages.create(model="auto", messages=task, max_tokens=20, stream=True)
    )
    assert events[0].type == "message_start"
    assert events[-1].type == "message_stop"
    assert any(event.type == "content_block_delta" for event in events)
    facts = events[-1].model_extra["farthing"]
    charge = assert_books_match(gateway, facts, tier=tier, surface="messages", streamed=True)
    (delta,) = [event for event in events if event.type == "message_delta"]
    assert charge["output_tokens"] == delta.usage.output_tokens


def test_a_tool_call_comes_back_and_its_result_is_taken(gateway):
    client = gateway.openai("ada")
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    history = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    first = client.chat.completions.create(
        model="auto", messages=history, tools=[tool], tool_choice="required", max_tokens=60
    )
    (call,) = first.choices[0].message.tool_calls[:1]
    assert call.function.name == "get_weather"
    history += [
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees, sunny"},
    ]
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=history, tools=[tool], max_tokens=12
    )
    charge = gateway.charge(header_facts(raw.headers)["charge"])
    assert charge["session_step"] == 2


def test_the_steps_of_a_conversation_share_a_session(gateway):
    history = [{"role": "user", "content": "Name a river in Portugal, conversation 7."}]
    sessions = []
    for step in (1, 2, 3):
        raw = gateway.openai("ada").chat.completions.with_raw_response.create(
            model="auto", messages=history, max_tokens=5
        )
        charge = gateway.charge(header_facts(raw.headers)["charge"])
        assert charge["session_step"] == step
        sessions.append(charge["session_id"])
        history += [
            {"role": "assistant", "content": raw.parse().choices[0].message.content},
            {"role": "user", "content": "Another one."},
        ]
    assert len(set(sessions)) == 1
