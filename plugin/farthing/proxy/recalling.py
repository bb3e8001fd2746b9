"""Offers models the tool ``farthing_recall`` and answers its calls: the client sees neither call nor result.

The model that called it is asked again, through LiteLLM's router, with what it asked for; each time is a
call of its own on the same account and session. The check of an answer, and the climb, look at what comes of
it in the end: an answer that only looks something up is neither good nor bad.
"""

import asyncio
import logging
from collections import ChainMap
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from farthing.context import recall
from farthing.context.fold import Owner
from farthing.cost import count_text
from farthing.grading.check import answers_from
from farthing.proxy.calls import Call, Calls
from farthing.proxy.climbing import ROUTER_METHODS, Climber, from_cache, looks_up, request_of
from farthing.proxy.errors import RefusedCallError
from farthing.proxy.gates import guarded, hang_up
from farthing.proxy.meter import Meter
from farthing.proxy.recall_streams import splice_of
from farthing.settings import Settings
from farthing.telemetry import attributes as attr

log = logging.getLogger("farthing")


class Originals(Protocol):
    """Where what was left out is kept."""

    def original(self, owner: Owner, reference: str) -> str | None:
        """Return the text of a reference of this very session, None if there is none (any more)."""
        ...


class Recaller:
    """Lets models look up what was left out of their conversation."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        calls: Calls,
        climber: Climber,
        originals: Originals | None,
        router: Callable[[], Any],
    ) -> None:
        """``originals`` is None where nothing is left out; ``router`` returns LiteLLM's router."""
        self._settings = settings
        self._meter = meter
        self._calls = calls
        self._climber = climber
        self._originals = originals
        self._router = router

    def offer(self, call: Call, data: dict[str, Any]) -> None:
        """Add the tool to a request that may have it: from the first turn on, so that the prefix stays."""
        context = self._settings.context
        if self._originals is None or not context.recall_tool or context.mode != "act":
            return
        tools = recall.tools_with(data, call.surface)
        if tools is None:
            return
        if call.payload is data:  # what is graded, and what an answer is checked against, is the client's own
            call.payload = ChainMap({"tools": data.get("tools")}, data)
        data["tools"] = tools
        call.recalls = True

    async def answer(self, call: Call, data: Mapping[str, Any], response: Any) -> Any:
        """Return the answer the client gets: looked up, checked, and asked of the next tier if it failed."""
        surface, said = call.surface, list[Any]()
        while True:
            response = await self._climber.better(call, data, response)
            call = call.answering
            if not any(looks_up(call, answer) for answer in answers_from(response)):
                break
            items = recall.items_of(response, surface)
            said += recall.said_before(items, surface)
            call, data, response = await self._ask_again(call, data, items)
        return recall.finished(response, surface, said) if call.recalls else response

    async def stream(
        self, call: Call, stream: AsyncIterator[Any], data: Mapping[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Pass a stream on, settled and checked, as `answer` does."""
        items = self._guarded(call, stream, data)
        if not call.recalls:
            async with aclosing(items):
                async for item in items:
                    yield item
            return
        splice, again = splice_of(call.surface, data), False
        try:
            while True:
                splice.begin(may_recall=call.may_recall)
                async for item in items:
                    for out in splice.take(item):
                        yield out
                call = call.answering
                if not splice.recalls:
                    break
                call, data, stream = await self._ask_again(call, data, splice.items())
                items, again = self._guarded(call, stream, data), True
            for out in splice.end():
                yield out
        finally:
            await items.aclose()
            if again:
                await self._meter.abandon(call)
                await hang_up(stream)

    def _guarded(
        self, call: Call, stream: AsyncIterator[Any], data: Mapping[str, Any]
    ) -> AsyncGenerator[Any, None]:
        return guarded(self._climber, self._meter, call, stream, data, self._settings)

    async def _ask_again(
        self, call: Call, data: Mapping[str, Any], items: Sequence[dict[str, Any]]
    ) -> tuple[Call, dict[str, Any], Any]:
        """Answer the calls of ours in ``items`` and ask on; return the new call, its request and response.

        Whatever the model that is asked then answers with, an error too, is the client's: LiteLLM's own
        retries and fallbacks have been tried.
        """
        results = await self._look_up(call, recall.recalls_in(items, call.surface))
        data = {**data, **recall.follow_up(data, call.surface, items, results)}
        if call.recalled + 1 == recall.MOST_ROUNDS:
            data |= recall.withdrawn(data, call.surface)
        tiers, tier = self._settings.tiers, call.attempt.deployment.tier if call.attempt else ""
        if call.routed and tier != "other":
            data["model"] = getattr(tiers, tier)
        request = request_of(data)
        child = call.child("inference", request)
        child.recalled += 1
        self._calls.add(child, request)
        try:
            response = await getattr(self._router(), ROUTER_METHODS[call.surface])(**request)
        except Exception as error:
            await self._meter.abandon(child, type(error).__name__)
            if isinstance(error, RefusedCallError):
                call.root.refusal = child.refusal
            raise
        except BaseException:  # the client hung up
            await self._meter.abandon(child)
            raise
        call.climbed_to = child
        if child.attempt and from_cache(response):
            await self._climber.recall(child, child.attempt, response)
        return child, data, response

    async def _look_up(self, call: Call, wanted: Sequence[recall.Called]) -> list[str]:
        """Return what the calls of one answer are answered, together no longer than there is room for."""
        owner = Owner(call.account.user, call.session_id)
        left, results = _room(call), list[str]()
        for called in wanted:
            reference, offset = recall.wanted(called.arguments)
            text = await asyncio.to_thread(self._original, owner, reference)
            result = await asyncio.to_thread(recall.excerpt, reference, text, offset, left)
            tokens = count_text(result)
            left -= tokens
            results.append(result)
            call.span.add_event(
                "farthing.recall",
                {
                    # What a model makes up as a reference may be anything.
                    attr.RECALL_REFERENCE: reference if text is not None else "unknown",
                    attr.RECALL_TOKENS: tokens,
                    attr.RECALL_ROUND: call.recalled + 1,
                },
            )
        return results

    def _original(self, owner: Owner, reference: str) -> str | None:
        try:
            return self._originals.original(owner, reference) if self._originals and reference else None
        except Exception as error:  # the model is told that there is nothing, and the request goes on
            log.error("farthing: a reference could not be read (%s)", type(error).__name__)
            return None


def _room(call: Call) -> int:
    """Return how many tokens may be added to a conversation: at most half of what its model has left."""
    attempt = call.attempt
    window = attempt.deployment.window if attempt else None
    if attempt is None or attempt.charge is None or window is None:
        return recall.MAX_TOKENS
    left = window - attempt.charge.usage.input_tokens
    return max(0, min(recall.MAX_TOKENS, left // 2))
