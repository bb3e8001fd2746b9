"""One item of a history, read: whose it is, what it says, which tools it calls, which results it brings."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Surface = Literal["chat", "responses", "messages"]
Kind = Literal["system", "user", "assistant", "tool"]
Count = Callable[[str], int]
"""Counts the tokens of a text."""

TEXT_TYPES = frozenset({"text", "input_text", "output_text"})
"""The types of content parts that are plain text, on any surface."""


class NotUnderstoodError(ValueError):
    """An item whose shape is not known: nothing may be said about what belongs to it."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model called. ``arguments`` is their JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned, as text. ``block`` is its place in the item's content list, -1: the whole item.

    Images and files that it returned are not in ``text``.
    """

    call_id: str
    text: str
    tokens: int
    block: int = -1


@dataclass(frozen=True, slots=True)
class Item:
    """What an item is by itself. ``text`` as in `conversation.Entry`.

    ``opens`` are the ids that a later item (or this one) has to answer, ``closes`` those that it answers:
    of tool calls and their results, and of whatever else comes in pairs. ``reasons``: it holds reasoning
    that the provider wants back unaltered.
    """

    kind: Kind
    text: str
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    opens: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    reasons: bool = False


def parts_of(content: object) -> Sequence[Mapping[str, Any]]:
    """Return the parts of a content: none for None, one for a string. Raises `NotUnderstoodError`."""
    if content is None:
        return ()
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    if isinstance(content, list | tuple) and all(isinstance(part, Mapping) for part in content):
        return content
    raise NotUnderstoodError("a content that is neither text nor a list of parts")


def type_of(part: Mapping[str, Any]) -> str:
    """Return the type of a part or an item, empty if it has none."""
    kind = part.get("type")
    return kind if isinstance(kind, str) else ""


def texts_of(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the texts of some parts; images, files and whatever else is no text say nothing."""
    texts = []
    for part in parts:
        kind = type_of(part)
        text = part.get("text" if kind in TEXT_TYPES else "refusal")
        if isinstance(text, str) and text:
            texts.append(text)
    return texts


def required(item: Mapping[str, Any], *names: str) -> str:
    """Return the first of some fields that is there, a text. Raises `NotUnderstoodError` if none is."""
    for name in names:
        value = item.get(name)
        if isinstance(value, str) and value:
            return value
    raise NotUnderstoodError(f"an item without {' or '.join(names)}")


def arguments_of(value: object) -> str:
    """Return the arguments of a call as JSON text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
