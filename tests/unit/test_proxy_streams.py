"""Streams on their way out: nothing lost, nothing delayed but the end, settled however they end."""

import json
from types import SimpleNamespace

import pytest

from farthing.proxy.calls import Call
from farthing.proxy.policy import Policy
from farthing.proxy.streams import metered
from farthing.settings import Settings
from farthing.telemetry import Account, Usage


class RecordingMeter:
    """Stands for the meter: notes how a stream was ended."""

    def __init__(self):
        self.ended = []

    async def settle(self, call, attempt, usage, outcome="ok"):
        if not attempt.ended:
            attempt.ended = True
            self.ended.append((outcome, usage, "".join(attempt.answered)))

    async def fail(self, call, attempt, reason):
        self.ended.append(("failed", reason, "".join(attempt.answered)))


def call_of(surface, receipt=True):
    deployment = SimpleNamespace(tier="fast", label="gpt-5-mini")
    attempt = SimpleNamespace(
        id="c",
        ended=False,
        answered=[],
        answered_ns=0,
        deployment=deployment,
        held=5,
        available=7,
        charge=None,
    )
    policy = Policy(stream_receipt=receipt)
    call = Call(Account("k", "ada", "research", ""), surface, None, {}, attempt=attempt, policy=policy)
    call.wants_usage = False
    return call


def chunk(text=None, finish=None, usage=None):
    delta = SimpleNamespace(content=text, reasoning_content=None, tool_calls=None)
    return SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=finish)], usage=usage)


async def stream_of(items):
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


async def run(surface, items, receipt=True):
    meter = RecordingMeter()
    stream = metered(meter, call_of(surface, receipt), stream_of(items), Settings())
    return [item async for item in stream], meter.ended


USAGE = {"prompt_tokens": 9, "completion_tokens": 2}


async def test_chat_hides_the_usage_nobody_asked_for_and_stamps_the_last_chunk():
    items = [chunk("a"), chunk("b"), chunk(finish="stop"), chunk(usage=USAGE)]
    out, ended = await run("chat", items)
    assert out == items[:3]
    assert out[-1].farthing["tier"] == "fast"
    assert ended == [("ok", Usage(9, 2), "ab")]


@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
async def test_a_strict_client_gets_the_events_as_the_model_sent_them(surface):
    stop = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    items = {
        "chat": [chunk("a"), chunk(finish="stop")],
        "responses": [SimpleNamespace(type="response.completed", response=SimpleNamespace(usage=USAGE))],
        "messages": [stop],
    }[surface]
    out, ended = await run(surface, items, receipt=False)
    assert out == items
    assert not any(hasattr(item, "farthing") for item in out)
    assert len(ended) == 1


async def test_chat_with_two_answers_does_not_hold_the_second_back():
    items = [chunk("a"), chunk(finish="stop"), chunk("b"), chunk(finish="stop")]
    out, _ = await run("chat", items)
    assert out == items
    assert not hasattr(items[1], "farthing")


@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
async def test_a_stream_that_ends_without_its_end_is_settled_for_what_came(surface):
    items = {
        "chat": [chunk("a")],
        "responses": [SimpleNamespace(type="response.output_text.delta", delta="a")],
        "messages": [b'data: {"type": "content_block_delta", "delta": {"text": "a"}}\n\n'],
    }[surface]
    out, ended = await run(surface, items)
    assert out == items
    assert ended == [("ok", None, "a")]


async def test_an_error_in_mid_stream_is_a_failed_attempt_and_is_passed_on():
    meter = RecordingMeter()
    with pytest.raises(RuntimeError):
        async for _ in metered(
            meter, call_of("chat"), stream_of([chunk("a"), RuntimeError("provider")]), Settings()
        ):
            pass
    assert meter.ended == [("failed", "RuntimeError", "a")]


async def test_a_client_that_hangs_up_settles_as_cancelled():
    meter = RecordingMeter()
    stream = metered(meter, call_of("chat"), stream_of([chunk("a"), chunk("b")]), Settings())
    assert (await anext(stream)).choices[0].delta.content == "a"
    await stream.aclose()
    assert meter.ended == [("cancelled", None, "a")]


async def test_messages_cut_anywhere_in_bytes_are_whole_again():
    usage = {"input_tokens": 3, "cache_read_input_tokens": 6, "output_tokens": 1}
    events = [
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Olá"}},
        {"type": "message_delta", "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    ]
    wire = b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)
    for size in (1, 7, 1000):
        pieces = [wire[i : i + size] for i in range(0, len(wire), size)]
        out, ended = await run("messages", pieces)
        lines = b"".join(out).decode().splitlines()
        told = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        assert [event["type"] for event in told] == [event["type"] for event in events]
        assert told[-1]["farthing"]["model"] == "gpt-5-mini"
        assert told[:3] == events[:3]
        assert ended == [("ok", Usage(9, 4, cache_read=6), "Olá")]
