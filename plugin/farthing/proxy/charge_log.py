"""Charges on their way to disk. A charge that cannot be written is kept and tried again, and meanwhile no
call that costs money is let through: what cannot be recorded must not be spent."""

import asyncio
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
        self._retrying = asyncio.Lock()
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
        payload = self._spans.finish(charge, parent).payload
        if not await self._append(charge, payload):
            self._waiting.append((charge, payload))

    @property
    def ready(self) -> bool:
        """Whether every charge is on disk."""
        return not self._waiting

    async def retry(self) -> None:
        """Try again what is waiting, until one fails."""
        async with self._retrying:
            while self._waiting:
                if not await self._append(*self._waiting[0]):  # it waits until it is on disk
                    return
                self._waiting.popleft()

    async def _append(self, charge: Charge, payload: bytes) -> bool:
        cost = charge.cost.total if charge.cost else None
        try:
            await self._outbox.append(charge.id, cost, payload, sequence=charge.sequence)
        except OutboxError:
            log.critical(
                "farthing: a charge is not on disk; calls that cost money are refused until it is",
                exc_info=True,
            )
            return False
        return True
