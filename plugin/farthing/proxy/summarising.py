"""Has a stretch of a session summarised: through LiteLLM's router, held for and charged (`summary`).

In the background, after the turn that made it due: no user waits for it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import Link, Span, SpanContext

from farthing.context import summary
from farthing.context.keeper import Due, Keeper
from farthing.cost import PriceBook, input_upper_bound
from farthing.grading.check import answers_from
from farthing.proxy.calls import Call, Calls
from farthing.proxy.deployments import Deployments
from farthing.proxy.errors import RefusedCallError
from farthing.proxy.meter import Meter
from farthing.proxy.tree import failed
from farthing.settings import Settings
from farthing.telemetry import attributes as attr

log = logging.getLogger("farthing")


class Summarising:
    """Asks the summaries' model, at the expense of the session's account, and only out of what it saved."""

    def __init__(
        self,
        settings: Settings,
        keeper: Keeper,
        meter: Meter,
        calls: Calls,
        deployments: Deployments,
        router: Callable[[], Any],
    ) -> None:
        """``router`` returns LiteLLM's router, None while there is none."""
        self._settings = settings
        self._summary = settings.context.summary
        self._keeper = keeper
        self._meter = meter
        self._calls = calls
        self._deployments = deployments
        self._router = router
        self._under_way = 0

    async def write(self, call: Call, due: Due) -> SpanContext | None:
        """Have ``due`` summarised on behalf of ``call`` and tell the keeper the outcome. Raises nothing.

        Returns the span of a summary that is kept, for the requests that will be sent with it.
        """
        # Below the request that made it due, which has been answered: the link says what it is to it.
        span = self._meter.tree.step(
            call, "summary", [Link(call.root.span.get_span_context(), {attr.LINK: "serves"})]
        )
        try:
            failure = await self._write(call, due, span)
            first, last = due.turns
            span.set_attribute(attr.CONTEXT_TURNS, f"{first}-{last}")
            if failure:
                failed(span, failure)
            return None if failure else span.get_span_context()
        finally:
            span.end()

    async def _write(self, call: Call, due: Due, span: Span) -> str:
        failure, text = "", None
        try:
            earlier = due.base.segments if due.base else ()
            request = await asyncio.to_thread(summary.request, due.entries, earlier, self._summary.max_tokens)
            data: dict[str, Any] = {
                "model": self._summary.model,
                "messages": [dict(message) for message in request.messages],
                "max_tokens": request.max_tokens,
                "temperature": 0,
                "num_retries": 0,
                "disable_fallbacks": True,
                # One account's history is not to be answered from what another's was.
                "cache": {"no-cache": True, "no-store": True},
                "metadata": {},
            }
            failure = await asyncio.to_thread(self._unwanted, call, due, data)
            if not failure:
                text = await self._ask(call, due, data, span)
        except Exception as error:
            # The type alone: an exception's text may quote the history.
            failure = type(error).__name__
            log.warning("farthing: a summary failed (%s)", failure)
        try:
            return (
                await asyncio.to_thread(self._keeper.finish, due, text, self._summary.model or "") or failure
            )
        except Exception as error:
            log.error("farthing: a summary could not be kept (%s)", type(error).__name__)
            return type(error).__name__

    def _unwanted(self, call: Call, due: Due, data: dict[str, Any]) -> str:
        """Return why no model is asked, empty if one is."""
        router, model = self._router(), self._summary.model
        if router is None or model is None:
            return "no summariser"
        if not call.policy.allows(self._settings.tiers.of_group(model)):
            return "above the key's ceiling"
        if self._under_way >= self._summary.at_once:
            return "too many at once"
        prices = [deployment.price for deployment in self._deployments.of_group(router, model)]
        if not prices or None in prices:
            return "no priced summariser"
        tokens = input_upper_bound(data)
        worst = max(PriceBook.worst_case(price, tokens, data["max_tokens"]) for price in prices if price)
        return "" if self._keeper.affordable(due.owner, worst) else "dearer than what was saved"

    async def _ask(self, call: Call, due: Due, data: dict[str, Any], span: Span) -> str | None:
        child = call.child("summary", {"messages": data["messages"]}, "chat", span)
        self._calls.add(child, data)
        self._under_way += 1
        try:
            response = await asyncio.wait_for(
                self._router().acompletion(**data), timeout=self._summary.timeout_s
            )
            answers = answers_from(response)
        except RefusedCallError:
            self._meter.close(child)
            raise
        except (asyncio.CancelledError, TimeoutError):
            await self._meter.abandon(child)
            raise
        except Exception as error:
            await self._meter.abandon(child, type(error).__name__)
            raise
        finally:
            self._under_way -= 1
            charge = child.attempt.charge if child.attempt else None
            if charge and charge.settled:
                await asyncio.to_thread(self._keeper.spent, due, charge.settled)
        if not answers or answers[0].finish == "length":
            return ""  # cut off: the check refuses it
        return answers[0].text
