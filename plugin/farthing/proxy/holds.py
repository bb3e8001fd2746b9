"""The holds of this process: taken before an attempt, renewed while it lives, ended once."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from farthing.cost import PriceBook
from farthing.credits import CallNote, CreditStore, StoreError
from farthing.credits.holding import Held, hold_worst_case
from farthing.proxy import bounds
from farthing.proxy.alarms import Alarms
from farthing.proxy.calls import Attempt, Call, Deployment
from farthing.proxy.charge_log import ChargeLog
from farthing.settings import Settings
from farthing.telemetry import Charge
from farthing.telemetry import attributes as attr

log = logging.getLogger("farthing")

_LONGEST_S = 7_200.0
"""An attempt that has not ended by then never will: its hold is left to expire."""
_RELEASE_PAUSES_S = (2.0, 10.0)
_SHARE_BURST_S = 60.0
_SHARE = "local tier at zero"


class LocalShareError(Exception):
    """The local tier's time for empty balances (``credits.local_share_at_zero``) is used up for now."""


class Holds:
    """Takes and ends holds in the credit store."""

    def __init__(
        self,
        settings: Settings,
        prices: PriceBook,
        store: CreditStore,
        charge_log: ChargeLog,
        alarms: Alarms,
    ) -> None:
        self._settings = settings
        self._prices = prices
        self._store = store
        self._charge_log = charge_log
        self._alarms = alarms
        self._live: dict[str, float] = {}
        self._at_zero: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(
        self,
        call: Call,
        attempt_id: str,
        call_type: str,
        deployment: Deployment,
        payload: Mapping[str, Any],
        input_tokens: int,
    ) -> Held:
        """Hold the worst case of an attempt.

        Raises InsufficientCreditsError, StoreError or LocalShareError; then, or if the caller is cancelled,
        nothing stays held.
        """
        free = bounds.is_free(deployment)
        self._charge_log.admit(free=free)
        try:
            held = await hold_worst_case(
                self._store,
                self._prices,
                self._settings.credits,
                attempt_id,
                call.payer,
                deployment.price,
                input_tokens=input_tokens,
                output_cap=bounds.output_cap(call_type, payload),
                answers=bounds.answers(payload),
            )
            if free and held.known and held.available <= 0 and deployment.tier == "local":
                await self._share(attempt_id)
        except (asyncio.CancelledError, LocalShareError, StoreError):
            # A store that did not answer in time may have taken the hold all the same.
            self._in_background(self._release(attempt_id, _RELEASE_PAUSES_S))
            raise
        self._live[attempt_id] = time.monotonic()
        return held

    async def _share(self, attempt_id: str) -> None:
        if self._settings.credits.local_share_at_zero >= 1:
            return
        try:
            left = await self._draw(0)
        except StoreError:
            return  # the free goes on while the store is away
        if left <= 0:
            raise LocalShareError
        self._at_zero.add(attempt_id)

    async def _draw(self, amount_ms: int) -> int:
        share = self._settings.credits.local_share_at_zero
        burst = max(1, int(_SHARE_BURST_S * share * 1000)) if share else 0
        return await self._store.draw(_SHARE, amount_ms, share=share, burst_ms=burst)

    async def release(self, attempt: Attempt) -> None:
        """End the hold of an attempt that cost nothing. Raises nothing."""
        self.forget(attempt)
        await self._release(attempt.id)

    async def _release(self, attempt_id: str, pauses_s: Sequence[float] = ()) -> None:
        for pause in (*pauses_s, None):
            try:
                await self._store.release(attempt_id)
                return
            except StoreError:
                if pause is None:
                    log.exception("farthing: a hold was not released; it expires by itself")
                    return
            await asyncio.sleep(pause)

    async def settle(self, call: Call, attempt: Attempt, charge: Charge) -> str:
        """Replace an attempt's hold by its charge, and raise the alarms that this sets off. Raises nothing.

        If the store is away, the charge is settled later, from the outbox: then return the error's name.
        """
        self.forget(attempt)
        note = CallNote(charge.tier, charge.model, charge.grade, charge.kind)
        try:
            settlement = await self._store.settle(
                attempt.id, call.payer, charge.settled, note, self._settings.credits.thresholds
            )
        except (StoreError, ValueError) as error:
            log.exception("farthing: a charge is not settled yet; it will be, from the outbox")
            call.span.add_event("farthing.settle.delayed", {attr.ERROR_TYPE: type(error).__name__})
            return type(error).__name__
        attempt.available = settlement.standing.balance.available
        self._alarms.raise_for(settlement, call.payer, attempt.id, call.span)
        return ""

    def forget(self, attempt: Attempt) -> None:
        """Renew the hold of an attempt no longer: it has ended."""
        self._live.pop(attempt.id, None)
        if attempt.id in self._at_zero:
            self._at_zero.discard(attempt.id)
            self._in_background(self._spend_share((time.time_ns() - attempt.started_ns) // 1_000_000))

    async def _spend_share(self, amount_ms: int) -> None:
        try:
            await self._draw(amount_ms)
        except StoreError:
            log.exception("farthing: local time at zero was not counted")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def renew(self) -> None:
        """Extend the leases of the attempts under way. Raises nothing."""
        oldest = time.monotonic() - _LONGEST_S
        self._live = {hold: since for hold, since in self._live.items() if since > oldest}
        if not self._live:
            return
        try:
            await self._store.renew(list(self._live), self._settings.credits.hold_ttl_s)
        except StoreError:
            log.exception("farthing: holds were not renewed; tried again soon")

    async def close(self) -> None:
        """Give what is under way a moment, then let it go."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=2.0)
            for task in late:
                task.cancel()
