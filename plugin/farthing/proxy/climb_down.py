"""When the balance is short: the dearest tier, from the grade's downwards, whose worst case still fits.

What is found is no promise: the hold decides. The local tier, if it is free, is always left, unless the
key's floor lies above it.
"""

from collections.abc import Callable
from typing import Any

from farthing.cost import PriceBook, has_hidden_input, input_upper_bound_async, quick_upper_bound
from farthing.credits import CreditStore
from farthing.proxy import bounds
from farthing.proxy.calls import Call, Deployment
from farthing.proxy.deployments import Deployments
from farthing.proxy.policy import TIER_OF, TIERS
from farthing.settings import Settings
from farthing.telemetry import attributes as attr

_USEFUL_ANSWER = 1024
"""Tokens. Where the client sets no output cap, a tier fits if the balance affords an answer this long."""
_CALL_TYPES = {
    "chat": "acompletion",
    "responses": "aresponses",
    "messages": "anthropic_messages",
    "completions": "atext_completion",
}


class ClimbDown:
    """Chooses a cheaper tier for calls that their payer cannot afford (``credits.when_short``)."""

    def __init__(
        self,
        settings: Settings,
        prices: PriceBook,
        store: CreditStore,
        deployments: Deployments,
        router: Callable[[], Any],
    ) -> None:
        """``router`` returns LiteLLM's router, None while there is none."""
        self._settings = settings
        self._prices = prices
        self._store = store
        self._deployments = deployments
        self._router = router

    async def tier_for(self, call: Call, tier: str) -> str:
        """Return ``tier``, or the dearest below it that the payer can afford. Raises nothing."""
        router = self._router()
        lowest = TIERS.index(TIER_OF[call.policy.floor])
        cheaper = TIERS[lowest : TIERS.index(tier)] if tier in TIERS else ()
        policy = self._settings.credits.when_short_of(call.account.department)
        if router is None or policy == "deny" or not cheaper:
            return tier
        try:
            available = (await self._store.standing(call.payer)).available
            for candidate in (tier, *reversed(cheaper)):
                if candidate == cheaper[0] or await self._fits(call, router, candidate, available):
                    break
        except Exception as error:
            # The hold will refuse it, or be allowed to do without.
            call.span.add_event("farthing.climb_down.failed", {attr.ERROR_TYPE: type(error).__name__})
            return tier
        if candidate != tier:
            call.climbed_down_from = tier
            call.span.set_attribute(attr.CLIMBED_DOWN_FROM, tier)
            call.span.add_event("farthing.climb_down", {attr.CLIMBED_DOWN_FROM: tier, attr.TIER: candidate})
        return candidate

    async def _fits(self, call: Call, router: Any, tier: str, available: int) -> bool:
        found = self._deployments.of_tier(router, tier)
        # Any of them may be picked, so all must fit. One without a price is for the hold to judge.
        for deployment in found:
            if deployment.price is not None and not await self._affords(call, deployment, available):
                return False
        return bool(found)

    async def _affords(self, call: Call, deployment: Deployment, available: int) -> bool:
        price = deployment.price
        assert price is not None
        cap = bounds.output_cap(_CALL_TYPES.get(call.surface, ""), call.payload)
        if cap is None:
            limits = (self._settings.credits.max_output_tokens, price.max_output_tokens, _USEFUL_ANSWER)
            cap = min(limit for limit in limits if limit)
        output = cap * bounds.answers(call.payload)
        hidden = (price.max_input_tokens or 0) if has_hidden_input(call.payload) else 0
        quick = max(hidden, quick_upper_bound(call.payload))
        if self._prices.worst_case(price, quick, output) <= available:
            return True
        if self._prices.worst_case(price, hidden, output) > available:
            return False
        counted = max(hidden, await input_upper_bound_async(call.payload))
        return self._prices.worst_case(price, counted, output) <= available
