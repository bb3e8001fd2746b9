"""The tool ``farthing_recall``: how each surface offers it, which calls of it an answer holds, what follows.

An answer is read as the items that stand for it in the history of its surface, so that it can be sent back
with what was looked up. Pure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farthing.cost import count_text

NAME = "farthing_recall"
MOST_ROUNDS = 3
"""Times that a model is asked again in one request; the last time it is not offered the tool."""
MAX_TOKENS = 16_000
"""Longest text that one answer's calls bring back together, tokens."""
SURFACES = ("chat", "responses", "messages")

_DESCRIPTION = (
    "Parts of this conversation may be shortened and marked with a reference such as ref-3f9a0c51d2. This "
    "returns the original text of a reference. Call it only for what the shortened text leaves out."
)
_PARAMETERS = {
    "type": "object",
    "properties": {
        "reference": {"type": "string", "description": "the reference, as it is written: ref-…"},
        "offset": {
            "type": "integer",
            "description": "character to go on from, if a text is returned in parts",
        },
    },
    "required": ["reference"],
}
_NOT_RUN = "Not run yet: call it again if it is still needed, now that you have what you looked up."
_NO_ROOM = "Not read: there is no room for more. Work with what you have."
_CLIENT_RUN = ("computer", "local_shell", "shell", "apply_patch", "mcp")
"""Beginnings of the types of Responses tools whose calls a client answers in ways of their own."""
CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
"""The types of Responses items that call a client's tool, and of those that answer them."""
_LONGEST_REFERENCE = 40


@dataclass(frozen=True, slots=True)
class Called:
    """A tool that an answer calls, the client's or ours. ``kind`` is the type of a Responses item."""

    id: str
    name: str
    arguments: str
    kind: str = ""


def tools_with(payload: Mapping[str, Any], surface: str) -> list[Any] | None:
    """Return the request's tools with ours at their end; None for a request that it must not be added to.

    That is one whose history the provider stores, that asks for several answers or for JSON, that forbids
    or demands a tool, or has one of our name.
    """
    tools = payload.get("tools")
    tools = [] if tools is None else tools
    stored = any(payload.get(name) for name in ("previous_response_id", "conversation", "prompt"))
    history = payload.get("input" if surface == "responses" else "messages")
    if (
        surface not in SURFACES
        or stored
        or not isinstance(history, list | str)
        or not isinstance(tools, list)
    ):
        return None
    choice = payload.get("tool_choice")
    choice = choice.get("type") if isinstance(choice, Mapping) else choice
    formats = payload.get("response_format") or _field(payload.get("text"), "format")
    if choice not in (None, "auto") or payload.get("functions") or (payload.get("n") or 1) != 1:
        return None
    if formats and _field(formats, "type") != "text":
        return None
    for tool in tools:
        if _tool_name(tool) == NAME or str(_field(tool, "type")).startswith(_CLIENT_RUN):
            return None
    return [*tools, definition(surface)]


def definition(surface: str) -> dict[str, Any]:
    """Return the tool as a surface writes tools."""
    tool: dict[str, Any] = {"name": NAME, "description": _DESCRIPTION}
    if surface == "messages":
        return tool | {"input_schema": _PARAMETERS}
    tool |= {"parameters": _PARAMETERS}
    return {"type": "function", **tool} if surface == "responses" else {"type": "function", "function": tool}


def withdrawn(payload: Mapping[str, Any], surface: str) -> dict[str, Any]:
    """Return the fields of a request that no longer lets the model call the tool.

    If it is the only one it stays, forbidden: providers refuse a history with calls and no tools.
    """
    tools = [tool for tool in payload.get("tools") or [] if _tool_name(tool) != NAME]
    if tools:
        return {"tools": tools}
    return {"tool_choice": {"type": "none"} if surface == "messages" else "none"}


def _tool_name(tool: Any) -> Any:
    return _field(tool, "name") or _field(_field(tool, "function"), "name")


# Reading an answer


def items_of(answer: Any, surface: str) -> list[dict[str, Any]]:
    """Return the items that stand for an answer (a response, as an object or dict) in a history."""
    if surface == "chat":
        choices = _plain(answer).get("choices") or [{}]
        return [_chat_item(choices[0].get("message") or {})]
    if surface == "messages":
        blocks = [_plain(block) for block in _plain(answer).get("content") or []]
        return [{"role": "assistant", "content": [block for block in blocks if not _blank(block)]}]
    return [_plain(item) for item in _plain(answer).get("output") or []]


def _plain(value: Any) -> dict[str, Any]:
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_none=True, mode="json")
    return value if isinstance(value, dict) else {}


def _chat_item(message: Mapping[str, Any]) -> dict[str, Any]:
    item = {"role": "assistant", "content": message.get("content")}
    # What some providers want to see again, as they signed it.
    item |= {name: message[name] for name in ("reasoning_content", "thinking_blocks") if message.get(name)}
    calls = message.get("tool_calls") or []
    if calls:
        item["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
    return item


def _blank(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "text" and not (block.get("text") or "").strip()


def calls_in(items: Sequence[Mapping[str, Any]], surface: str) -> list[Called]:
    """Return the calls of tools in an answer's items, in order."""
    return [called for part in _parts(items, surface) if (called := _called(part))]


def recalls_in(items: Sequence[Mapping[str, Any]], surface: str) -> list[Called]:
    """Return the calls of our tool in an answer's items."""
    return [called for called in calls_in(items, surface) if called.name == NAME]


def _parts(items: Sequence[Mapping[str, Any]], surface: str) -> Iterator[Mapping[str, Any]]:
    for item in items:
        if surface == "responses":
            yield item
        elif surface == "messages":
            yield from item["content"]
        else:
            yield from item.get("tool_calls") or []


def _called(part: Mapping[str, Any]) -> Called | None:
    kind = part.get("type") or "function"
    if kind == "tool_use":
        return Called(str(part.get("id")), str(part.get("name")), json.dumps(part.get("input")))
    if kind in CALLS:
        text = part.get("arguments") or part.get("input") or ""
        return Called(str(part.get("call_id")), str(part.get("name")), str(text), kind)
    inner = part.get(kind) if kind in ("function", "custom") else None
    if isinstance(inner, Mapping):
        text = inner.get("arguments") or inner.get("input") or ""
        return Called(str(part.get("id")), str(inner.get("name")), str(text))
    return None


def said_before(items: Sequence[dict[str, Any]], surface: str) -> list[dict[str, Any]]:
    """Return what a client is shown of an answer that recalls: its text before the first such call.

    Reasoning goes with what follows it; on chat, where it is one text, it is left out.
    """
    if surface == "chat":
        text = items[0].get("content")
        return [{"content": text}] if isinstance(text, str) and text.strip() else []
    shown: list[dict[str, Any]] = []
    reasoning: list[dict[str, Any]] = []
    for part in _parts(items, surface):
        called = _called(part)
        if called and called.name == NAME:
            break
        if called:
            reasoning = []
        elif part.get("type") in ("reasoning", "thinking", "redacted_thinking"):
            reasoning.append(dict(part))
        else:
            shown += [*reasoning, dict(part)]
            reasoning = []
    return shown


def finished(answer: Any, surface: str, said: Sequence[Any]) -> Any:
    """Return an answer as its client sees it: ``said`` in the rounds before it, and none of our calls.

    ``said`` is what `said_before` returned, round by round. An answer that is fine is returned as it is,
    another as a copy.
    """
    if surface == "chat":
        return _finished_chat(answer, said)
    name = "output" if surface == "responses" else "content"
    parts = _field(answer, name) or []
    own = [part for part in parts if _field(part, "name") != NAME]
    changes: dict[str, Any] = {}
    if said or len(own) < len(parts):
        changes[name] = [*said, *own]
    calls = any(_field(part, "type") == "tool_use" for part in own)
    if _field(answer, "stop_reason") == "tool_use" and not calls:
        changes["stop_reason"] = "end_turn"
    tools = _field(answer, "tools")
    if isinstance(tools, list) and any(_field(tool, "name") == NAME for tool in tools):
        changes["tools"] = [tool for tool in tools if _field(tool, "name") != NAME]
    return _changed(answer, changes)


def _finished_chat(answer: Any, said: Sequence[Any]) -> Any:
    choice = next(iter(_field(answer, "choices") or ()), None)
    message = _field(choice, "message")
    calls = _field(message, "tool_calls") or []
    own = [call for call in calls if _field(_field(call, "function"), "name") != NAME]
    changes: dict[str, Any] = {}
    texts = [_field(part, "content") for part in [*said, message]]
    if said:
        changes["content"] = "\n\n".join(text for text in texts if text)
    if len(own) < len(calls):
        changes["tool_calls"] = own or None
    if not changes:
        return answer
    choice_changes: dict[str, Any] = {"message": _changed(message, changes)}
    if not own and _field(choice, "finish_reason") == "tool_calls":
        choice_changes["finish_reason"] = "stop"
    return _changed(answer, {"choices": [_changed(choice, choice_changes)]})


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _changed(value: Any, changes: dict[str, Any]) -> Any:
    if not changes:
        return value
    return {**value, **changes} if isinstance(value, Mapping) else value.model_copy(update=changes)


# Answering the calls


def wanted(arguments: str) -> tuple[str, int]:
    """Return the reference and offset that a call's arguments ask for; no reference: an empty one."""
    try:
        asked = json.loads(arguments)
        offset = asked.get("offset") or 0
        reference = asked["reference"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", 0
    if not isinstance(reference, str) or len(reference) > _LONGEST_REFERENCE:
        return "", 0
    return reference.strip(), max(0, offset) if type(offset) is int else 0


def excerpt(reference: str, text: str | None, offset: int, max_tokens: int) -> str:
    """Return what a call is answered: ``text`` from character ``offset`` on, as far as ``max_tokens`` go.

    ``text`` is None if nothing is kept under the reference.
    """
    if text is None:
        named = json.dumps(reference, ensure_ascii=False) if reference else "that reference"
        return f"Nothing is kept under {named} (any more). Work with what you have, or ask the user."
    if max_tokens <= 0:
        return _NO_ROOM
    piece = text[offset : offset + 6 * max_tokens]  # more characters than a token has, in the long run
    while (tokens := count_text(piece)) > max_tokens:
        piece = _cut(piece, min(len(piece) - 1, len(piece) * max_tokens // tokens))
    end = offset + len(piece)
    if end >= len(text):
        return piece if piece else f"The text of {reference} ends at offset {len(text)}."
    if not piece:
        return _NO_ROOM
    return f"{piece}\n[{reference} has {len(text)} characters; continued at offset {end}]"


def _cut(text: str, length: int) -> str:
    """Return the beginning of ``text``, at most ``length`` long, which tears no word if that costs little."""
    blank = max(text.rfind("\n", 0, length), text.rfind(" ", 0, length))
    return text[: blank + 1 if blank >= length * 3 // 4 else length]


def follow_up(
    payload: Mapping[str, Any], surface: str, items: Sequence[dict[str, Any]], results: Iterable[str]
) -> dict[str, Any]:
    """Return the history (``messages`` or ``input``) that asks the model to go on from its answer.

    ``results`` are what our calls are answered, in order. Others are answered that they were not run.
    """
    looked_up = iter(results)
    answers = [
        (called, next(looked_up, _NO_ROOM) if called.name == NAME else _NOT_RUN)
        for called in calls_in(items, surface)
    ]
    items = [_sound(item, surface) for item in items]
    if surface == "chat":
        told = [{"role": "tool", "tool_call_id": called.id, "content": text} for called, text in answers]
        return {"messages": [*payload["messages"], *items, *told]}
    if surface == "messages":
        blocks = [
            {"type": "tool_result", "tool_use_id": called.id, "content": text} for called, text in answers
        ]
        return {"messages": [*payload["messages"], *items, {"role": "user", "content": blocks}]}
    history = payload["input"]
    history = [{"role": "user", "content": history}] if isinstance(history, str) else history
    if payload.get("store") is False:  # the provider knows its reasoning by what it encrypted alone
        items = [item for item in items if item.get("type") != "reasoning" or item.get("encrypted_content")]
    outputs = [{"type": CALLS[called.kind], "call_id": called.id, "output": text} for called, text in answers]
    return {"input": [*history, *items, *outputs]}


def _sound(item: dict[str, Any], surface: str) -> dict[str, Any]:
    """Return an item whose calls' arguments are JSON: those of an answer that was cut off may not be."""
    if surface == "responses" and item.get("type") == "function_call":
        return item | {"arguments": _json(item.get("arguments"))}
    if surface == "chat" and item.get("tool_calls"):
        return item | {"tool_calls": [_sound_call(call) for call in item["tool_calls"]]}
    return item


def _sound_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    return call | {"function": function | {"arguments": _json(function.get("arguments"))}}


def _json(arguments: Any) -> str:
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except (ValueError, TypeError, RecursionError):
        return "{}"
