"""What was asked and answered, in the JSON that OpenTelemetry's GenAI conventions give to messages. Pure.

Only for ``telemetry.capture_content``. Of long texts the beginning is kept, and how much is missing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_MOST_CHARS = 8_000
_MOST_MESSAGES = 200
_MOST_PARTS = 100
_MOST_IN_ALL = 200_000
"""Characters of a request: spans wait in memory, and receivers refuse long ones."""


def input_messages(payload: Mapping[str, Any]) -> str:
    """Return ``gen_ai.input.messages`` of a request on any surface."""
    said = list(_said(payload))
    first = [json.dumps(_message(*pair), ensure_ascii=False) for pair in said[:1]]
    newest: list[str] = []
    left = _MOST_IN_ALL
    for pair in reversed(said[1:][-_MOST_MESSAGES:]):
        message = json.dumps(_message(*pair), ensure_ascii=False)
        left -= len(message)
        if left < 0:
            break
        newest.append(message)
    return f"[{', '.join(first + newest[::-1])}]"


def output_messages(text: str) -> str:
    """Return ``gen_ai.output.messages`` of an answer."""
    return json.dumps([_message("assistant", text)], ensure_ascii=False)


def _said(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("system", "instructions"):
        if payload.get(name):
            yield "system", payload[name]
    for name in ("messages", "input", "prompt"):
        items = payload.get(name)
        for item in items if isinstance(items, list) else [items] if items else ():
            if isinstance(item, Mapping):
                said = next((item[key] for key in ("content", "output", "arguments") if item.get(key)), "")
                yield str(item.get("role") or item.get("type") or "user"), said
            else:
                yield "user", item


def _message(role: str, content: Any) -> dict[str, Any]:
    parts = content if isinstance(content, list) else [content]
    return {"role": role, "parts": [_part(part) for part in parts[:_MOST_PARTS]]}


def _part(part: Any) -> dict[str, str]:
    if isinstance(part, Mapping):
        text = next((part[name] for name in ("text", "content") if isinstance(part.get(name), str)), None)
        if text is None:  # an image, a sound, a tool's result: what it is, not all its bytes
            return {"type": str(part.get("type") or "other")}
        part = text
    text = part if isinstance(part, str) else json.dumps(part, default=str)
    if len(text) > _MOST_CHARS:
        text = f"{text[:_MOST_CHARS]}… ({len(text) - _MOST_CHARS} characters more)"
    return {"type": "text", "content": text.encode("utf-8", "replace").decode()}
