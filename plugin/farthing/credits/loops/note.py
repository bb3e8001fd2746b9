"""A note to the agent, at the very end of its request: there it breaks neither caches nor tool calls."""

from collections.abc import Mapping
from typing import Any

from farthing.credits.loops.history import side_of

_TEXT = {"chat": "text", "messages": "text", "responses": "input_text"}


def with_note(payload: Mapping[str, Any], surface: str, note: str) -> dict[str, Any]:
    """Return a copy of a request with ``note`` as the last that a person says; ``payload`` is unchanged.

    It is added to the user's last words, as text or as a part of its own, or stands alone behind tool
    results: as a user's, since Anthropic knows no system message there and many chat templates allow none.
    A request that ends in the model's own words (a prefill), or of another surface, is returned as it is.
    """
    copy = dict(payload)
    name = "input" if surface == "responses" else "messages"
    items = payload.get(name)
    if surface == "responses" and isinstance(items, str) and items:
        copy[name] = f"{items}\n\n{note}"
    elif surface in _TEXT and isinstance(items, list) and items and side_of(items[-1]) != "model":
        copy[name] = _noted(items, surface, note)
    return copy


def _noted(items: list[Any], surface: str, note: str) -> list[Any]:
    part = {"type": _TEXT[surface], "text": note}
    last = items[-1]
    if isinstance(last, dict) and last.get("role") == "user":
        content = last.get("content")
        if isinstance(content, str):
            return [*items[:-1], {**last, "content": f"{content}\n\n{note}" if content else note}]
        if isinstance(content, list):
            return [*items[:-1], {**last, "content": [*content, part]}]
    if surface == "responses":
        return [*items, {"type": "message", "role": "user", "content": [part]}]
    return [*items, {"role": "user", "content": note}]
