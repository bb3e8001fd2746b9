"""The gate of a stream: its beginning is held back until it passes its check, else the next tier streams.

What can be told from a beginning (a refusal, prose where JSON was asked, a loop) is; a stream that ends
behind its gate is checked whole. Once the gate is open nothing can be taken back, so a later failure only
teaches the intent.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any

from farthing.grading.check import Verdict, check_prefix
from farthing.grading.check.streamed import StreamedAnswer
from farthing.proxy.calls import Call
from farthing.proxy.climbing import Climber, looks_up
from farthing.proxy.meter import Meter
from farthing.proxy.streams import metered
from farthing.settings import Settings
from farthing.telemetry.charge import Outcome


class _Gate:
    """Reads a stream along and says how it ended."""

    def __init__(self, climber: Climber, call: Call) -> None:
        self._climber, self._call = climber, call
        self.answer = StreamedAnswer()
        self.open = False
        self.failed = False
        self.verdict: Verdict | None = None

    def see(self, event: Any) -> None:
        self.answer.add(event)

    def outcome(self) -> Outcome:
        if self.verdict is None:  # once: with its charge a call forgets what it was asked
            self.verdict = self._climber.check_streamed(self._call, self.answer.answer())
        return "ok" if not self.failed and (self.open or self.verdict.ok) else "failed"

    def passes(self) -> bool:
        """Return whether what has come so far may go out."""
        self.failed = not self._passes()
        return not self.failed

    def _passes(self) -> bool:
        if looks_up(self._call, self.answer.answer()):
            return True
        if self.verdict is None:
            verdict = self._climber.checked(
                self._call,
                lambda: check_prefix(self._call.payload, self.answer.text, self.answer.tool_names),
                "beginning",
            )
            if not verdict.ok:
                self._climber.note(self._call, verdict)
            return verdict.ok
        return self.verdict.ok


async def guarded(
    climber: Climber,
    meter: Meter,
    call: Call,
    stream: AsyncIterator[Any],
    data: Mapping[str, Any],
    settings: Settings,
) -> AsyncGenerator[Any, None]:
    """Pass a stream on, settled and receipted, once its beginning is good enough; else a better one."""
    check = settings.grading.check
    if not (check.stream_prefix_chars and call.policy.check_streams and climber.may_climb(call)):
        async with aclosing(metered(meter, call, stream, settings)) as passed:
            async for item in passed:
                yield item
        return
    if call.attempt:
        call.attempt.guarded = True
    gate = _Gate(climber, call)
    items = metered(meter, call, stream, settings, gate)
    held: list[Any] = []
    pending: asyncio.Future[Any] | None = None
    deadline = time.monotonic() + check.stream_prefix_s
    try:
        while gate.answer.chars < check.stream_prefix_chars or gate.verdict:
            pending = asyncio.ensure_future(anext(items))
            await asyncio.wait((pending,), timeout=max(0.0, deadline - time.monotonic()))
            if not pending.done():
                break  # slow: what is there so far must do
            try:
                held.append(pending.result())
            except StopAsyncIteration:
                pending = None
                break
            pending = None
        if not gate.passes() and (climbed := await _better(climber, meter, call, data, settings)):
            try:
                if call.attempt:
                    await meter.settle(call, call.attempt, None, "failed")
                await _stop(items, pending)
                await hang_up(stream)
                yield climbed.first
                async for item in climbed.items:
                    yield item
            finally:
                await climbed.stop(meter)
            return
        gate.open = True
        for item in held:
            yield item
        if pending:
            with suppress(StopAsyncIteration):
                yield await pending
            pending = None
        async for item in items:
            yield item
    finally:
        await _stop(items, pending)


@dataclass(frozen=True, slots=True)
class _Climbed:
    """A better stream that has begun: its call, the provider's stream, and the items of its own gate."""

    call: Call
    stream: Any
    items: AsyncGenerator[Any, None]
    first: Any = None

    async def stop(self, meter: Meter, error: str = "") -> None:
        await self.items.aclose()
        await meter.abandon(self.call, error)
        await hang_up(self.stream)


async def _better(
    climber: Climber, meter: Meter, call: Call, data: Mapping[str, Any], settings: Settings
) -> _Climbed | None:
    """Return the next tier's stream once its first item is there, None if no tier gets that far."""
    above = ""
    while found := await climber.climb(call, data, above):
        better, stream = found
        above = better.attempt.deployment.tier if better.attempt else "strong"
        climbed = _Climbed(better, stream, guarded(climber, meter, better, stream, data, settings))
        try:
            return replace(climbed, first=await anext(climbed.items))
        except Exception as error:  # it broke, or was empty, before anything went out
            await climbed.stop(meter, type(error).__name__)
            call.climbed_to = None
        except BaseException:  # the client hung up
            await climbed.stop(meter)
            raise
    return None


async def hang_up(stream: Any) -> None:
    """Close a stream that LiteLLM does not close by itself (yet): its model would go on writing."""
    if hasattr(stream, "aclose"):
        with suppress(Exception):
            await stream.aclose()


async def _stop(items: AsyncGenerator[Any, None], pending: asyncio.Future[Any] | None) -> None:
    if pending and not pending.done():
        pending.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
            await pending
    await items.aclose()
