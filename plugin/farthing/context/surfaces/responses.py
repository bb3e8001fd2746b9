"""Items of OpenAI's Responses API: messages, and calls, results and reasoning as items of their own."""

from collections.abc import Callable, Mapping
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
}
_CALLS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
    "computer_call": "action",
}
"""Calls that the client answers, and the field that says what is asked."""
_RUN_BY_THE_PROVIDER = {
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
}


def read(item: Mapping[str, Any], count: Count) -> Item:
    """Return what an item is. Raises `NotUnderstoodError`.

    References to stored items and what the provider compacted are not understood: their size is unknown.
    """
    kind = type_of(item)
    if kind in ("", "message"):
        return _message(item)
    if kind in _CALLS:
        return _call(item, kind)
    if kind.removesuffix("_output") in _CALLS and kind.endswith("_output"):
        return _output(item, count)
    if kind in _RUN_BY_THE_PROVIDER:
        return Item("assistant", _told_by_the_provider(item))
    other = _OTHERS.get(kind)
    if other is None:
        raise NotUnderstoodError("an item of a type that is not known")
    return other(item)


def _message(item: Mapping[str, Any]) -> Item:
    role = item.get("role")
    kind = _ROLES.get(role) if isinstance(role, str) else None
    if kind is None:
        raise NotUnderstoodError("a role that is not known")
    return Item(kind, "\n".join(texts_of(parts_of(item.get("content")))))


def _call(item: Mapping[str, Any], kind: str) -> Item:
    asked = arguments_of(item.get(_CALLS[kind]))
    name = required(item, "name") if kind in ("function_call", "custom_tool_call") else kind
    call = ToolCall(required(item, "call_id", "id"), name, asked)
    return Item("assistant", f"{name} {asked}", calls=(call,), opens=(call.id,))


def _output(item: Mapping[str, Any], count: Count) -> Item:
    call_id, output = required(item, "call_id", "id"), item.get("output")
    if isinstance(output, Mapping):  # a screenshot
        output = (output,)
    parts = parts_of(output)
    texts = texts_of(parts)
    text = "\n".join(texts)
    for part in parts:  # of a shell: to be read, but to be sent back in this form
        texts += [said for name in ("stdout", "stderr") if isinstance(said := part.get(name), str) and said]
    result = ToolResult(call_id, text, count(text))
    return Item("tool", "\n".join(texts), results=(result,), closes=(call_id,))


def _told_by_the_provider(item: Mapping[str, Any]) -> str:
    texts = [item.get(name) for name in ("name", "arguments", "code", "output")]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _reasoning(item: Mapping[str, Any]) -> Item:
    return Item("assistant", "", reasons=True)


def _approval_request(item: Mapping[str, Any]) -> Item:
    text = f"{required(item, 'name')} {arguments_of(item.get('arguments'))}"
    return Item("assistant", text, opens=(required(item, "id"),))


def _approval(item: Mapping[str, Any]) -> Item:
    return Item("tool", "", closes=(required(item, "approval_request_id"),))


_OTHERS: dict[str, Callable[[Mapping[str, Any]], Item]] = {
    "reasoning": _reasoning,
    "mcp_approval_request": _approval_request,
    "mcp_approval_response": _approval,
}
