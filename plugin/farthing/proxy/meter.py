"""The way of a call: open, grade, hold, settle, charge. Plain Python: LiteLLM is met only in hooks.py.

Everything but money falls back and says so in a span event; money is denied when in doubt.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, set_span_in_context

from farthing import grading
from farthing.cost import PriceBook, has_hidden_input, input_upper_bound_async
from farthing.credits import InsufficientCreditsError, StoreError
from farthing.credits.holding import Held
from farthing.grading import Grade
from farthing.grading.decision import Decision
from farthing.grading.judge import Ask
from farthing.grading.pipeline import Pipeline
from farthing.money import usd_text
from farthing.proxy import bounds, errors, told
from farthing.proxy.calls import Attempt, Call, Deployment
from farthing.proxy.charge_log import ChargeLog
from farthing.proxy.charging import charge_of, counted_usage
from farthing.proxy.holds import Holds, LocalShareError
from farthing.proxy.policy import Policy
from farthing.proxy.sessions import SessionBook, is_named
from farthing.settings import Settings
from farthing.telemetry import Account, Charge, Usage
from farthing.telemetry import attributes as attr
from farthing.telemetry.charge import Outcome
from farthing.telemetry.metrics import GradeMetrics
from farthing.telemetry.tracing import Tracing, extract

log = logging.getLogger("farthing")

FALLBACK = Decision(
    Grade(grade="MEDIUM", score=0.5, reason="the grader failed; see the span", source="fallback")
)

METERED_CALLS = {"acompletion", "aresponses", "anthropic_messages", "aembedding", "atext_completion"}
"""LiteLLM call types whose answers report tokens. The cost of others cannot be known beforehand."""


class Meter:
    """Grades, holds, settles and charges the calls of one process."""

    def __init__(
        self,
        settings: Settings,
        *,
        pipeline: Pipeline,
        prices: PriceBook,
        holds: Holds,
        charge_log: ChargeLog,
        tracing: Tracing,
        metrics: GradeMetrics,
        chores: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self.prices = prices
        self._holds = holds
        self._charge_log = charge_log
        self._tracer = tracing.tracer
        self._metrics = metrics
        self._chores = chores
        self._tasks: set[asyncio.Task[Any]] = set()
        self.sessions = SessionBook()
        self.on_settled: Callable[[Call, Attempt, Charge], None] | None = None
        """Told of each charge, in the way of its answer; raises nothing."""

    def start_chores(self) -> None:
        """Start what runs in the background on the running loop. Cheap to repeat."""
        for start in self._chores:
            start()

    async def idle(self) -> None:
        """Wait until every settlement under way is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # A call's beginning and end

    def open(
        self,
        account: Account,
        policy: Policy,
        surface: str,
        payload: Mapping[str, Any],
        headers: Mapping[str, str],
        previous: str = "",
    ) -> Call:
        """Start a call's trace (inside the caller's, if a ``traceparent`` came along) and its session.

        ``previous`` is the provider's id of the stored response that it goes on from.
        """
        self.start_chores()
        session_id, step = self.sessions.session_of(account, payload, headers, previous)
        span = self._tracer.start_span(
            f"farthing {surface}",
            context=extract(headers),
            kind=SpanKind.SERVER,
            attributes={
                attr.SURFACE: surface,
                attr.ACCOUNT_USER: account.user,
                attr.ACCOUNT_DEPARTMENT: account.department,
                attr.ACCOUNT_COST_CENTRE: account.cost_centre,
                attr.ACCOUNT_KEY_HASH: account.key_hash,
                attr.SESSION_ID: session_id,
                attr.SESSION_STEP: step,
            },
        )
        named = is_named(payload, headers)
        return Call(account, surface, span, payload, session_id, step, named, policy=policy)

    def close(self, call: Call, error: str = "") -> None:
        """End a call and its trace, once. A call made on another's behalf shares its trace, which goes on."""
        if call.closed:
            return
        call.closed = True
        call.payload = {}
        if call.climbed_to:
            self.close(call.climbed_to)
        if call.parent:
            return
        if error:
            call.span.set_status(Status(StatusCode.ERROR, error))
        call.span.end()

    def note(self, call: Call, name: str, facts: Mapping[str, str | int]) -> None:
        """Leave a span of what was done on behalf of a call, which may have ended already."""
        self._tracer.start_span(name, context=set_span_in_context(call.span), attributes=facts).end()

    # Grading

    async def decide(
        self,
        payload: Mapping[str, Any],
        policy: Policy,
        ask: Ask | None = None,
        session_id: str = "",
        span: Span = INVALID_SPAN,
    ) -> Decision:
        """Return a request's grade within its policy; a failure grades MEDIUM, with an event on ``span``."""
        try:
            task = grading.task_from(payload)
            decision = await self._pipeline.grade(task, policy.scope, policy.quality, ask, session_id)
        except Exception as error:
            # The type alone: an exception's text may quote the prompt.
            log.error("farthing: the grader failed (%s); the task counts as MEDIUM", type(error).__name__)
            span.add_event("farthing.grade.failed", {attr.ERROR_TYPE: type(error).__name__})
            decision = FALLBACK
        return replace(decision, grade=policy.bounded(decision.grade))

    async def grade(self, call: Call, ask: Ask | None = None) -> Decision:
        """Return the call's grade, graded once. ``ask`` calls the judge, without it none is called."""
        if call.decision is None:
            span = self._tracer.start_span("farthing grade", context=set_span_in_context(call.span))
            started = perf_counter()
            # In shadow mode another tier answers: that it is asked again tells nothing of the grade.
            moved = call.routed and self._settings.grading.mode == "route"
            session = call.session_id if moved else ""
            call.decision = decision = await self.decide(call.payload, call.policy, ask, session, call.span)
            grade = decision.grade
            self._metrics.record(
                grade.grade, grade.source, decision.layer, perf_counter() - started, decision.saved_s
            )
            facts = _grade_facts(decision, self._settings.grading.mode)
            span.set_attributes(facts)
            call.span.set_attributes(facts)
            span.end()
        return call.decision

    # Money

    async def begin(
        self, call: Call, call_type: str, deployment: Deployment, payload: Mapping[str, Any]
    ) -> int | None:
        """Hold the worst case of one attempt; return the output cap to put on its request, if any.

        Raises RefusedCallError if the account cannot pay or the cost cannot be known.
        """
        previous = call.attempt
        if previous is not None and not previous.ended:
            if previous.deployment.id == deployment.id and previous.call_type != call_type:
                return None  # LiteLLM bridges one surface to another inside the same attempt
            await self.fail(call, previous, "replaced by another attempt")
        self._refuse_unknowable(call_type, deployment)
        if call_type not in METERED_CALLS:
            deployment = replace(deployment, price=None)  # let pass, and so its charge is unpriced
        if call.kind == "inference":
            await self.grade(call)
        if call.routed and not call.policy.allows(deployment.tier):
            raise errors.above_ceiling(deployment.tier, call.policy.ceiling)
        bound = await input_upper_bound_async(payload)
        if has_hidden_input(payload):
            bound = max(bound, bounds.window(deployment))
        attempt_id = uuid.uuid4().hex
        held = await self._hold(call, attempt_id, call_type, deployment, payload, bound)
        call.attempt = Attempt(
            id=attempt_id,
            call_type=call_type,
            deployment=deployment,
            held=held.amount,
            available=held.available,
            streamed=bool(payload.get("stream")),
            plan=call.plan,
        )
        return held.output_cap

    def _refuse_unknowable(self, call_type: str, deployment: Deployment) -> None:
        if self._settings.cost.on_unpriced == "allow":
            return
        remedy = "set cost.on_unpriced: allow in farthing.yaml to let it pass as unpriced."
        if call_type not in METERED_CALLS:
            raise errors.cannot_meter(f"Farthing cannot meter {call_type} calls: use another, or {remedy}")
        if deployment.price is None:
            raise errors.cannot_meter(
                f"The model {deployment.model!r} has no price: add it to cost.prices in farthing.yaml, "
                f"or {remedy}"
            )

    async def _hold(
        self,
        call: Call,
        attempt_id: str,
        call_type: str,
        deployment: Deployment,
        payload: Mapping[str, Any],
        input_tokens: int,
    ) -> Held:
        span = self._tracer.start_span("farthing hold", context=set_span_in_context(call.span))
        try:
            held = await self._holds.take(call, attempt_id, call_type, deployment, payload, input_tokens)
        except (InsufficientCreditsError, StoreError, LocalShareError) as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            call.span.add_event(
                "farthing.call.refused", {attr.ERROR_TYPE: type(error).__name__, attr.TIER: deployment.tier}
            )
            call.refusal = told.refusal(call, deployment, error, self._settings)
            raise call.refusal from None
        else:
            span.set_attributes({attr.CREDITS_HELD: usd_text(held.amount), attr.TIER: deployment.tier})
            return held
        finally:
            span.end()

    async def fail(self, call: Call, attempt: Attempt, reason: str) -> None:
        """End an attempt that failed: charged if it had begun to answer, else its hold is released."""
        if attempt.ended:
            return
        call.failed_tier = attempt.deployment.tier
        call.span.add_event(
            "farthing.attempt.failed",
            {attr.TIER: attempt.deployment.tier, attr.RESPONSE_MODEL: attempt.deployment.label}
            | {attr.ERROR_TYPE: reason},
        )
        if attempt.answered:
            await self.settle(call, attempt, None, "failed")
            return
        await self.release(attempt)

    async def abandon(self, call: Call, error: str = "") -> None:
        """End a call whose answer nobody will read; what is ended already stays as it is.

        Cut off, it is charged, since what it was sent may be billed all the same; after an ``error`` it is
        charged if it had begun to answer.
        """
        attempt = call.attempt
        if attempt and not attempt.ended and error:
            await self.fail(call, attempt, error)
        elif attempt and not attempt.ended:
            await self.settle(call, attempt, None, "cancelled")
        self.close(call, error)

    async def release(self, attempt: Attempt) -> None:
        """End an attempt that cost nothing, such as an answer from LiteLLM's own cache. Raises nothing."""
        async with attempt.lock:
            if attempt.ended:
                return
            attempt.ended = True
            await self._holds.release(attempt)

    async def settle(
        self, call: Call, attempt: Attempt, usage: Usage | None, outcome: Outcome = "ok"
    ) -> Charge | None:
        """Charge an attempt's real usage, once, however often it is reported; return its charge.

        Without a ``usage`` the tokens are counted here, those of the answer in ``attempt.answered``.
        It runs to its end even if the caller is cancelled meanwhile, as a client that hangs up does.
        """
        return await asyncio.shield(self._keep(self._settle(call, attempt, usage, outcome)))

    def _keep(self, work: Coroutine[Any, Any, Charge | None]) -> asyncio.Task[Charge | None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _settle(
        self, call: Call, attempt: Attempt, usage: Usage | None, outcome: Outcome
    ) -> Charge | None:
        async with attempt.lock:
            if attempt.ended:
                return attempt.charge
            attempt.ended = True
            self._holds.forget(attempt)
            span = self._tracer.start_span("farthing settle", context=set_span_in_context(call.span))
            estimated = usage is None
            if usage is None:
                sent = attempt.plan.payload if attempt.plan else dict(call.payload)
                usage = await asyncio.to_thread(counted_usage, sent, "".join(attempt.answered))
            charge = charge_of(
                call,
                attempt,
                usage,
                outcome,
                prices=self.prices,
                baseline_model=self._settings.cost.baseline_model,
                instance=self._charge_log.instance,
                sequence=self._charge_log.next_sequence(),
                estimated=estimated,
            )
            # The charge is on disk before the credits move: a crash in between is mended from the outbox.
            await self._charge_log.write(charge, call.span.get_span_context())
            await self._holds.settle(call, attempt, charge)
            attempt.charge = charge
            attempt.answered.clear()
            # Not the charge's id: a span that carries it is a charge, and there is one of each.
            facts = {
                attr.TIER: charge.tier,
                attr.RESPONSE_MODEL: charge.model,
                attr.CREDITS_SETTLED: usd_text(charge.settled),
                attr.CREDITS_BALANCE: usd_text(attempt.available),
            }
            span.set_attributes(facts)
            span.end()
            if call.kind == "inference":  # a grading's tier is not the request's, and may outlive its span
                call.span.set_attributes(facts)
        if self.on_settled:
            self.on_settled(call, attempt, charge)
        if outcome != "failed" and not call.may_recall:
            self.close(call)
        return charge


def _grade_facts(decision: Decision, mode: str) -> dict[str, str | float]:
    grade = decision.grade
    facts: dict[str, str | float] = {
        attr.GRADE: grade.grade,
        attr.GRADE_SCORE: grade.score,
        attr.GRADE_SOURCE: grade.source,
        attr.GRADE_REASON: grade.reason,
        attr.GRADE_MODE: mode,
        attr.INTENT: decision.intent,
    }
    if decision.layer:
        facts |= {attr.GRADE_CACHE: decision.layer, attr.GRADE_SAVED: decision.saved_s}
    if decision.judge_failure:
        facts[attr.GRADE_JUDGE_FAILURE] = decision.judge_failure
    return facts
