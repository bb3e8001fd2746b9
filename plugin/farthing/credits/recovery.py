"""After a crash or a store that was down: charges that are on disk but not yet in the balances."""

import logging
import time

from farthing.credits.store import CreditStore, StoreError
from farthing.telemetry.outbox import Outbox, OutboxError
from farthing.telemetry.spans import payer_of

log = logging.getLogger("farthing")

_BATCH = 500


async def settle_from_outbox(store: CreditStore, outbox: Outbox, *, since_s: float = 86_400.0) -> int:
    """Settle the charges of the last ``since_s`` seconds that the store does not know; return how many.

    Settling is idempotent by charge id, so meeting a call that is just being settled does no harm.
    A store that fails is tried again at the next run.
    """
    found, after = 0, time.time() - since_s
    try:
        async for page in outbox.pages(after, _BATCH):
            unsettled = await store.unsettled([entry.charge_id for entry in page])
            for entry in page:
                if entry.charge_id in unsettled:
                    account, amount = payer_of(entry.payload)
                    await store.settle(entry.charge_id, account, amount)
                    found += 1
    except (StoreError, OutboxError):
        log.exception("farthing: charges wait to be settled until credit store and outbox answer")
    if found:
        log.warning("farthing: settled %d charges from the outbox", found)
    return found
