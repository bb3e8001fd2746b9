"""The hooks LiteLLM calls, in the order of a request. Each only translates; the work is in the meter.

LiteLLM looks hooks up on the leaf class, so all stand here; its log events come with keyword arguments.
"""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from time import perf_counter_ns, time_ns
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from farthing.context.edit import without_pins
from farthing.proxy import door, told
from farthing.proxy.accounts import account_of, ring_key
from farthing.proxy.bounds import caps_of
from farthing.proxy.calls import Attempt, Call, Calls
from farthing.proxy.climb_down import ClimbDown
from farthing.proxy.climbing import Climber, from_cache
from farthing.proxy.comparing import Comparing
from farthing.proxy.deployments import Deployments
from farthing.proxy.errors import RefusedCallError, credits_exhausted
from farthing.proxy.judging import Judging
from farthing.proxy.loop_guard import LoopGuard
from farthing.proxy.meter import Meter
from farthing.proxy.policy import TIER_OF, policy_of
from farthing.proxy.recalling import Recaller
from farthing.proxy.shortening import Shortening
from farthing.proxy.usage import answer_text, field, usage_of
from farthing.settings import Settings
from farthing.telemetry import GATEWAY, Account

log = logging.getLogger("farthing")

SURFACES = {
    "acompletion": "chat",
    "completion": "chat",
    "aresponses": "responses",
    "responses": "responses",
    "anthropic_messages": "messages",
    "aembedding": "embeddings",
    "embeddings": "embeddings",
    "atext_completion": "completions",
    "text_completion": "completions",
}
PINNABLE = ("chat", "responses", "messages")
ROUTER_TIERS = {"local": "SIMPLE", "fast": "MEDIUM", "strong": "COMPLEX"}
"""Farthing's tiers as LiteLLM's complexity router names them; other names need a licence there."""


class FarthingHooks(CustomLogger):  # type: ignore[misc]  # LiteLLM is not typed
    """Meters every call that LiteLLM makes, in the proxy and in the SDK's Router alike."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        calls: Calls,
        climber: Climber,
        recaller: Recaller,
        comparing: Comparing,
        loops: LoopGuard,
        deployments: Deployments,
        shortening: Shortening | None = None,
        sdk_account: Account | None = None,
    ) -> None:
        """``shortening``: None where histories go out as they are."""
        super().__init__()
        self._shortening = shortening
        self._settings = settings
        self._loops = loops
        self._deployments = deployments
        self._meter = meter
        self._calls = calls
        self._climber = climber
        self._recaller = recaller
        self._comparing = comparing
        self._sdk_account = sdk_account

    # Before the model is chosen (proxy only)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Open the call: who pays, in whose trace, and whether its session may go on."""
        began = perf_counter_ns()
        key = ring_key(user_api_key_dict, self._settings)
        account = account_of(user_api_key_dict, self._settings)
        headers = (data.get("proxy_server_request") or {}).get("headers") or {}
        policy = policy_of(account, key, self._settings)
        surface = SURFACES.get(call_type, call_type)
        previous = _own_id(data.get("previous_response_id"))
        above = getattr(user_api_key_dict, "parent_otel_span", None)
        call = self._meter.open(account, policy, surface, data, headers, previous, key, above)
        try:
            door.check(data, key, allow_unpriced=self._settings.cost.on_unpriced == "allow")
        except RefusedCallError as error:
            self._meter.deny(call, error)
            self._meter.close(call, error.type)
            raise
        options = data.get("stream_options")
        # LiteLLM asks for usage by itself, too, and then takes the usage chunk away from the client.
        asked = isinstance(options, Mapping) and bool(options.get("include_usage"))
        call.wants_usage = asked and not data.get("_litellm_strip_stream_usage")
        self._calls.add(call, data)
        try:
            await self._loops.admit(call, data)
        except BaseException as error:
            if isinstance(error, RefusedCallError):
                self._meter.deny(call, error)
            self._meter.close(call, getattr(error, "type", type(error).__name__))
            raise
        self._recaller.offer(call, data)
        self._meter.added(call, began)
        return data

    # Each attempt at a model (proxy and SDK)

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: Any
    ) -> dict[str, Any] | None:
        """Shorten the history if that pays, hold the worst case, and have a stream report its usage."""
        began = perf_counter_ns()
        kind = str(getattr(call_type, "value", call_type) or "unknown")
        obeyed = caps_of(kind)
        for name in set(door.CAPS) - set(obeyed):
            kwargs.pop(name, None)  # of another surface: the provider may obey it or not
        call = self._calls.of(kwargs) or self._open_internal(kwargs, kind)
        deployment = self._deployments.of_attempt(kwargs)
        if self._shortening:
            self._shortening.shorten(call, kind, deployment, kwargs)
        _unpin(kwargs, kind)
        try:
            cap = await self._meter.begin(call, kind, deployment, kwargs)
        except RefusedCallError:
            raise
        except Exception:
            # Not as it is: an error of the 5xx kind would cool the deployment down for everybody.
            log.exception("farthing: a hold failed, so the call is refused")
            raise credits_exhausted(
                "What this call may cost could not be held; it was refused.", {}
            ) from None
        if cap is not None:
            for name in obeyed:
                kwargs.pop(name, None)
            kwargs[obeyed[0]] = cap
        if kind == "acompletion" and kwargs.get("stream"):
            kwargs["stream_options"] = {**(kwargs.get("stream_options") or {}), "include_usage": True}
        self._meter.added(call, began, calling=True)
        return kwargs

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """Release the failed attempt's hold; the next attempt takes its own."""
        call, attempt = self._under_way(request_data)
        if call and attempt:
            if self._shortening:
                self._shortening.rejected(attempt, exception)
            await self._meter.fail(call, attempt, type(exception).__name__)

    async def async_post_call_success_deployment_hook(
        self, request_data: Mapping[str, Any], response: Any, call_type: Any
    ) -> None:
        """Settle an answer that came in one piece (or, from LiteLLM's bridge, a stream's last event)."""
        if not hasattr(response, "__aiter__"):  # a stream's wrapper settles it
            await self._settle(request_data, response, check=True)

    # The answer on its way out (proxy only)

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any
    ) -> Any:
        """Give the client another answer if this one looks something up or failed its check.

        Settles what no attempt's hook saw: an answer from LiteLLM's own cache cost nothing.
        """
        call, attempt = self._under_way(data)
        if call and attempt:
            if from_cache(response):
                await self._climber.recall(call, attempt, response)
            else:
                await self._settle(data, response)
        if call is None:
            return response
        self._remember(call, response)
        if call.climbed_to:
            return response  # the better answer, on its way through the guardrails
        response = await self._recaller.answer(call, data, response)
        if call.climbed_to:
            response = await _through_the_hooks(data, user_api_key_dict, response)
        self._comparing.sample(call.answering, data, response)
        self._meter.close(call)
        return response

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, Any] | None = None,
    ) -> dict[str, str]:
        """Tell the client grade, tier, model, cost and balance; a stream so far only what is held."""
        call = self._calls.of(data)
        return told.headers(call, self._settings) if call else {}

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Watch a stream and settle it before its last event."""
        call, attempt = self._under_way(request_data)
        if call is None:
            async for item in response:
                yield item
            return
        if attempt and from_cache(response):
            await self._climber.recall(call, attempt, response)
        stream = self._recaller.stream(call, response, request_data)
        try:
            async with aclosing(stream) as items:
                async for item in items:
                    self._remember(call, field(item, "response"))
                    yield item
        finally:
            self._meter.close(call)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> Exception | None:
        """End the call of a request that failed.

        If the tier was down and the next one too dear, LiteLLM would report the tier's fault as a 500;
        what the client can do something about is its balance.
        """
        call, attempt = self._under_way(request_data)
        if call is None:
            return None
        if attempt:
            await self._meter.fail(call, attempt, type(original_exception).__name__)
        refused = call.refusal
        denial = original_exception if isinstance(original_exception, RefusedCallError) else refused
        if denial and not call.closed:
            self._meter.deny(call, denial)
        self._meter.close(call, denial.type if denial else type(original_exception).__name__)
        if refused is None:
            return None
        message, own = refused.message, isinstance(original_exception, RefusedCallError)
        if own and refused.client_status == refused.status_code:
            return None
        if own:  # the Messages API answers with the error itself, whatever is returned here
            original_exception.status_code = refused.client_status  # type: ignore[attr-defined]
        if not own:
            message = f"The {call.failed_tier} tier is down. {message}"
        from fastapi import HTTPException  # the proxy has it, the SDK need not

        error = HTTPException(refused.client_status, message, headers=refused.headers)
        error.type = refused.type  # type: ignore[attr-defined]  # read by LiteLLM
        return error

    # LiteLLM's log event: a safety net (it may drop them) and the SDK's end of a stream

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Settle what is still open: the streams of the SDK, which pass no proxy hook."""
        if not kwargs.get("cache_hit"):
            await self._settle(kwargs, response_obj)

    # Translation

    def _remember(self, call: Call, response: Any) -> None:
        """Note which session a stored response belongs to, for the call that goes on from it."""
        if call.surface == "responses" and response is not None:
            self._meter.sessions.remember(call.account, _own_id(field(response, "id")), call.session_id)

    def _under_way(self, data: Mapping[str, Any]) -> tuple[Call | None, Attempt | None]:
        call = self._calls.of(data)
        attempt = call.attempt if call else None
        return call, attempt if attempt and not attempt.ended else None

    async def _settle(self, data: Mapping[str, Any], response: Any, *, check: bool = False) -> None:
        call, attempt = self._under_way(data)
        if call is None or attempt is None or attempt.guarded:
            return
        attempt.answered_ns = time_ns()
        usage = usage_of(response)
        if (usage is None or self._meter.tree.captures) and not attempt.answered:
            attempt.answered.append(answer_text(response))
        check = check and not attempt.streamed and self._climber.may_climb(call)
        good = not check or self._climber.check_response(call, response).ok
        await self._meter.settle(call, attempt, usage, "ok" if good else "failed")

    def _open_internal(self, kwargs: dict[str, Any], call_type: str) -> Call:
        """Open a call that passed no proxy door: the SDK's Router, or the proxy's own health checks."""
        metadata = kwargs.get("litellm_metadata") or kwargs.get("metadata") or {}
        auth = metadata.get("user_api_key_auth")
        account = self._sdk_account or account_of(auth, self._settings)
        policy = policy_of(account, None, self._settings)
        call = self._meter.open(account, policy, SURFACES.get(call_type, call_type), kwargs, {})
        self._calls.add(call, kwargs)
        return call


def _unpin(kwargs: dict[str, Any], call_type: str) -> None:
    """Take Farthing's own marks out of what a provider is sent: it may refuse them."""
    if SURFACES.get(call_type) in PINNABLE:
        told: dict[str, Any] = {
            name: kwargs[name] for name in ("messages", "input", "system") if name in kwargs
        }
        clean = without_pins(told)
        if clean is not told:
            kwargs.update(clean)


def _own_id(response_id: Any) -> str:
    """Return the id of a stored response as it is before LiteLLM encrypts it for its client.

    Whether a hook sees one or the other depends on the order of LiteLLM's own hooks.
    """
    if not isinstance(response_id, str) or not response_id:
        return ""
    try:
        from litellm.proxy.hooks.responses_id_security import ResponsesIDSecurity

        return str(ResponsesIDSecurity()._decrypt_response_id(response_id)[0])
    except Exception:  # another LiteLLM, or no proxy: then the call is in a session of its own
        return response_id


async def _through_the_hooks(data: dict[str, Any], user_api_key_dict: Any, response: Any) -> Any:
    """Return a better answer as LiteLLM's hooks leave it: guardrails have seen the cheap one alone."""
    from litellm.proxy.proxy_server import proxy_logging_obj

    return await proxy_logging_obj.post_call_success_hook(
        data=data, response=response, user_api_key_dict=user_api_key_dict
    )


class Classifier:
    """The grade as LiteLLM's complexity router asks for it (``classifier_plugin``)."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        calls: Calls,
        judging: Judging,
        climb_down: ClimbDown,
        sdk_account: Account | None = None,
    ) -> None:
        self._settings = settings
        self._climb_down = climb_down
        self._meter = meter
        self._calls = calls
        self._judging = judging
        self._sdk_policy = policy_of(sdk_account or GATEWAY, None, settings)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Classifier":
        """Return itself: LiteLLM copies its configuration, and a copy would not see the calls under way."""
        return self

    async def classify(self, context: Any) -> str:
        """Return the router's name of the tier that serves the task; never raises."""
        began = perf_counter_ns()
        call = self._calls.of_metadata(field(context, "metadata"))
        policy = call.policy if call else self._sdk_policy
        if call is None:
            # The SDK: its attempt opens the call and grades again, to the same result.
            task = {"messages": field(context, "structured_messages")}
            decision = await self._meter.decide(task, policy)
        else:
            call.routed = True
            decision = await self._meter.grade(call, self._judging.ask_for(call))
        tier = TIER_OF[decision.grade.grade]
        if self._settings.grading.mode == "shadow":
            tier = policy.within_ceiling(self._settings.grading.shadow_tier)
        if call is not None:
            tier = await self._climb_down.tier_for(call, tier)
            self._meter.added(call, began)
        return ROUTER_TIERS[tier]
