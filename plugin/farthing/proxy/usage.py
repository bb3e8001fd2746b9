"""What a call used, read from the answers of LiteLLM's three API surfaces. Pure functions, no I/O.

Answers come as pydantic objects or plain dicts; both are read the same way.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from farthing.telemetry import Usage

_MISSING = object()


def field(value: Any, name: str) -> Any:
    """Return a field of a mapping or an object, or None."""
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, BaseModel):
        # Not getattr: pydantic raises and catches for every field that is not there, and each chunk of a
        # stream is asked for several.
        found = value.__dict__.get(name, _MISSING)
        return (value.__pydantic_extra__ or {}).get(name) if found is _MISSING else found
    return getattr(value, name, None)


def _tokens(value: Any, *names: str) -> int:
    """Return the first of the named fields that holds a count, or 0."""
    for name in names:
        found = field(value, name)
        if isinstance(found, int | float) and not isinstance(found, bool) and found > 0:
            return int(found)
    return 0


def usage_of(answer: Any) -> Usage | None:
    """Return the usage that an answer (or its last event) reports, or None if it reports none.

    Chat and embeddings count cached tokens inside ``prompt_tokens``, Responses inside ``input_tokens``;
    Anthropic's ``input_tokens`` leave them out, so there the parts are added up.
    """
    usage = field(answer, "usage")
    if usage is None and field(answer, "response") is not None:
        usage = field(field(answer, "response"), "usage")
    if usage is None:
        return None
    if field(usage, "prompt_tokens") is not None:
        found = _openai_usage(usage, "prompt_tokens", "completion_tokens")
    elif field(usage, "input_tokens_details") is not None or field(usage, "total_tokens") is not None:
        found = _openai_usage(usage, "input_tokens", "output_tokens")
    else:
        found = _anthropic_usage(usage)
    return found if found.input_tokens or found.output_tokens else None


def _openai_usage(usage: Any, input_name: str, output_name: str) -> Usage:
    stem_in, stem_out = f"{input_name}_details", f"{output_name}_details"
    details, out_details = field(usage, stem_in), field(usage, stem_out)
    return Usage(
        input_tokens=_tokens(usage, input_name),
        output_tokens=_tokens(usage, output_name),
        cache_read=_tokens(details, "cached_tokens") or _tokens(usage, "cache_read_input_tokens"),
        cache_write=_tokens(details, "cache_creation_tokens")
        or _tokens(usage, "cache_creation_input_tokens"),
        reasoning=_tokens(out_details, "reasoning_tokens"),
        cache_write_1h=_tokens(field(details, "cache_creation_token_details"), "ephemeral_1h_input_tokens"),
    )


def _anthropic_usage(usage: Any) -> Usage:
    read = _tokens(usage, "cache_read_input_tokens")
    write = _tokens(usage, "cache_creation_input_tokens")
    return Usage(
        input_tokens=_tokens(usage, "input_tokens") + read + write,
        output_tokens=_tokens(usage, "output_tokens"),
        cache_read=read,
        cache_write=write,
        cache_write_1h=_tokens(field(usage, "cache_creation"), "ephemeral_1h_input_tokens"),
    )


def delta_text(chunk: Any) -> str:
    """Return the text a chat chunk, a Responses event or a Messages event adds to the answer.

    Reasoning and tool-call arguments count too: they are output tokens like any other.
    """
    if isinstance(field(chunk, "type"), str):
        return _event_text(chunk)
    parts: list[str] = []
    for choice in field(chunk, "choices") or []:
        delta = field(choice, "delta")
        parts += [
            text for name in ("content", "reasoning_content") if isinstance(text := field(delta, name), str)
        ]
        for call in field(delta, "tool_calls") or []:
            function = field(call, "function")
            parts += [
                text for name in ("name", "arguments") if isinstance(text := field(function, name), str)
            ]
    return "".join(parts)


def _event_text(event: Any) -> str:
    delta = field(event, "delta")
    if isinstance(delta, str):  # Responses: response.output_text.delta, …arguments.delta
        return delta
    names = ("text", "thinking", "partial_json")  # Messages: content_block_delta
    return "".join(text for name in names if isinstance(text := field(delta, name), str))


def finished(chunk: Any) -> bool:
    """Return whether a chat chunk ends one of its choices."""
    return any(field(choice, "finish_reason") for choice in field(chunk, "choices") or [])


_TEXTS = ("content", "text", "arguments", "reasoning_content", "thinking", "refusal", "input")


def answer_text(answer: Any, depth: int = 0) -> str:
    """Return the text of an answer that came in one piece, of any surface, tool calls included."""
    if isinstance(answer, str):
        return answer
    if depth > 8:
        return ""
    if isinstance(answer, list | tuple):
        return "".join(answer_text(item, depth + 1) for item in answer)
    inner = [
        field(answer, name) for name in ("choices", "message", "output", "tool_calls", "function", *_TEXTS)
    ]
    return "".join(answer_text(value, depth + 1) for value in inner if value)
