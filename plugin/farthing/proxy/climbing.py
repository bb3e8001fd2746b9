"""The climb: a cheap answer that fails its check is asked again of the next tier, through LiteLLM's router.

The user sees one good answer. The failed attempt is charged as such (`failed_attempt`); the better answer is
a call of its own on the same account. Where the next tier cannot be had — the balance is short, the tier is
down, the key's ceiling is reached — the cheap answer goes out after all.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from farthing.context import recall
from farthing.grading.check import Answer, LearnedCheck, Verdict, answers_from, check_answer
from farthing.proxy.calls import TOKEN, Attempt, Call, Calls
from farthing.proxy.feedback import Feedback
from farthing.proxy.meter import Meter
from farthing.proxy.tree import failed
from farthing.settings import Settings
from farthing.telemetry import attributes as attr

log = logging.getLogger("farthing")

ROUTER_METHODS = {
    "chat": "acompletion",
    "responses": "aresponses",
    "messages": "aanthropic_messages",
    "completions": "atext_completion",
}
"""By surface, the method of LiteLLM's router that asks a model."""

_PASSED = Verdict(True)
_CARRIED = dict.fromkeys(("messages", "input", "prompt", "system", "instructions", "tools", "tool_choice"))
"""What other hooks may have added to the client's request."""
_BUCKETS = ("metadata", "litellm_metadata")


class Climber:
    """Checks cheap answers and asks the next tier for better ones."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        calls: Calls,
        learned: LearnedCheck,
        feedback: Feedback,
        router: Callable[[], Any],
    ) -> None:
        """``router`` returns LiteLLM's router, None while there is none."""
        self._settings = settings
        self._meter = meter
        self._calls = calls
        self._learned = learned
        self._feedback = feedback
        self._router = router

    def may_climb(self, call: Call) -> bool:
        """Return whether a bad answer of the call's attempt would be asked again."""
        attempt = call.attempt
        return (
            attempt is not None
            and call.routed
            and not call.climbed_down_from  # the balance is short for better
            and call.surface in ROUTER_METHODS
            and self._settings.grading.mode == "route"
            and self._settings.grading.check.climb
            and call.policy.next_tier(attempt.deployment.tier) is not None
            # Another provider knows nothing of a conversation stored with the first.
            and not any(call.payload.get(name) for name in ("previous_response_id", "conversation"))
            and self._router() is not None
        )

    def check_response(self, call: Call, response: Any) -> Verdict:
        """Return the verdict on a whole response, noted; of several answers the first bad one counts."""
        answers = answers_from(response)
        if any(looks_up(call, answer) for answer in answers):
            return _PASSED

        def bad() -> Verdict:
            verdicts = (self._check(call, answer) for answer in answers)
            return next((verdict for verdict in verdicts if not verdict.ok), _PASSED)

        return self.note(call, self.checked(call, bad))

    def check_streamed(self, call: Call, answer: Answer) -> Verdict:
        """Return the verdict on an answer that was streamed to its end, noted."""
        if looks_up(call, answer):
            return _PASSED
        return self.note(call, self.checked(call, lambda: self._check(call, answer)))

    def _check(self, call: Call, answer: Answer) -> Verdict:
        return check_answer(
            call.payload,
            answer,
            min_token_probability=self._settings.grading.check.min_token_probability,
            learned=self._learned,
        )

    def checked(self, call: Call, check: Callable[[], Verdict], part: str = "whole") -> Verdict:
        """Return the verdict of ``check``, with a span of its own.

        One that breaks passes and leaves an event on the call's span. ``part`` says what is checked: the
        ``whole`` answer, or the ``beginning`` of a streamed one.
        """
        span = self._meter.tree.step(call, "check")
        try:
            verdict = check()
        except Exception as error:
            # The type alone: an exception's text may quote the answer.
            log.error("farthing: the answer check failed (%s); the answer passes", type(error).__name__)
            call.span.add_event("farthing.check.failed", {attr.ERROR_TYPE: type(error).__name__})
            failed(span, type(error).__name__)
            return _PASSED
        else:
            attempt = call.attempt
            span.set_attributes(
                {attr.CHECK_PART: part, attr.TIER: attempt.deployment.tier if attempt else ""}
            )
            if not verdict.ok:
                span.set_attributes({attr.CHECK_FAILURE: verdict.failure, attr.CHECK_REASON: verdict.reason})
                failed(span, verdict.failure)
            return verdict
        finally:
            span.end()

    def note(self, call: Call, verdict: Verdict) -> Verdict:
        """Remember a verdict on the call's attempt and for its intent; return it."""
        attempt = call.attempt
        if attempt and attempt.verdict is None:
            attempt.verdict = verdict
            self._feedback.checked(call, attempt, verdict)
        return verdict

    async def climb(self, call: Call, data: Mapping[str, Any], above: str = "") -> tuple[Call, Any] | None:
        """Ask the next tier that can be had; return its call and its response or stream, None if none can.

        ``data`` is the request as LiteLLM's hooks left it: what a guardrail masked stays masked. ``above``
        is a tier that has failed on the way; empty: the tier of the call's attempt.
        """
        attempt, router = call.attempt, self._router()
        if attempt is None or router is None:
            return None
        tier = above or attempt.deployment.tier
        while tier := call.policy.next_tier(tier) or "":
            child = call.child("inference", call.payload)
            child.failed_tier = attempt.deployment.tier
            self._tell(call, attempt, tier)
            # LiteLLM's fallbacks do not know that a cheaper tier has failed, nor that the next is tried here.
            model = getattr(self._settings.tiers, tier)
            request = request_of(data) | {"model": model, "disable_fallbacks": True}
            self._calls.add(child, request)
            try:
                response = await getattr(router, ROUTER_METHODS[call.surface])(**request)
            except Exception as error:
                await self._meter.abandon(child, type(error).__name__)
                self._meter.metrics.climbed(attempt.deployment.tier, tier, type(error).__name__)
                log.warning("farthing: the %s tier gave no better answer (%s)", tier, type(error).__name__)
                facts = {attr.TIER: tier, attr.ERROR_TYPE: type(error).__name__}
                call.span.add_event("farthing.climb.failed", facts)
            except BaseException:  # the client hung up
                await self._meter.abandon(child)
                raise
            else:
                self._meter.metrics.climbed(attempt.deployment.tier, tier)
                call.climbed_to = child
                if child.attempt and from_cache(response):
                    await self.recall(child, child.attempt, response)
                return child, response
        return None

    async def recall(self, call: Call, attempt: Attempt, response: Any) -> None:
        """End an attempt that LiteLLM's own cache answered: checked like any other, but it cost nothing."""
        if not attempt.streamed and self.may_climb(call):
            self.check_response(call, response)
        await self._meter.recall(call, attempt)

    @staticmethod
    def _tell(call: Call, attempt: Attempt, tier: str) -> None:
        facts = {attr.CLIMBED_FROM: attempt.deployment.tier, attr.TIER: tier}
        if attempt.verdict:
            facts |= {attr.CHECK_FAILURE: attempt.verdict.failure, attr.CHECK_REASON: attempt.verdict.reason}
        call.span.add_event("farthing.climb", facts)

    async def better(self, call: Call, data: Mapping[str, Any], response: Any) -> Any:
        """Return ``response``, or the answer of a higher tier if it failed its check."""
        while call.attempt and call.attempt.verdict and not call.attempt.verdict.ok:
            climbed = await self.climb(call, data)
            if climbed is None:
                break
            call, response = climbed
        return response


def looks_up(call: Call, answer: Answer) -> bool:
    """Return whether an answer only looks something up: what is checked is what comes of it."""
    return call.may_recall and any(tool.name == recall.NAME for tool in answer.tool_calls)


def from_cache(response: Any) -> bool:
    """Return whether LiteLLM's own cache gave a response or stream."""
    return bool((getattr(response, "_hidden_params", None) or {}).get("cache_hit"))


def request_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the client's own request, as parameters for the router."""
    sent = (data.get("proxy_server_request") or {}).get("body") or {}
    names = [name for name in {**sent, **_CARRIED} if name in data and name not in _BUCKETS]
    bucket = "litellm_metadata" if isinstance(data.get("litellm_metadata"), dict) else "metadata"
    request = {name: data[name] for name in names}
    request[bucket] = {**(data.get(bucket) or {})}
    request[bucket].pop(TOKEN, None)
    if bucket == "litellm_metadata" and isinstance(data.get("metadata"), dict):
        request["metadata"] = data["metadata"]  # the client's own, which the provider may be sent
    return request
