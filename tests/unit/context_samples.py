"""Valid conversations of all three surfaces, as hypothesis strategies, and what makes one valid.

The validators are written apart from the code under test: each says what its provider demands of a history.
"""

import json
from typing import Any

from hypothesis import strategies as st

Payload = dict[str, Any]
SURFACES = ("chat", "responses", "messages")

words = st.sampled_from(
    [
        "ok",
        "refund order 4711",
        "€ 12.50 to Ünal",
        "see a.py, line 7",
        "日本 please",
        "the file " * 30 + "is long",
    ]
)
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBOR" * 40}}
TOOL = {"type": "object", "properties": {"q": {"type": "string"}}}


@st.composite
def loops(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A conversation in no surface's words: asks, the tool steps each led to, and the answers."""
    drawn = []
    ids = iter(range(1000))
    count = draw(st.integers(1, 4))
    for at in range(count):
        steps = [
            {
                "calls": [
                    {
                        "id": f"call_{next(ids)}",
                        "q": draw(words),
                        "result": draw(words),
                        "list": draw(st.booleans()),
                    }
                    for _ in range(draw(st.integers(1, 2)))
                ],
                "says": draw(st.none() | words),
                "thinks": draw(st.booleans()),
                "backwards": draw(st.booleans()),
                "pinned": draw(st.integers(0, 9)),
                "reminder": draw(st.integers(0, 3)) == 0,
            }
            for _ in range(draw(st.integers(0, 3)))
        ]
        drawn.append(
            {
                "ask": draw(words),
                "more": draw(st.none() | words),
                "list": draw(st.booleans()),
                "image": draw(st.integers(0, 5)) == 0,
                "pinned": draw(st.integers(0, 5)) == 0,
                "system": draw(st.integers(0, 4)) == 0,
                "steps": steps,
                # The last answer is what is being asked for.
                "answer": draw(words) if at < count - 1 else None,
                "thinks": draw(st.booleans()),
                "answer_pinned": draw(st.integers(0, 5)) == 0,
            }
        )
    return drawn


def _pin(item: Payload, pinned: bool) -> Payload:
    return {**item, "farthing_pin": True} if pinned else item


def _ask(loop: Payload, text_type: str, image: Payload) -> Any:
    if not (loop["list"] or loop["image"]):
        return loop["ask"]
    return [{"type": text_type, "text": loop["ask"]}, *([image] if loop["image"] else [])]


def chat_payload(drawn: list[dict[str, Any]]) -> Payload:
    """The conversation as a chat completion's request body."""
    messages: list[Payload] = [
        {"role": "system", "content": "You help with orders."},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
    ]
    for loop in drawn:
        messages.append(_pin({"role": "user", "content": _ask(loop, "text", PNG)}, loop["pinned"]))
        if loop["more"]:
            messages.append({"role": "user", "content": loop["more"]})
        for step in loop["steps"]:
            calls = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": "look", "arguments": json.dumps({"q": call["q"]})},
                }
                for call in step["calls"]
            ]
            message: Payload = {"role": "assistant", "content": step["says"], "tool_calls": calls}
            if step["thinks"]:
                message["thinking_blocks"] = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]
            messages.append(_pin(message, step["pinned"] == 0))
            results = [
                _pin(
                    {
                        "role": "tool",
                        "tool_call_id": call["id"],
                        "content": [{"type": "text", "text": call["result"]}, PNG]
                        if call["list"]
                        else call["result"],
                    },
                    step["pinned"] == 1,
                )
                for call in step["calls"]
            ]
            messages += reversed(results) if step["backwards"] else results
        if loop["system"]:
            messages.append({"role": "system", "content": "The shop closes at six."})
        if loop["answer"]:
            messages.append(_pin({"role": "assistant", "content": loop["answer"]}, loop["answer_pinned"]))
    tools = [{"type": "function", "function": {"name": "look", "parameters": TOOL}}]
    return {"model": "m", "messages": messages, "tools": tools}


def responses_payload(drawn: list[dict[str, Any]]) -> Payload:
    """The conversation as a Responses request body."""
    items: list[Payload] = [{"role": "developer", "content": "Be brief."}]
    ids = iter(range(1000))
    image = {"type": "input_image", "image_url": PNG["image_url"]["url"]}

    def thought() -> Payload:
        number = next(ids)
        return {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": f"enc{number}"}

    for loop in drawn:
        items.append(_pin({"role": "user", "content": _ask(loop, "input_text", image)}, loop["pinned"]))
        if loop["more"]:
            items.append({"type": "message", "role": "user", "content": loop["more"]})
        for step in loop["steps"]:
            if step["thinks"]:
                items.append(thought())
            if step["says"]:
                said = [{"type": "output_text", "text": step["says"], "annotations": []}]
                items.append({"type": "message", "role": "assistant", "content": said})
            items += [
                _pin(
                    {
                        "type": "function_call",
                        "call_id": call["id"],
                        "name": "look",
                        "arguments": json.dumps({"q": call["q"]}),
                    },
                    step["pinned"] == 0,
                )
                for call in step["calls"]
            ]
            outputs = [
                {
                    "type": "function_call_output",
                    "call_id": call["id"],
                    "output": [{"type": "input_text", "text": call["result"]}]
                    if call["list"]
                    else call["result"],
                }
                for call in step["calls"]
            ]
            items += reversed(outputs) if step["backwards"] else outputs
        if loop["system"]:
            items.append({"role": "system", "content": "The shop closes at six."})
        if loop["answer"]:
            if loop["thinks"]:
                items.append(thought())
            said = [{"type": "output_text", "text": loop["answer"], "annotations": []}]
            items.append(
                _pin({"type": "message", "role": "assistant", "content": said}, loop["answer_pinned"])
            )
    tools = [{"type": "function", "name": "look", "parameters": TOOL}]
    return {"model": "m", "instructions": "You help with orders.", "input": items, "tools": tools}


def messages_payload(drawn: list[dict[str, Any]]) -> Payload:
    """The conversation as a body of Anthropic's Messages API."""
    messages: list[Payload] = []
    ids = iter(range(1000))
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR" * 40}}

    def thought() -> list[Payload]:
        return [{"type": "thinking", "thinking": "hm", "signature": f"sig{next(ids)}"}]

    for loop in drawn:
        content = _ask(loop, "text", image)
        if loop["more"]:
            content = [*([{"type": "text", "text": content}] if isinstance(content, str) else content)]
            content.append({"type": "text", "text": loop["more"]})
        messages.append(_pin({"role": "user", "content": content}, loop["pinned"]))
        for step in loop["steps"]:
            blocks: list[Payload] = [*(thought() if step["thinks"] else [])]
            if step["says"]:
                blocks.append({"type": "text", "text": step["says"]})
            blocks += [
                {"type": "tool_use", "id": call["id"], "name": "look", "input": {"q": call["q"]}}
                for call in step["calls"]
            ]
            messages.append(_pin({"role": "assistant", "content": blocks}, step["pinned"] == 0))
            results: list[Payload] = [
                {
                    "type": "tool_result",
                    "tool_use_id": call["id"],
                    "content": [{"type": "text", "text": call["result"]}, image]
                    if call["list"]
                    else call["result"],
                    "is_error": step["pinned"] == 2,
                }
                for call in step["calls"]
            ]
            if step["backwards"]:
                results.reverse()
            if step["reminder"]:
                results.append({"type": "text", "text": "Mind the budget."})
            messages.append({"role": "user", "content": results})
        if loop["answer"]:
            blocks = [*(thought() if loop["thinks"] else []), {"type": "text", "text": loop["answer"]}]
            plain = loop["answer"] if not loop["thinks"] and loop["list"] else blocks
            messages.append(_pin({"role": "assistant", "content": plain}, loop["answer_pinned"]))
    system = [{"type": "text", "text": "You help with orders."}]
    tools = [{"name": "look", "input_schema": TOOL}]
    return {"model": "m", "max_tokens": 100, "system": system, "messages": messages, "tools": tools}


_MADE = {"chat": chat_payload, "responses": responses_payload, "messages": messages_payload}
HISTORY = {"chat": "messages", "responses": "input", "messages": "messages"}


def payloads(surface: str) -> st.SearchStrategy[Payload]:
    """Valid request bodies of a surface."""
    return loops().map(_MADE[surface])


def any_payload() -> st.SearchStrategy[tuple[str, Payload]]:
    """Valid request bodies of any surface, each with its surface."""
    return st.sampled_from(SURFACES).flatmap(lambda surface: st.tuples(st.just(surface), payloads(surface)))


def check_valid(surface: str, payload: Payload) -> None:
    """Fail unless a provider would take this history."""
    {"chat": _check_chat, "responses": _check_responses, "messages": _check_messages}[surface](payload)


def _check_chat(payload: Payload) -> None:
    waiting: set[str] = set()
    before = ""
    for message in payload["messages"]:
        role = message["role"]
        if role == "tool":
            assert message["tool_call_id"] in waiting, "a result without its call before it"
            waiting.remove(message["tool_call_id"])
        else:
            assert not waiting, "a call whose results do not follow it"
        if role == "assistant":
            assert before != "assistant", "two answers in a row"
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
            assert waiting or message["content"]
        elif role in ("user", "tool"):
            assert message["content"], "an empty message"
        before = role if role not in ("system", "developer") else before
    assert not waiting
    assert before in ("user", "tool")


def _check_responses(payload: Payload) -> None:
    waiting: set[str] = set()
    led_to_nothing = False
    for item in payload["input"]:
        kind = item.get("type", "message")
        by_model = item.get("role") == "assistant" or kind in ("function_call", "reasoning")
        assert by_model or not led_to_nothing, "reasoning without what it led to"
        led_to_nothing = kind == "reasoning"
        if kind == "function_call":
            waiting.add(item["call_id"])
        elif kind == "function_call_output":
            assert item["call_id"] in waiting, "a result without its call before it"
            waiting.remove(item["call_id"])
        elif kind == "message":
            assert item["content"]
            assert item["role"] == "assistant" or not waiting, "a call whose results do not follow it"
    assert not waiting
    assert not led_to_nothing


def _check_messages(payload: Payload) -> None:
    waiting: set[str] = set()
    role = "assistant"
    for message in payload["messages"]:
        assert message["role"] != role, "roles do not alternate"
        role = message["role"]
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        assert blocks, "an empty message"
        kinds = [block["type"] for block in blocks]
        if role == "user":
            results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            assert len(results) == len(set(results))
            assert set(results) == waiting, "results that are not those of the calls before"
            assert kinds[: len(results)] == ["tool_result"] * len(results), "results stand first"
            waiting = set()
        else:
            assert "tool_result" not in kinds
            assert "thinking" not in kinds[1:], "thinking stands first"
            waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for block in blocks:
            if block["type"] == "text":
                assert block["text"].strip(), "an empty text block"
    assert not waiting
    assert role == "user"
