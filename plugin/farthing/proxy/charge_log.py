"""Charges on their way to disk. A charge that cannot be written is kept and tried again, and meanwhile no
call that costs money is let through: what cannot be recorded must not be spent."""

import logging
from collections import deque

from opentelemetry.trace import SpanContext

from farthing.telemetry import Charge
from farthing.telemetry.outbox import Outbox, OutboxError
from farthing.telemetry.spans import ChargeSpans

log = logging.getLogger("farthing")


class ChargeLog:
    """Writes charges to the outbox, in memory if it must."""

    def __init__(self, outbox: Outbox, spans: ChargeSpans) -> None:
        self._outbox = outbox
        self._spans = spans
        self._waiting: deque[tuple[Charge, bytes]] = deque()

    @property
    def instance(self) -> str:
        """Names this gateway process in its charges."""
        return self._outbox.instance

    def next_sequence(self) -> int:
        """Return the number of this process's next charge."""
        return self._outbox.next_sequence()

    async def write(self, charge: Charge, parent: SpanContext) -> None:
        """Write a charge under the span ``parent``: on disk when this returns, or waiting. Raises nothing."""
        await self._append(charge, self._spans.finish(charge, parent).payload)

    async def ready(self) -> bool:
        """Try again what is waiting; return whether nothing is left."""
        for _ in range(len(self._waiting)):
            if not await self._append(*self._waiting.popleft()):
                return False
        return True

    async def _append(self, charge: Charge, payload: bytes) -> bool:
        cost = charge.cost.total if charge.cost else None
        try:
            await self._outbox.append(charge.id, cost, payload, sequence=charge.sequence)
        except OutboxError:
            self._waiting.append((charge, payload))
            log.critical(
                "farthing: %d charges are not on disk; calls that cost money are refused until they are",
                len(self._waiting),
                exc_info=True,
            )
            return False
        return True
