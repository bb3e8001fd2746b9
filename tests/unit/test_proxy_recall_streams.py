"""Streams of several rounds as one, whatever a model says, thinks, calls and looks up."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litellm.types.llms.openai import GenericEvent, ResponsesAPIResponse
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from farthing.context.recall import NAME
from farthing.proxy.recall_streams import splice_of
from farthing.proxy.usage import field

# A part of an answer is a kind and its text: what is said, thought, asked of the client's tool, or recalled.

parts = st.one_of(
    st.tuples(st.just("says"), st.text("ab c", max_size=12)),
    st.tuples(st.just("thinks"), st.text("xyz", max_size=6)),
    st.tuples(st.just("calls"), st.just('{"place": "Paris"}')),
    st.tuples(st.just("recalls"), st.just('{"reference": "ref-1"}')),
)
talks = st.lists(st.lists(parts, max_size=5), min_size=1, max_size=4)
sizes = st.integers(1, 30)
RECALL = ("recalls", '{"reference": "ref-1"}')
CALL = ("calls", '{"place": "Paris"}')


def pieces(text, size):
    return [text[at : at + size] for at in range(0, len(text), size)]


def expected(rounds, *, calls_wait=False):
    """Return the parts that a client is to see, and the rounds that were asked."""
    seen = []
    for asked, answer in enumerate(rounds, 1):
        kinds = [kind for kind, _ in answer]
        last = asked == len(rounds)
        decides = next((at for at, kind in enumerate(kinds) if kind in ("calls", "recalls")), None)
        recalls = not last and "recalls" in kinds and (calls_wait or kinds[decides] == "recalls")
        shown, thoughts = [], []
        for part in answer[: decides if recalls else None]:
            if part[0] == "thinks" or part == ("says", ""):
                thoughts.append(part)
            elif part[0] != "recalls":
                shown += [*thoughts, part]
                thoughts = []
        seen += shown if recalls else [*shown, *thoughts]
        if not recalls:
            return seen, asked
    return seen, len(rounds)


def play(splice, rounds, render):
    """Play the rounds through a splice as the proxy does; return what goes out and the answers sent back."""
    out, back = [], []
    for asked, answer in enumerate(rounds, 1):
        splice.begin(may_recall=asked < len(rounds))
        for item in render(answer, asked):
            out += splice.take(item)
        if not splice.recalls:
            break
        back.append(splice.items())
    return out + splice.end(), back


# Messages


def frames(answer, asked, size):
    def frame(kind, **more):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()

    yield frame("message_start", message={"id": f"msg_{asked}", "content": []})
    yield frame("ping")
    for at, (kind, text) in enumerate(answer):
        name = {"calls": "get_weather", "recalls": NAME}.get(kind)
        if name:
            block = {"type": "tool_use", "id": f"t{asked}{at}", "name": name, "input": {}}
        else:
            word = "text" if kind == "says" else "thinking"
            block = {"type": word, word: ""}
        yield frame("content_block_start", index=at, content_block=block)
        delta, key = {"says": ("text_delta", "text"), "thinks": ("thinking_delta", "thinking")}.get(
            kind, ("input_json_delta", "partial_json")
        )
        for piece in pieces(text, size):
            yield frame("content_block_delta", index=at, delta={"type": delta, key: piece})
        if kind == "thinks":
            yield frame("content_block_delta", index=at, delta={"type": "signature_delta", "signature": text})
        yield frame("content_block_stop", index=at)
    stop = "tool_use" if any(kind in ("calls", "recalls") for kind, _ in answer) else "end_turn"
    yield frame("message_delta", delta={"stop_reason": stop}, usage={"output_tokens": 1})
    yield frame("message_stop")


def read_messages(out):
    """Read a stream as strictly as a client may; return its parts and why it stopped."""
    events = [json.loads(item.split(b"data: ")[1]) for item in out]
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_delta") == kinds.count("message_stop") == 1
    blocks, is_open, stop = [], False, None
    for event in events:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            is_open, block = True, event["content_block"]
            blocks.append([block["type"], block.get("name", ""), ""])
        elif event["type"] == "content_block_delta":
            assert is_open
            assert event["index"] == len(blocks) - 1
            delta = event["delta"]
            blocks[-1][2] += delta.get("text") or delta.get("thinking") or delta.get("partial_json") or ""
        elif event["type"] == "content_block_stop":
            assert is_open
            assert event["index"] == len(blocks) - 1
            is_open = False
        elif event["type"] == "message_delta":
            stop = event["delta"]["stop_reason"]
    kinds = {"text": "says", "thinking": "thinks", "tool_use": "calls"}
    assert all(name != NAME for _, name, _ in blocks)
    return [(kinds[kind], text) for kind, _, text in blocks], stop


@settings(deadline=None, max_examples=60)
@given(talks, sizes)
def test_messages(rounds, size):
    out, back = play(splice_of("messages", {}), rounds, lambda answer, asked: frames(answer, asked, size))
    shown, asked = expected(rounds)
    seen, stop = read_messages(out)
    assert seen == shown
    # Each block begins with its own round's stop reason; only the last round's counts.
    assert stop == ("tool_use" if any(kind == "calls" for kind, _ in shown) else "end_turn")
    assert len(back) == asked - 1
    for answer, (item,) in zip(rounds, back, strict=False):
        told = [
            (block.get("text") or block.get("thinking") or json.dumps(block.get("input")), block.get("name"))
            for block in item["content"]
        ]
        names = {"calls": "get_weather", "recalls": NAME}
        kept = [(kind, text) for kind, text in answer if kind != "says" or text.strip()]
        assert told == [(text or "null", names.get(kind)) for kind, text in kept]
        signed = [
            block["signature"]
            for block in item["content"]
            if block["type"] == "thinking" and block["thinking"]
        ]
        assert signed == [text for kind, text in answer if kind == "thinks" and text]


# Responses


def events(answer, asked, size):
    numbers = iter(range(10_000))

    def event(kind, **more):
        return GenericEvent(type=kind, sequence_number=next(numbers), **more)

    def response(output):
        return ResponsesAPIResponse(id=f"resp_{asked}", created_at=1, output=output, tools=[{"name": NAME}])

    yield event("response.created", response=response([]))
    output = []
    for at, (kind, text) in enumerate(answer):
        item = {"id": f"{kind}_{asked}_{at}"}
        if kind == "says":
            item |= {"type": "message", "content": [{"type": "output_text", "text": text}]}
        elif kind == "thinks":
            item |= {"type": "reasoning", "encrypted_content": text}
        else:
            name = NAME if kind == "recalls" else "get_weather"
            item |= {"type": "function_call", "call_id": f"c{asked}{at}", "name": name, "arguments": text}
        delta = {"says": "output_text", "thinks": "reasoning_summary_text"}.get(
            kind, "function_call_arguments"
        )
        yield event("response.output_item.added", output_index=at, item=item)
        for piece in pieces(text, size):
            yield event(f"response.{delta}.delta", output_index=at, item_id=item["id"], delta=piece)
        yield event("response.output_item.done", output_index=at, item=item)
        output.append(item)
    yield event("response.completed", response=response(output))


def read_responses(out):
    assert [event.sequence_number for event in out] == list(range(len(out)))
    assert (out[0].type, out[-1].type) == ("response.created", "response.completed")
    assert [event.type for event in out].count("response.created") == 1
    items, is_open = [], False
    for event in out[1:-1]:
        if event.type == "response.output_item.added":
            assert not is_open
            assert event.output_index == len(items)
            is_open = True
            items.append([event.item, ""])
        else:
            assert is_open
            assert event.output_index == len(items) - 1
            if event.type == "response.output_item.done":
                is_open = False
            else:
                items[-1][1] += event.delta
    assert [field(item, "id") for item in out[-1].response.output] == [item["id"] for item, _ in items]
    assert not any(
        field(tool, "name") == NAME for event in (out[0], out[-1]) for tool in event.response.tools
    )
    return [(item["id"].split("_")[0], text) for item, text in items]


@settings(deadline=None, max_examples=60)
@given(talks, sizes, st.sampled_from([True, False, None]))
def test_responses(rounds, size, store):
    splice = splice_of("responses", {} if store is None else {"store": store})
    out, back = play(splice, rounds, lambda answer, asked: events(answer, asked, size))
    shown, asked = expected(rounds, calls_wait=store is not False)
    assert read_responses(out) == shown
    assert out[-1].response.id == f"resp_{asked}", "the one that a later request may go on from"
    assert len(back) == asked - 1
    for answer, items in zip(rounds, back, strict=False):
        assert [item["id"].split("_")[0] for item in items] == [kind for kind, _ in answer]


# Chat


def chunk(asked, finish=None, **delta):
    choice = StreamingChoices(index=0, delta=Delta(**delta), finish_reason=finish)
    return ModelResponseStream(id=f"chat-{asked}", model="gpt-5", choices=[choice])


def chunks(answer, asked, size):
    yield chunk(asked, role="assistant", content="")
    for text in (text for kind, text in answer if kind == "says"):
        for piece in pieces(text, size):
            yield chunk(asked, content=piece)
    calls = [(kind, text) for kind, text in answer if kind in ("calls", "recalls")]
    for at, (kind, text) in enumerate(calls):
        name = NAME if kind == "recalls" else "get_weather"
        start = {"index": at, "id": f"c{asked}{at}", "type": "function"}
        yield chunk(asked, tool_calls=[start | {"function": {"name": name, "arguments": ""}}])
        for piece in pieces(text, size):
            yield chunk(asked, tool_calls=[{"index": at, "function": {"arguments": piece}}])
    yield chunk(asked, finish="tool_calls" if calls else "stop")


def read_chat(out):
    assert len({item.id for item in out}) == 1
    roles = [item.choices[0].delta.role for item in out if item.choices[0].delta.role]
    finishes = [item.choices[0].finish_reason for item in out if item.choices[0].finish_reason]
    assert roles == ["assistant"]
    assert out[-1].choices[0].finish_reason == finishes[0]
    assert len(finishes) == 1
    text, calls = "", []
    for item in out:
        delta = item.choices[0].delta
        text += delta.content or ""
        for call in delta.tool_calls or []:
            if call.function.name:
                assert call.index == len(calls)
                assert call.function.name == "get_weather"
                calls.append("")
            calls[call.index] += call.function.arguments
    return text, calls, finishes[0]


@settings(deadline=None, max_examples=60)
@given(talks, sizes)
def test_chat(rounds, size):
    rounds = [sorted(answer, key=lambda part: part[0] in ("calls", "recalls")) for answer in rounds]
    out, back = play(splice_of("chat", {}), rounds, lambda answer, asked: chunks(answer, asked, size))
    shown, asked = expected(rounds)
    text, calls, finish = read_chat(out)
    said = "".join(text for kind, text in shown if kind == "says")
    assert text.replace("\n\n", "") == said
    assert calls == [text for kind, text in shown if kind == "calls"]
    assert finish == ("tool_calls" if calls else "stop")
    assert len(back) == asked - 1
    for answer, (item,) in zip(rounds, back, strict=False):
        assert (item["content"] or "") == "".join(text for kind, text in answer if kind == "says")
        names = [call["function"]["name"] for call in item["tool_calls"]]
        named = {"calls": "get_weather", "recalls": NAME}
        assert names == [named[kind] for kind, _ in answer if kind in named]


def test_chat_keeps_the_text_of_two_rounds_apart():
    rounds = [[("says", "I look."), RECALL], [("says", "It was "), ("says", "42.")]]
    out, _ = play(splice_of("chat", {}), rounds, lambda answer, asked: chunks(answer, asked, 5))
    assert read_chat(out)[0] == "I look.\n\nIt was 42."


def test_nothing_goes_out_before_it_is_known_that_nothing_is_looked_up():
    renders = {
        "chat": lambda answer: chunks(answer, 1, 5),
        "responses": lambda answer: events(answer, 1, 5),
        "messages": lambda answer: frames(answer, 1, 5),
    }
    for surface, render in renders.items():
        splice = splice_of(surface, {})
        splice.begin(may_recall=True)
        assert [out for item in render([("thinks", "hm"), RECALL, CALL]) for out in splice.take(item)] == []
        assert splice.recalls


def test_text_goes_out_as_it_comes():
    splice = splice_of("chat", {})
    splice.begin(may_recall=True)
    first, second, *_ = chunks([("says", "word")], 1, 5)
    assert splice.take(first) == []
    assert splice.take(second) == [first, second]


@pytest.mark.parametrize("calls", [[RECALL], [RECALL, CALL], [CALL, RECALL]])
def test_a_whole_answer_in_one_chunk(calls):
    """As LiteLLM streams what came in one piece, from its cache for one."""
    made = [
        {
            "index": at,
            "id": f"c{at}",
            "type": "function",
            "function": {"name": NAME if kind == "recalls" else "get_weather", "arguments": text},
        }
        for at, (kind, text) in enumerate(calls)
    ]
    whole = chunk(1, role="assistant", content="I look.", tool_calls=made, finish="tool_calls")
    splice = splice_of("chat", {})
    out, _ = play(
        splice, [[], []], lambda _, asked: [whole] if asked == 1 else chunks([("says", "42")], 2, 5)
    )
    assert read_chat(out) == ("I look.\n\n42", [], "stop")
    assert whole.choices[0].delta.tool_calls, "what LiteLLM logs is left alone"


@pytest.mark.parametrize(
    "frame",
    [
        b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 7}\n\n',
        b'event: error\ndata: {"type": "error", "error": {"message": "overloaded"}}\n\n',
        b"data: [1]\n\n",
        b": comment\n\n",
        {"type": "dict"},
    ],
)
def test_what_is_not_understood_passes(frame):
    splice = splice_of("messages", {})
    splice.begin(may_recall=True)
    assert splice.take(frame) == [frame]
