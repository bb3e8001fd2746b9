"""Soft thresholds and overdrafts: said in the log, on the call's span, and to a webhook. Each once."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime

import httpx
from opentelemetry.trace import INVALID_SPAN, Span

from farthing.credits import Payer, Settlement
from farthing.credits.account import Crossing
from farthing.money import credits_text, usd_text
from farthing.settings import Settings
from farthing.telemetry import attributes as attr

log = logging.getLogger("farthing")

_PAUSES_S = (1.0, 5.0, 25.0, 125.0)
"""Between tries to reach the webhook; after the last the alarm stays in log and trace alone."""
_TIMEOUT_S = 10.0
_MOST_WAITING, _MOST_AT_ONCE = 1000, 20


class Alarms:
    """Raises what settling found. Posting happens in the background and never holds up a call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: deque[Mapping[str, object]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def raise_for(
        self, settlement: Settlement, payer: Payer, charge_id: str, span: Span = INVALID_SPAN
    ) -> None:
        """Tell of the thresholds that a settlement crossed, and of what its hold did not cover."""
        for crossing in settlement.crossed:
            self._threshold(crossing, payer, span)
        if settlement.overdraft:
            amount = usd_text(settlement.overdraft)
            log.error("farthing: charge %s cost %s USD more than was held for it", charge_id, amount)
            span.add_event("farthing.credits.overdraft", {attr.CREDITS_OVERDRAFT: amount})
            self._post(
                "overdraft",
                payer.user_id,
                payer,
                {"charge": charge_id, "credits": self._credits(settlement.overdraft)},
            )

    def _threshold(self, crossing: Crossing, payer: Payer, span: Span) -> None:
        log.warning("farthing: %s has spent %d %% of its credits", crossing.account, crossing.threshold)
        span.add_event(
            "farthing.credits.threshold",
            {attr.CREDITS_ACCOUNT: crossing.account, attr.CREDITS_THRESHOLD: crossing.threshold},
        )
        self._post(
            "threshold",
            crossing.account,
            payer,
            {
                "threshold": crossing.threshold,
                "spent": self._credits(crossing.spent),
                "total": self._credits(crossing.total),
            },
        )

    def _credits(self, nano: int) -> str:
        return credits_text(nano, self._settings.credits.nano_per_credit)

    def _post(self, event: str, account: str, payer: Payer, facts: Mapping[str, object]) -> None:
        if not self._settings.credits.webhook:
            return
        kind, _, name = account.partition(":")
        body = {
            "event": f"farthing.credits.{event}",
            "organisation": self._settings.organisation,
            "account": {"kind": kind, "name": name},
            "department": payer.account.department,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
        }
        if len(self._waiting) == _MOST_WAITING:
            log.error("farthing: the webhook does not keep up; an alarm stays in log and trace alone")
            return
        self._waiting.append(body)

    async def post_waiting(self) -> None:
        """Begin to post what has been raised since the last time. Raises nothing."""
        while self._waiting and len(self._tasks) < _MOST_AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._deliver(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, body: Mapping[str, object]) -> None:
        for pause in (*_PAUSES_S, None):
            try:
                async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
                    response = await client.post(self._settings.credits.webhook, json=body)
                if response.status_code < 500 and response.status_code != 429:
                    if not response.is_success:
                        log.error("farthing: the webhook answered %d", response.status_code)
                    return
                failure = str(response.status_code)
            except Exception as error:
                failure = type(error).__name__
            if pause is None:
                log.error("farthing: the webhook could not be reached (%s)", failure)
                return
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Post what waits, give what is under way a moment, then let it go."""
        await self.post_waiting()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=2.0)
            for task in late:
                task.cancel()
