"""After a crash or a store that was down: charges that are on disk but not yet in the balances."""

import logging
import time
from collections.abc import Callable, Sequence

from farthing.credits.store import THRESHOLDS, CallNote, CreditStore, Payer, Settlement, StoreError
from farthing.telemetry.outbox import Outbox, OutboxError
from farthing.telemetry.spans import paid_of

log = logging.getLogger("farthing")

_BATCH = 500
_AGAIN_S = 600.0


class Recovery:
    """Settles the outbox's charges that the credit store does not know.

    The first run looks back as far as it may; each later one to ten minutes before the last that succeeded.
    Settling is idempotent by charge id, so meeting a call that is just being settled does no harm.
    """

    def __init__(
        self,
        store: CreditStore,
        outbox: Outbox,
        look_back_s: float = 86_400.0,
        thresholds: Sequence[int] = THRESHOLDS,
        alarm: Callable[[Settlement, Payer, str], None] = lambda *_: None,
    ) -> None:
        """``look_back_s``: how far back, at most. ``alarm`` is told of each settlement."""
        self._store, self._outbox = store, outbox
        self._thresholds, self._alarm = thresholds, alarm
        self._look_back_s = look_back_s
        self._since = 0.0

    async def run(self) -> int:
        """Settle what is unsettled and return how many charges that were. Raises nothing of the stores'."""
        began, found = time.time(), 0
        since = max(self._since, began - self._look_back_s)
        try:
            async for page in self._outbox.pages(since, _BATCH):
                unsettled = await self._store.unsettled([entry.charge_id for entry in page])
                for entry in page:
                    if entry.charge_id in unsettled:
                        found += await self._settle(entry.charge_id, entry.payload)
            self._since = self._outbox.bound.settled_before = began - _AGAIN_S
        except (StoreError, OutboxError):
            log.exception("farthing: charges wait to be settled until credit store and outbox answer")
        if found:
            log.warning("farthing: settled %d charges from the outbox", found)
        return found

    async def _settle(self, charge_id: str, payload: bytes) -> bool:
        try:
            paid = paid_of(payload)
            payer = Payer(paid.account, paid.session_id)
            note = CallNote(paid.tier, paid.model, paid.grade, paid.kind)
            settlement = await self._store.settle(charge_id, payer, paid.amount, note, self._thresholds)
        except ValueError:  # no charge of ours: it must not keep the others from being settled
            log.exception("farthing: what the outbox has as charge %s cannot be settled", charge_id)
            return False
        self._alarm(settlement, payer, charge_id)
        return True
