"""Charges on their way to disk. A charge that cannot be written is kept and tried again, and meanwhile no
call that costs money is let through: what cannot be recorded must not be spent."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Literal

from opentelemetry.trace import Link, SpanContext

from farthing.credits import StoreError
from farthing.telemetry import Charge
from farthing.telemetry.outbox import Outbox, OutboxError
from farthing.telemetry.spans import ChargeSpans

log = logging.getLogger("farthing")

_MOST_WAITING = 1000
"""Charges of free calls that may wait in memory for a disk that is full: they are lost with the process."""


class UnrecordableError(StoreError):
    """A new call's charge could not be kept just now; the text is for the client."""


class ChargeLog:
    """Writes charges to the outbox, in memory if it must."""

    def __init__(
        self, outbox: Outbox, spans: ChargeSpans, *, on_full: Literal["deny", "allow"] = "deny"
    ) -> None:
        """``on_full``: whether new calls go on while the outbox is at its bound."""
        self._outbox = outbox
        self._spans = spans
        self._deny = on_full == "deny"
        self._retrying = asyncio.Lock()
        self._waiting: deque[tuple[Charge, bytes]] = deque()

    @property
    def instance(self) -> str:
        """Names this gateway process in its charges."""
        return self._outbox.instance

    def next_sequence(self) -> int:
        """Return the number of this process's next charge."""
        return self._outbox.next_sequence()

    async def write(self, charge: Charge, parent: SpanContext, links: Sequence[Link] = ()) -> None:
        """Write a charge under the span ``parent``: on disk when this returns, or waiting. Raises nothing."""
        payload = self._spans.finish(charge, parent, links).payload
        if not await self._append(charge, payload):
            self._waiting.append((charge, payload))

    def admit(self, *, free: bool) -> None:
        """Raise UnrecordableError if a new call must not be made because its charge could not be kept.

        ``free``: it costs nothing, so it may go on for longer: until the outbox's reserve is used up, too.
        """
        if self._waiting and (not free or len(self._waiting) >= _MOST_WAITING):
            raise UnrecordableError("Charges cannot be written to disk just now")
        room = self._outbox.room if self._deny else "enough"
        if room == "spent" or (room == "full" and not free):
            raise UnrecordableError("Charges have filled the disk space set for them")

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
