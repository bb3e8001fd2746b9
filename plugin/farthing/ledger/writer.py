"""Spans into the engine: requests that arrive together are stored with one insert.

Every insert makes a part on disk for each table it reaches, so a busy ledger would drown in small
parts if each request were stored alone. None is answered before its own rows are stored.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread

_TOGETHER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Waiting:
    rows: bytes
    stored: "asyncio.Future[None]"


class SpanWriter:
    """Stores RowBinary rows through ``insert`` (blocking; run in one thread at a time)."""

    def __init__(self, insert: Callable[[bytes], object]) -> None:
        self._insert = insert
        self._waiting: list[_Waiting] = []
        self._thread = CapacityLimiter(1)
        self._running: asyncio.Task[None] | None = None

    async def store(self, rows: bytes) -> None:
        """Return when ``rows`` are stored; raise what the insert raised if they are not."""
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._running is None:
            self._running = asyncio.create_task(self._drain())
        await asyncio.shield(waiting.stored)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                together: list[_Waiting] = []
                size = 0
                while self._waiting and (not together or size + len(self._waiting[0].rows) <= _TOGETHER):
                    together.append(self._waiting.pop(0))
                    size += len(together[-1].rows)
                await self._store_together(together)
        finally:
            self._running = None

    async def _store_together(self, together: list[_Waiting]) -> None:
        try:
            await self._run(b"".join(item.rows for item in together))
        except Exception as error:
            if len(together) == 1:
                _fail(together[0].stored, error)
                return
            # One request's rows must not cost the others theirs: each alone. A row that did get in
            # before the failure comes twice, which the ledger drops.
            for item in together:
                await self._store_together([item])
            return
        for item in together:
            if not item.stored.done():
                item.stored.set_result(None)

    async def _run(self, rows: bytes) -> None:
        await to_thread.run_sync(self._insert, rows, limiter=self._thread)


def _fail(stored: "asyncio.Future[None]", error: Exception) -> None:
    if not stored.done():
        stored.set_exception(error)
        # The client may be gone and nobody left to ask.
        stored.exception()
