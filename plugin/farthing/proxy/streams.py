"""Streams of the three API surfaces: watched as they pass, settled before their last event goes out.

Each wrapper yields what it was given. Only the tail is held back, so no token waits: it leaves with the
settled figures in a ``farthing`` field.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from farthing.proxy.calls import Call
from farthing.proxy.meter import Meter
from farthing.proxy.usage import delta_text, field, finished, usage_of
from farthing.telemetry import Usage

_RESPONSES_END = {"response.completed", "response.incomplete", "response.failed"}


async def metered(meter: Meter, call: Call, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """Pass a stream on and settle its call: to its usage at the end, to what was streamed if it is cut."""
    surface = {"responses": _responses, "messages": _messages}.get(call.surface, _chat)
    try:
        async for item in surface(meter, call, stream):
            yield item
    except GeneratorExit:  # the client hung up
        await _cut(meter, call)
        raise
    except Exception as error:
        if call.attempt:
            await meter.fail(call, call.attempt, type(error).__name__)
        raise
    except BaseException:  # cancelled
        await _cut(meter, call)
        raise


async def _cut(meter: Meter, call: Call) -> None:
    if call.attempt and not call.attempt.ended:
        await meter.settle(call, call.attempt, None, "cancelled")


async def _settle(meter: Meter, call: Call, usage: Usage | None) -> dict[str, str]:
    if call.attempt:
        await meter.settle(call, call.attempt, usage)
    return meter.receipt(call)


def _watch(call: Call, text: str) -> None:
    if text and call.attempt:
        call.attempt.answered.append(text)


async def _chat(meter: Meter, call: Call, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    tail: list[Any] = []
    usage: Usage | None = None
    async for chunk in stream:
        _watch(call, delta_text(chunk))
        found = usage_of(chunk)

        usage = found or usage
        if finished(chunk):
            tail.append(chunk)
        elif found:
            if call.wants_usage:
                tail.append(chunk)
        else:
            for held in tail:
                yield held
            tail.clear()
            yield chunk
    receipt = await _settle(meter, call, usage)
    if tail:
        tail[-1].farthing = receipt
    for held in tail:
        yield held


async def _responses(meter: Meter, call: Call, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    async for event in stream:
        if _kind(event) in _RESPONSES_END:
            event.farthing = await _settle(meter, call, usage_of(event))
        else:
            _watch(call, delta_text(event))
        yield event


def _kind(event: Any) -> str:
    kind = field(event, "type")
    return str(getattr(kind, "value", kind))


async def _messages(meter: Meter, call: Call, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """Anthropic's stream, which LiteLLM hands over as server-sent bytes cut anywhere."""
    buffer = b""
    seen: dict[str, int] = {}
    async for piece in stream:
        if not isinstance(piece, bytes | str):
            yield piece
            continue
        buffer += piece.encode() if isinstance(piece, str) else piece
        *frames, buffer = buffer.replace(b"\r\n", b"\n").split(b"\n\n")
        for frame in frames:
            event = _event(frame)
            _watch(call, delta_text(event))
            for holder in (event, event.get("message")):
                usage = field(holder, "usage") if holder else None
                if isinstance(usage, dict):
                    # message_delta repeats and completes the counts of message_start.
                    seen.update({name: n for name, n in usage.items() if isinstance(n, int) and n})
            if event.get("type") == "message_stop":
                event["farthing"] = await _settle(meter, call, usage_of({"usage": seen}) if seen else None)
                frame = b"event: message_stop\ndata: " + json.dumps(event).encode()
            yield frame + b"\n\n"
    if buffer.strip():
        yield buffer
    if call.attempt and not call.attempt.ended:
        await _settle(meter, call, usage_of({"usage": seen}) if seen else None)


def _event(frame: bytes) -> dict[str, Any]:
    data = b"".join(line[5:] for line in frame.split(b"\n") if line.startswith(b"data:"))
    try:
        event = json.loads(data)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
