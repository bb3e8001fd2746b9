"""The way of a call: open, grade, hold, settle, charge. Plain Python: LiteLLM is met only in hooks.py.

Everything but money falls back and says so in a span event; money is denied when in doubt.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter, perf_counter_ns
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span

from farthing import grading
from farthing.cost import PriceBook, has_hidden_input, input_upper_bound_async
from farthing.credits import InsufficientCreditsError, StoreError
from farthing.credits.holding import Held
from farthing.grading import Grade
from farthing.grading.decision import Decision
from farthing.grading.judge import Ask
from farthing.grading.pipeline import Pipeline
from farthing.money import usd_text
from farthing.proxy import bounds, errors, labels, told
from farthing.proxy.calls import Attempt, Call, Deployment
from farthing.proxy.charge_log import ChargeLog
from farthing.proxy.charging import charge_of, counted_usage
from farthing.proxy.holds import Holds, LocalShareError
from farthing.proxy.policy import Policy
from farthing.proxy.sessions import SessionBook, is_named
from farthing.proxy.tree import Tree, failed, grade_facts, links_of, seconds_since
from farthing.settings import Key, Settings
from farthing.telemetry import Account, Charge, Usage
from farthing.telemetry import attributes as attr
from farthing.telemetry.charge import Outcome, new_charge_id
from farthing.telemetry.metrics import Metrics

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
        tree: Tree,
        metrics: Metrics,
        chores: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self.prices = prices
        self._holds = holds
        self._charge_log = charge_log
        self.tree = tree
        self.metrics = metrics.calls
        self._grades = metrics.grades
        self._chores = chores
        self._tasks: set[asyncio.Task[Any]] = set()
        self.sessions = SessionBook()
        self._agents = labels.Agents()
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
        key: Key | None = None,
        above: Any = None,
    ) -> Call:
        """Start a call's trace (inside the caller's, if a ``traceparent`` came along) and its session.

        ``previous`` is the provider's id of the stored response that it goes on from, ``key`` the key's
        entry on the ring, ``above`` the span that LiteLLM has made for the request, if it traces, too.
        """
        self.start_chores()
        session_id, step = self.sessions.session_of(account, payload, headers, previous)
        agent = self._agents.of(key, account.key_hash, payload, headers)
        task = labels.task_of(payload, headers)
        facts: dict[str, str | int | float | bool] = {
            attr.SURFACE: surface,
            attr.ACCOUNT_USER: account.user,
            attr.ACCOUNT_DEPARTMENT: account.department,
            attr.ACCOUNT_COST_CENTRE: account.cost_centre,
            attr.ACCOUNT_KEY_HASH: account.key_hash,
            attr.SESSION_ID: session_id,
            attr.SESSION_STEP: step,
            attr.AGENT_NAME: agent,
            attr.TASK: task,
        }
        span = self.tree.root(surface, above, headers, facts)
        named = is_named(payload, headers)
        return Call(
            account, surface, span, payload, session_id, step, named, policy=policy, agent=agent, task=task
        )

    def deny(self, call: Call, error: errors.RefusedCallError) -> None:
        """Count a request that the client is refused, once, and say so on its span."""
        root = call.root
        if root.denied:
            return
        root.denied = True
        self.metrics.denied(error.reason, root.account.department)
        root.span.set_attributes({attr.DENIAL_REASON: error.reason, attr.HTTP_STATUS: error.client_status})

    def added(self, call: Call, since_ns: int, *, calling: bool = False) -> None:
        """Note that a request has waited for Farthing since a moment (`perf_counter_ns`).

        ``calling``: now its model is called. What comes after the first of them is not added up.
        """
        if call.called or call.parent is not None:
            return
        call.added_ns += perf_counter_ns() - since_ns
        if calling:
            call.called = True
            seconds = call.added_ns / 1e9
            self.metrics.added(seconds, call.surface)
            call.span.set_attribute(attr.OVERHEAD, seconds)

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
            failed(call.span, error)
        call.span.end()

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
            call.grading = span = self.tree.step(call, "grade")
            started = perf_counter()
            # In shadow mode another tier answers: that it is asked again tells nothing of the grade.
            moved = call.routed and self._settings.grading.mode == "route"
            session = call.session_id if moved else ""
            try:
                call.decision = decision = await self.decide(
                    call.payload, call.policy, ask, session, call.span
                )
            except BaseException as error:  # LiteLLM waits no longer: its charges hang from the span
                failed(span, type(error).__name__)
                span.end()
                raise
            grade = decision.grade
            self._grades.record(
                grade.grade, grade.source, decision.layer, perf_counter() - started, decision.saved_s
            )
            facts = grade_facts(decision, self._settings.grading.mode)
            span.set_attributes(facts)
            call.span.set_attributes(facts)
            if decision.grade.source == FALLBACK.grade.source:
                failed(span, attr.ERROR_TYPE_OTHER)
            span.end()
            call.grading = None
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
            await self.fail(call, previous, "replaced")
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
        attempt_id = new_charge_id()
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
        span = self.tree.step(call, "hold")
        try:
            held = await self._holds.take(call, attempt_id, call_type, deployment, payload, input_tokens)
        except (InsufficientCreditsError, StoreError, LocalShareError) as error:
            failed(span, type(error).__name__)
            span.set_attribute(attr.TIER, deployment.tier)
            call.span.add_event(
                "farthing.call.refused", {attr.ERROR_TYPE: type(error).__name__, attr.TIER: deployment.tier}
            )
            call.refusal = told.refusal(call, deployment, error, self._settings)
            raise call.refusal from None
        else:
            span.set_attributes(
                {
                    attr.CREDITS_HELD: usd_text(held.amount),
                    attr.CREDITS_BALANCE: usd_text(held.available),
                    attr.TIER: deployment.tier,
                    attr.RESPONSE_MODEL: deployment.label,
                }
            )
            return held
        finally:
            span.end()

    async def fail(self, call: Call, attempt: Attempt, reason: str) -> None:
        """End an attempt that failed: charged if it had begun to answer, else its hold is released."""
        if attempt.ended:
            return
        attempt.error = reason
        call.failed_tier = attempt.deployment.tier
        call.span.add_event(
            "farthing.attempt.failed",
            {attr.TIER: attempt.deployment.tier, attr.RESPONSE_MODEL: attempt.deployment.label}
            | {attr.ERROR_TYPE: reason},
        )
        if attempt.answered:
            await self.settle(call, attempt, None, "failed")
            return
        await self._release(call, attempt, reason)

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

    async def recall(self, call: Call, attempt: Attempt) -> None:
        """End an attempt that LiteLLM's own cache answered: it cost nothing. Raises nothing."""
        await self._release(call, attempt)

    async def _release(self, call: Call, attempt: Attempt, error: str = "") -> None:
        async with attempt.lock:
            if attempt.ended:
                return
            attempt.ended = True
            await self._holds.release(attempt)
            facts = self.tree.uncharged(call, attempt, error)
            self.metrics.ended(facts, seconds_since(attempt.started_ns))

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
            self.tree.content(call, attempt)
            span = self.tree.step(call, "settle")
            estimated = usage is None
            if usage is None:
                sent = attempt.plan.payload if attempt.plan else dict(call.payload)
                counted = partial(counted_usage, sent, "".join(attempt.answered))
                try:
                    usage = await asyncio.to_thread(counted)
                except asyncio.CancelledError:  # the process ends, and only this knows what was spent
                    usage = counted()
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
            await self._charge_log.write(charge, call.span.get_span_context(), links_of(call))
            delayed = await self._holds.settle(call, attempt, charge)
            self.metrics.charged(charge)
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
            if delayed:
                failed(span, delayed)
            span.end()
            if call.kind == "inference":  # a grading's tier is not the request's, and may outlive its span
                call.span.set_attributes(facts)
        if self.on_settled:
            self.on_settled(call, attempt, charge)
        if outcome != "failed" and not call.may_recall:
            self.close(call)
        return charge
