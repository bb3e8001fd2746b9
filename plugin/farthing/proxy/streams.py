"""Streams of the three API surfaces: watched as they pass, settled before their last event goes out.

Each wrapper yields what it was given. Only the tail is held back, so no token waits: it leaves when the call
is settled, for keys with ``stream_receipt`` with the settled figures in a ``farthing`` field.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from time import time_ns
from typing import Any, Protocol

from farthing.proxy import told
from farthing.proxy.calls import Call
from farthing.proxy.meter import Meter
from farthing.proxy.usage import delta_text, field, finished, usage_of
from farthing.settings import Settings
from farthing.telemetry import Usage
from farthing.telemetry.charge import Outcome

_RESPONSES_END = {"response.completed", "response.incomplete", "response.failed"}


class Observer(Protocol):
    """Somebody who reads a stream along, such as the gate that checks it."""

    def see(self, event: Any) -> None:
        """Take the next chunk or event."""

    def outcome(self) -> Outcome:
        """Return how the attempt ended, now that its stream has come to its end."""


@dataclass(frozen=True, slots=True)
class _Watch:
    """What a stream's wrapper does with its call."""

    meter: Meter
    call: Call
    settings: Settings
    observer: Observer | None

    def see(self, event: Any) -> None:
        if self.observer:
            self.observer.see(event)
        text = delta_text(event)
        if text and self.call.attempt:
            self.call.attempt.answered.append(text)

    async def settle(self, usage: Usage | None) -> dict[str, str] | None:
        """Settle; return the receipt for the last event, if the key asks for one."""
        attempt = self.call.attempt
        if attempt:
            attempt.answered_ns = attempt.answered_ns or time_ns()
            # Settled already, perhaps by a hook that is not done yet: then this waits for its charge.
            outcome = self.observer.outcome() if self.observer else "ok"
            await self.meter.settle(self.call, attempt, usage, outcome)
        return told.receipt(self.call, self.settings) if self.call.policy.stream_receipt else None

    async def cut(self) -> None:
        if self.call.attempt:
            await self.meter.settle(self.call, self.call.attempt, None, "cancelled")

    async def fail(self, error: Exception) -> None:
        if self.call.attempt:
            await self.meter.fail(self.call, self.call.attempt, type(error).__name__)


async def metered(
    meter: Meter,
    call: Call,
    stream: AsyncIterator[Any],
    settings: Settings,
    observer: Observer | None = None,
) -> AsyncGenerator[Any, None]:
    """Pass a stream on and settle its call: to its usage at the end, to what was streamed if it is cut."""
    watch = _Watch(meter, call, settings, observer)
    surface = {"responses": _responses, "messages": _messages}.get(call.surface, _chat)
    try:
        async with aclosing(surface(watch, stream)) as items:
            async for item in items:
                yield item
    except Exception as error:
        await watch.fail(error)
        raise
    except BaseException:  # the client hung up, or the request was cancelled
        await watch.cut()
        raise


async def _chat(watch: _Watch, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    tail: list[Any] = []
    usage: Usage | None = None
    async for chunk in stream:
        watch.see(chunk)
        found = usage_of(chunk)
        usage = found or usage
        if finished(chunk):
            tail.append(chunk)
        elif found:
            if watch.call.wants_usage:
                tail.append(chunk)
        else:
            for held in tail:
                yield held
            tail.clear()
            yield chunk
    receipt = await watch.settle(usage)
    if tail and receipt:
        tail[-1].farthing = receipt
        if getattr(tail[-1], "provider_specific_fields", None) is None:
            # Without it LiteLLM writes plain chunks by a short cut that leaves out fields it does not know.
            tail[-1].provider_specific_fields = {}
    for held in tail:
        yield held


async def _responses(watch: _Watch, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    async for event in stream:
        if _kind(event) in _RESPONSES_END:
            if watch.observer:
                watch.observer.see(event)
            if receipt := await watch.settle(usage_of(event)):
                event.farthing = receipt
        else:
            watch.see(event)
        yield event
    await watch.settle(None)  # it may end without a last event


def _kind(event: Any) -> str:
    kind = field(event, "type")
    return str(getattr(kind, "value", kind))


async def _messages(watch: _Watch, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
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
            watch.see(event)
            for holder in (event, event.get("message")):
                usage = field(holder, "usage") if holder else None
                if isinstance(usage, dict):
                    # message_delta repeats and completes the counts of message_start.
                    seen.update({name: n for name, n in usage.items() if isinstance(n, int) and n})
            if event.get("type") == "message_stop":
                receipt = await watch.settle(usage_of({"usage": seen}) if seen else None)
                if receipt:
                    event["farthing"] = receipt
                    frame = b"event: message_stop\ndata: " + json.dumps(event).encode()
            yield frame + b"\n\n"
    if buffer.strip():
        yield buffer
    await watch.settle(usage_of({"usage": seen}) if seen else None)  # it may end without message_stop


def _event(frame: bytes) -> dict[str, Any]:
    data = b"".join(line[5:] for line in frame.split(b"\n") if line.startswith(b"data:"))
    try:
        event = json.loads(data)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
