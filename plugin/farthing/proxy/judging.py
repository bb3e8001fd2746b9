"""Asks the judge's model on behalf of a call: through LiteLLM's router, held for and charged (`grading`)."""

import asyncio
from collections.abc import Callable
from typing import Any

from farthing.grading.check import answers_from
from farthing.grading.judge import Ask, DeclinedError, JudgeRequest
from farthing.proxy.calls import Call, Calls
from farthing.proxy.errors import RefusedCallError
from farthing.proxy.meter import Meter
from farthing.settings import JudgeSettings


class Judging:
    """Makes the calls to the judge's model."""

    def __init__(self, judge: JudgeSettings, meter: Meter, calls: Calls, router: Callable[[], Any]) -> None:
        """``router`` returns LiteLLM's router, None while there is none."""
        self._judge = judge
        self._meter = meter
        self._calls = calls
        self._router = router

    def ask_for(self, call: Call) -> Ask | None:
        """Return what asks the judge at the expense of ``call``'s account, None if there is none to ask."""
        router = self._router()
        if self._judge.when == "never" or router is None or call.policy.floor == call.policy.ceiling:
            return None

        async def ask(request: JudgeRequest) -> str:
            messages = [dict(message) for message in request.messages]
            grading = call.child("grading", {"messages": messages}, "chat", call.grading)
            data: dict[str, Any] = {
                "model": self._judge.model,
                "messages": messages,
                "response_format": dict(request.response_format),
                "max_tokens": request.max_tokens,
                "temperature": 0,
                "num_retries": 0,
                "disable_fallbacks": True,
                "metadata": {},
            }
            self._calls.add(grading, data)
            try:
                answers = answers_from(await router.acompletion(**data))
            except RefusedCallError as refused:
                # The account's own trouble: the judge is not to rest for others because of it.
                self._meter.close(grading)
                raise DeclinedError(refused.message) from None
            except asyncio.CancelledError:  # its time is up
                await self._meter.abandon(grading)
                raise
            except Exception as error:
                await self._meter.abandon(grading, type(error).__name__)
                raise
            return answers[0].text if answers else ""

        return ask
