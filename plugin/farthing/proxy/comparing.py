"""Sampled comparisons (opt-in): some cheap answers are also asked of the strong tier, after they went out.

What the strong tier says never reaches the client. It costs money, charged to the account as a `grading`,
and it is the one evidence that can move an intent's grade down.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from farthing.grading.check import answers_from
from farthing.grading.outcomes import answers_agree
from farthing.proxy.calls import Attempt, Call, Calls
from farthing.proxy.climbing import ROUTER_METHODS, looks_up, request_of
from farthing.proxy.feedback import Feedback
from farthing.proxy.meter import Meter
from farthing.settings import Settings

log = logging.getLogger("farthing")


class Comparing:
    """Compares a share (``grading.outcomes.compare_share``) of the cheap answers that come in one piece."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        calls: Calls,
        feedback: Feedback,
        router: Callable[[], Any],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``router`` returns LiteLLM's router, None while there is none; ``chance`` a number from 0 to 1."""
        self._settings = settings
        self._meter = meter
        self._calls = calls
        self._feedback = feedback
        self._router = router
        self._chance = chance
        self._tasks: set[asyncio.Task[None]] = set()

    def sample(self, call: Call, data: Mapping[str, Any], response: Any) -> None:
        """Perhaps compare the answer that ``call`` ends with, in the background."""
        attempt, router = call.attempt, self._router()
        if (
            router is None
            or attempt is None
            or not call.routed
            or call.surface not in ROUTER_METHODS
            or attempt.deployment.tier not in ("local", "fast")
            or not call.policy.allows("strong")
            or self._chance() >= self._settings.grading.outcomes.compare_share
        ):
            return
        answers = answers_from(response)
        if not answers or answers[0].tool_calls:
            return
        request = request_of(data) | {"model": self._settings.tiers.strong}
        # Not the call's payload: it is gone, once the call is settled.
        asked = call.child("grading", request)
        work = self._compare(router, call, attempt, asked, request, answers[0].text)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(
        self, router: Any, call: Call, attempt: Attempt, asked: Call, request: dict[str, Any], cheap: str
    ) -> None:
        self._calls.add(asked, request)
        try:
            response = await getattr(router, ROUTER_METHODS[call.surface])(**request)
            strong = answers_from(response)
            agree = answers_agree(cheap, strong[0].text) if strong and not looks_up(call, strong[0]) else None
        except Exception as error:
            await self._meter.abandon(asked, type(error).__name__)
            log.info("farthing: a comparison with the strong tier failed (%s)", type(error).__name__)
            return
        if agree is not None:
            self._feedback.compared(call, attempt, agree)
