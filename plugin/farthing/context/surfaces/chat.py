"""Messages of OpenAI's chat completions, and what LiteLLM adds to them."""

from collections.abc import Mapping
from typing import Any

from farthing.context.items import (
    Count,
    Item,
    Kind,
    NotUnderstoodError,
    ToolCall,
    ToolResult,
    arguments_of,
    parts_of,
    required,
    texts_of,
    type_of,
)

_ROLES: dict[object, Kind] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_RUN_BY_CLAUDE = "srvtoolu_"
"""LiteLLM shows the tools that Claude runs itself as calls with such ids; no message answers them."""


def read(message: Mapping[str, Any], count: Count) -> Item:
    """Return what a message is. Raises `NotUnderstoodError`."""
    role = message.get("role")
    kind = _ROLES.get(role) if isinstance(role, str) else None
    if kind is None:
        raise NotUnderstoodError("a role that is not known")
    parts = parts_of(message.get("content"))
    if any(type_of(part).endswith(("_use", "_result")) for part in parts):
        raise NotUnderstoodError("another surface's tool parts in a chat message")
    texts = texts_of(parts)
    if kind == "tool":
        call_id = required(message, *(("tool_call_id",) if role == "tool" else ("tool_call_id", "name")))
        text = "\n".join(texts)
        return Item(kind, text, results=(ToolResult(call_id, text, count(text)),), closes=(call_id,))
    if kind != "assistant":
        return Item(kind, "\n".join(texts))
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        texts.append(refusal)
    calls = _calls_of(message)
    texts += [f"{call.name} {call.arguments}" for call in calls]
    return Item(
        kind,
        "\n".join(texts),
        calls=calls,
        opens=tuple(call.id for call in calls if not call.id.startswith(_RUN_BY_CLAUDE)),
        reasons=bool(message.get("thinking_blocks") or message.get("reasoning_content"))
        or any(type_of(part) in ("thinking", "redacted_thinking") for part in parts),
    )


def _calls_of(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = [_call(call) for call in parts_of(message.get("tool_calls"))]
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):  # its result has no id, only the name
        name = required(legacy, "name")
        calls.append(ToolCall(name, name, arguments_of(legacy.get("arguments"))))
    return tuple(calls)


def _call(call: Mapping[str, Any]) -> ToolCall:
    for name, arguments in (("function", "arguments"), ("custom", "input")):
        called = call.get(name)
        if isinstance(called, Mapping):
            return ToolCall(
                required(call, "id"), required(called, "name"), arguments_of(called.get(arguments))
            )
    raise NotUnderstoodError("a tool call of a kind that is not known")
