"""A model's answer, of any of LiteLLM's surfaces, in common words."""

import json
import math
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from farthing.grading.shapes import get

Finish = Literal["stop", "length", "tool_calls", "content_filter", ""]

MAX_CHOICES, MAX_PARTS, MAX_TOKENS = 128, 20_000, 100_000
"""Choices, content parts of one choice and token probabilities that are read; further ones are not."""

_FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}
_THINK = ("<think>", "</think>")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool that the client offered. ``arguments`` is the JSON text the model wrote."""

    name: str
    arguments: str
    free_text: bool = False
    """True for a custom tool, whose input is text of any form."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer (one choice) of a model. Its reasoning is not part of ``text``."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = ""
    """Why it ended; empty if the model did not say."""
    refusal: bool = False
    """True if the model marked it as a refusal (not if it only reads like one)."""
    token_logprobs: tuple[float, ...] | None = None
    """Natural logarithms of the answer's token probabilities, where the model reports them."""
    other: bool = False
    """True if it carries something else as well: audio, an image, a server-side tool's item."""
    output_tokens: int | None = None
    """Tokens the model counted for it, reasoning included; None if unknown or shared by several."""


def answers_from(response: object) -> list[Answer]:
    """Return the answers of a response body, one per choice. Raises nothing.

    Reads chat completions and text completions (``choices``), the Responses API (``output``) and
    Anthropic messages (``content``), as dictionaries or as a client library's objects. A shape it does
    not know gives an empty list.
    """
    try:
        return _answers(response)
    except Exception:  # somebody else's object: no shape of theirs may fail a request
        return []


def without_thinking(text: str) -> str:
    """Return ``text`` without the ``<think>`` block that some local models write before their answer."""
    start = text.lstrip()
    if not start.startswith(_THINK[0]):
        return text
    end = start.find(_THINK[1])
    return "" if end < 0 else start[end + len(_THINK[1]) :].lstrip()


def finish_of(reason: str) -> Finish:
    """Return the common word for why an answer ended, of any surface's; empty for an unknown one."""
    return _FINISHES.get(reason.lower(), "")


def _answers(response: object) -> list[Answer]:
    choices = get(response, "choices")
    if isinstance(choices, list | tuple):
        tokens = _tokens(response) if len(choices) == 1 else None
        return [_choice(choice, tokens) for choice in choices[:MAX_CHOICES]]
    output = get(response, "output")
    if isinstance(output, list | tuple):
        parts = _Parts()
        for item in output[:MAX_PARTS]:
            parts.add(item)
        details = _name(get(get(response, "incomplete_details"), "reason"))
        return [parts.answer(details or _name(get(response, "status")), _tokens(response))]
    content = get(response, "content")
    if isinstance(content, str | list | tuple):
        parts = _Parts()
        parts.add_content(content)
        return [parts.answer(_name(get(response, "stop_reason")), _tokens(response))]
    return []


def _choice(choice: object, tokens: int | None) -> Answer:
    parts = _Parts()
    text, message = get(choice, "text"), get(choice, "message")
    if isinstance(text, str):
        parts.texts.append(text)
    parts.message(message)
    logprobs = get(choice, "logprobs")
    parts.add_logprobs(get(logprobs, "content"))
    parts.add_logprobs(get(logprobs, "token_logprobs"))
    return parts.answer(_name(get(choice, "finish_reason")), tokens)


class _Parts:
    """Collects the parts of one answer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[ToolCall] = []
        self.logprobs: list[float] = []
        self.refusal = self.other = False

    def message(self, message: object) -> None:
        self.add_content(get(message, "content"))
        if _name(get(message, "refusal")).strip():
            self.refusal = True
        calls = get(message, "tool_calls")
        if isinstance(calls, list | tuple):
            for call in calls[:MAX_PARTS]:
                custom = get(call, "custom")
                self._call(custom or get(call, "function") or call, free_text=bool(custom))
        if get(message, "function_call"):
            self._call(get(message, "function_call"))
        if get(message, "audio") or get(message, "images"):
            self.other = True

    def add_content(self, content: object) -> None:
        if isinstance(content, str):
            self.texts.append(content)
        elif isinstance(content, list | tuple):
            for part in content[:MAX_PARTS]:
                self.add(part)

    def add(self, part: object) -> None:
        """Add a content part, or an output item of the Responses API."""
        kind = _name(get(part, "type"))
        if isinstance(part, str):
            self.texts.append(part)
        elif kind in ("text", "output_text"):
            self.texts.append(_name(get(part, "text")))
            self.add_logprobs(get(part, "logprobs"))
        elif kind == "message":
            self.add_content(get(part, "content"))
        elif kind == "refusal":
            self.refusal = True
        elif kind in ("function_call", "tool_use"):
            self._call(part)
        elif kind == "custom_tool_call":
            self._call(part, free_text=True)
        elif kind not in ("", "reasoning", "thinking", "redacted_thinking"):
            self.other = True

    def add_logprobs(self, tokens: object) -> None:
        if not isinstance(tokens, list | tuple):
            return
        for token in tokens[:MAX_TOKENS]:
            value = token if isinstance(token, int | float) else get(token, "logprob")
            if isinstance(value, int | float) and not math.isnan(value):
                self.logprobs.append(min(0.0, float(max(value, -1000))))

    def answer(self, finish: str, tokens: int | None) -> Answer:
        ended = finish_of(finish)
        return Answer(
            text=without_thinking("".join(self.texts)),
            tool_calls=tuple(self.calls),
            finish="tool_calls" if ended == "stop" and self.calls else ended,
            refusal=self.refusal or finish == "refusal",
            token_logprobs=tuple(self.logprobs) or None,
            other=self.other,
            output_tokens=tokens,
        )

    def _call(self, call: object, free_text: bool = False) -> None:
        arguments = get(call, "arguments")
        if arguments is None:
            arguments = get(call, "input")
        self.calls.append(ToolCall(_name(get(call, "name")), _json_text(arguments), free_text))


def _name(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    return value if isinstance(value, str) else ""


def _json_text(arguments: object) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    try:
        return json.dumps(arguments)
    except (TypeError, ValueError, RecursionError):
        return "not JSON"  # of no JSON type, or nested beyond reading: the check finds it unreadable


def _tokens(response: object) -> int | None:
    usage = get(response, "usage")
    for name in ("completion_tokens", "output_tokens"):
        value = get(usage, name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
