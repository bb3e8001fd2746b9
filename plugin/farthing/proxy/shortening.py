"""Sends histories shorter where that pays: between LiteLLM's hooks and the room that knows how (context/).

Whatever fails there, the full history goes out, and an event on the call's span says so.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from opentelemetry.trace import SpanContext

from farthing.context.fold import Owner
from farthing.context.keeper import Keeper
from farthing.context.plan import Plan, Served
from farthing.proxy.calls import Attempt, Call, Deployment
from farthing.proxy.summarising import Summarising
from farthing.proxy.tree import Tree, failed
from farthing.telemetry import Charge
from farthing.telemetry import attributes as attr
from farthing.telemetry.spans import context_attributes

log = logging.getLogger("farthing")

Found = TypeVar("Found")

SURFACES = {"acompletion": "chat", "aresponses": "responses", "anthropic_messages": "messages"}
"""The call types whose histories are understood."""
_READ = (
    "messages",
    "input",
    "system",
    "instructions",
    "tools",
    "functions",
    "tool_choice",
    "previous_response_id",
    "conversation",
    "cache_control",
    "cache_control_injection_points",
)
"""What of a request is read: it is remembered until the turn's work is done."""
_HISTORY = ("messages", "input")
_CLAUDE = "claude"
_MOST_WAITING = 200
"""Conversations that wait to be prepared; those beyond wait for their next turn."""
_MOST_WRITTEN = 2_000
_REFUSALS = ("BadRequestError", "UnprocessableEntityError")
"""LiteLLM's errors (not those that derive from them) for a request that a provider does not take as it is."""


class Shortening:
    """Plans what each attempt is sent, and prepares the session's next request once it is settled."""

    def __init__(self, keeper: Keeper, tree: Tree, summarising: Summarising) -> None:
        self._keeper = keeper
        self._tree = tree
        self._summarising = summarising
        # One at a time: what is prepared builds on what was.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="farthing-context")
        self._tasks: set[asyncio.Task[None]] = set()
        self._newest: dict[tuple[Owner, str], tuple[Call, Plan, Charge]] = {}
        """By conversation, its latest request that waits to be prepared."""
        self._written: OrderedDict[tuple[Owner, str], SpanContext] = OrderedDict()
        """By conversation, the span of its latest summary, of the latest conversations."""

    # On the way of an attempt

    def shorten(self, call: Call, call_type: str, deployment: Deployment, kwargs: dict[str, Any]) -> None:
        """Shorten the history in an attempt's parameters, if that pays. Raises nothing."""
        attempt = call.attempt
        under_way = attempt is not None and not attempt.ended and attempt.deployment.id == deployment.id
        if attempt and under_way and attempt.call_type != call_type:
            return  # LiteLLM bridges one surface to another: it is short already
        call.plan = None
        if call.kind != "inference" or call_type not in SURFACES:
            return
        payload: Mapping[str, Any] = {name: kwargs[name] for name in _READ if name in kwargs}
        climbs = call.parent is not None and not call.goes_on
        if not (climbs and _was_short(call.parent)) and deployment.price is not None:
            plan = self._plan(call, SURFACES[call_type], deployment, payload)
            if plan and plan.payload is not payload:
                kwargs.update({name: plan.payload[name] for name in _HISTORY if name in plan.payload})
                _recount(kwargs)

    def _plan(
        self, call: Call, surface: str, deployment: Deployment, payload: Mapping[str, Any]
    ) -> Plan | None:
        assert deployment.price is not None
        owner = Owner(call.account.user, call.session_id)
        served = Served(
            deployment.id, deployment.price, deployment.window, _CLAUDE in deployment.model.lower()
        )
        span = self._tree.step(call, "context")
        try:
            call.plan = plan = self._keeper.plan(owner, payload, surface, served)
        except Exception as error:
            # The type alone: an exception's text may quote the history.
            log.error("farthing: shortening failed (%s); the full history goes out", type(error).__name__)
            call.span.add_event("farthing.context.failed", {attr.ERROR_TYPE: type(error).__name__})
            failed(span, type(error).__name__)
            return None
        else:
            if plan:
                facts = context_attributes(plan.use)
                call.span.set_attributes(facts)
                span.set_attributes(facts | {attr.CONTEXT_REASON: plan.reason})
                summary = self._written.get((plan.owner, plan.branch))
                if summary and plan.fold and plan.shortened:
                    span.add_link(summary, {attr.LINK: "summary"})
            return plan
        finally:
            span.end()

    def rejected(self, attempt: Attempt, error: Exception) -> None:
        """Note that a model refused a request: if it was a shortened one, it gets the next one in full."""
        if attempt.plan and attempt.plan.shortened and type(error).__name__ in _REFUSALS:
            self._in_background(self._work(self._keeper.rejected, attempt.plan))

    # After it

    def settled(self, call: Call, attempt: Attempt, charge: Charge) -> None:
        """Prepare the session's next request, now that this one is answered. Raises nothing."""
        if attempt.plan is not None and charge.outcome != "failed":
            plan = replace(attempt.plan, use=charge.context or attempt.plan.use)
            key = plan.owner, plan.branch
            waits = key in self._newest
            if waits or len(self._newest) < _MOST_WAITING:
                self._newest[key] = call, plan, charge  # what comes later holds all that came before
            if not waits and key in self._newest:
                self._in_background(self._prepare(key))

    async def _prepare(self, key: tuple[Owner, str]) -> None:
        await self._work(lambda: None)  # the worker's turn
        call, plan, charge = self._newest.pop(key)
        if not charge.usage_estimated:
            await self._work(self._keeper.sent, plan, charge.usage)
        if call.recalled:  # what was looked up is not in the client's history
            return
        due = await self._work(self._keeper.prepare, plan)
        if due is not None and (summary := await self._summarising.write(call, due)):
            self._written[key] = summary
            self._written.move_to_end(key)
            if len(self._written) > _MOST_WRITTEN:
                self._written.popitem(last=False)

    async def _work(self, work: Callable[..., Found], *given: Any) -> Found | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work, *given)
        except Exception as error:
            log.error("farthing: preparing a history failed (%s)", type(error).__name__)
            return None

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until everything is prepared."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """End what is under way: a summary that is asked for is given up, and charged."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._worker.shutdown)
        self._keeper.close()


def _recount(kwargs: Mapping[str, Any]) -> None:
    """Have LiteLLM count what is sent: of a stream without usage it reports its own count as real."""
    logging_object: Any = kwargs.get("litellm_logging_obj")
    if "messages" in kwargs and hasattr(logging_object, "messages"):
        logging_object.messages = kwargs["messages"]


def _was_short(call: Call | None) -> bool:
    """Return whether a call was answered from a shortened history: that may be why its answer was bad."""
    attempt = call.attempt if call else None
    return bool(attempt and attempt.plan and attempt.plan.shortened)
