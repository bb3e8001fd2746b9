"""Messages of Anthropic's Messages API: everything is a block, tool results stand in user messages."""

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

_ROLES: dict[object, Kind] = {"system": "system", "user": "user", "assistant": "assistant"}
_PLAIN = {"text", "image", "document", "search_result", "container_upload"}
_REASONING = {"thinking", "redacted_thinking"}


def read(message: Mapping[str, Any], count: Count) -> Item:
    """Return what a message is. Raises `NotUnderstoodError`.

    A user message that holds nothing but tool results is of the kind ``tool``.
    """
    role = message.get("role")
    kind = _ROLES.get(role) if isinstance(role, str) else None
    if kind is None:
        raise NotUnderstoodError("a role that is not known")
    texts: list[str] = []
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    answered: list[str] = []
    reasons = words = False
    for place, block in enumerate(parts_of(message.get("content"))):
        name = type_of(block)
        if name in _PLAIN:
            texts += _plain_texts(block)
            words = True
        elif name in _REASONING and kind == "assistant":
            reasons = True
        elif name.endswith("tool_use") and kind == "assistant":
            call = ToolCall(required(block, "id"), required(block, "name"), arguments_of(block.get("input")))
            calls.append(call)
            texts.append(f"{call.name} {call.arguments}")
        elif name == "tool_result" and kind == "user":
            inner = parts_of(block.get("content"))
            text = "\n".join(texts_of(inner))
            results.append(ToolResult(required(block, "tool_use_id"), text, count(text), place))
            texts += [text for part in inner for text in _plain_texts(part)]
        elif name.endswith("_tool_result"):  # of a tool that the provider ran: to be sent back as it is
            answered.append(required(block, "tool_use_id"))
        else:
            raise NotUnderstoodError("a block of a type that is not known")
    return Item(
        "tool" if results and not words else kind,
        "\n".join(texts),
        calls=tuple(calls),
        results=tuple(results),
        opens=tuple(call.id for call in calls),
        closes=(*answered, *(result.call_id for result in results)),
        reasons=reasons,
    )


def _plain_texts(block: Mapping[str, Any]) -> list[str]:
    """Return the texts of a block, of a document's or a search result's too if they are given as text."""
    kind, source = type_of(block), block.get("source")
    if kind == "search_result":
        return texts_of(parts_of(block.get("content")))
    if kind == "document" and isinstance(source, Mapping):
        if source.get("type") == "content":
            return texts_of(parts_of(source.get("content")))
        data = source.get("data") if source.get("type") == "text" else None
        return [data] if isinstance(data, str) and data else []
    return texts_of((block,))
