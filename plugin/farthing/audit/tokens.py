"""The tokens of a past call: as reported, else counted here and marked as estimated."""

from collections.abc import Mapping
from decimal import Decimal

from farthing.cost import count_text, input_estimate
from farthing.telemetry import Usage

_MOST = 10**9
_TEXTS = ("content", "text", "arguments", "reasoning_content", "thinking", "refusal")
_NESTS = ("choices", "message", "output", "tool_calls", "function", "input")
_ANSWERS = ("response", "completion", "answer", "output", "choices")
_MAX_DEPTH = 8


def usage_of_row(
    row: Mapping[str, object],
    metadata: Mapping[str, object],
    response: Mapping[str, object],
    payload: Mapping[str, object] | None,
) -> tuple[Usage, bool, bool]:
    """Return (usage, estimated, answer missing) of a row of spend logs.

    The row's own totals count; what they are made of (cache, reasoning) stands in its metadata or its
    response. LiteLLM's prompt tokens include cached ones. Raises ValueError if a count is no number.
    """
    sent, written = count(row, "prompt_tokens"), count(row, "completion_tokens")
    if not sent and not written:
        reported = reported_usage(response.get("usage")) or reported_usage(metadata.get("usage_object"))
        return (reported, False, False) if reported else _counted(payload, response)
    for parts in (
        metadata.get("usage_object"),
        response.get("usage"),
        metadata.get("additional_usage_values"),
    ):
        if isinstance(parts, Mapping):
            found = _openai(parts, sent, written)
            if found.cache_read or found.cache_write or found.reasoning:
                return found, False, False
    return Usage(sent, written), False, False


def usage_of(record: Mapping[str, object], body: Mapping[str, object]) -> tuple[Usage, bool, bool]:
    """Return (usage, estimated, answer missing) of a request and whatever stands beside it."""
    response = record.get("response")
    inner = response.get("body") if isinstance(response, Mapping) else None  # as in batch results
    for holder in (record, body, response, inner):
        if isinstance(holder, Mapping):
            found = reported_usage(holder.get("usage")) or (
                reported_usage(holder) if "completion_tokens" in holder or "output_tokens" in holder else None
            )
            if found:
                return found, False, False
    answer = next((record[name] for name in _ANSWERS if record.get(name)), None)
    return _counted(body, inner or answer)


def reported_usage(usage: object) -> Usage | None:
    """Return a usage as OpenAI or Anthropic report it; None if there is none.

    Chat counts cached tokens inside ``prompt_tokens``, Responses inside ``input_tokens``; Anthropic's
    ``input_tokens`` leave them out. Raises ValueError if a count is no number.
    """
    if not isinstance(usage, Mapping):
        return None
    if usage.get("prompt_tokens") is not None or usage.get("completion_tokens") is not None:
        found = _openai(usage, count(usage, "prompt_tokens"), count(usage, "completion_tokens"))
    else:
        sent, written = count(usage, "input_tokens"), count(usage, "output_tokens")
        if "input_tokens_details" not in usage and "total_tokens" not in usage:
            sent += count(usage, "cache_read_input_tokens") + count(usage, "cache_creation_input_tokens")
        found = _openai(usage, sent, written)
    return found if found.input_tokens or found.output_tokens else None


def _openai(usage: Mapping[str, object], sent: int, written: int) -> Usage:
    details = _first(usage, "prompt_tokens_details", "input_tokens_details")
    out = _first(usage, "completion_tokens_details", "output_tokens_details")
    read = count(details, "cached_tokens") or count(usage, "cache_read_input_tokens")
    write = count(details, "cache_creation_tokens") or count(usage, "cache_creation_input_tokens")
    return Usage(
        input_tokens=sent,
        output_tokens=written,
        cache_read=min(read, sent),
        cache_write=min(write, max(0, sent - read)),
        reasoning=min(count(out, "reasoning_tokens"), written),
    )


def _first(usage: Mapping[str, object], *names: str) -> Mapping[str, object]:
    return next((found for name in names if isinstance(found := usage.get(name), Mapping)), {})


def count(source: Mapping[str, object], name: str) -> int:
    """Return a number of tokens; 0 if nothing is written. Raises ValueError if it is no such number."""
    value = source.get(name)
    if value is None or value == "":
        return 0
    try:
        number = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
    except ArithmeticError:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= _MOST or number != int(number):
        raise ValueError(f"{name} is not a number of tokens")
    return int(number)


def _counted(payload: Mapping[str, object] | None, answer: object) -> tuple[Usage, bool, bool]:
    said = answer_text(answer)
    return Usage(input_estimate(payload) if payload else 0, count_text(said)), True, not said


def answer_text(answer: object, depth: int = 0) -> str:
    """Return the text of a recorded answer, of any surface, tool calls included."""
    if isinstance(answer, str):
        return answer
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(answer, list):
        return "".join(answer_text(item, depth + 1) for item in answer)
    if not isinstance(answer, Mapping):
        return ""
    return "".join(answer_text(answer[name], depth + 1) for name in (*_NESTS, *_TEXTS) if answer.get(name))
