"""The durable outbox: charges on disk until the ledger has them.

One SQLite file per machine, shared by all proxy workers. One thread owns the connection, and the event
loop never waits for the disk. When `Outbox.append` returns, the charge is safe from the death of the
process in any case; what a power cut may take is the fsync policy's choice:

- ``always``: nothing. Appends that queue up while the disk is busy share the next transaction and its one
  fsync (group commit), so durability costs each charge a wait, but not the gateway its throughput.
- ``interval``: what was appended in the last ``fsync_ms`` milliseconds. An append writes to the page cache,
  in tens of microseconds on the caller's own thread; another thread syncs.
- ``off``: what the kernel has not written by itself, and SQLite not synced: seconds to minutes. The file
  is whole afterwards all the same.
"""

import contextlib
import functools
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from farthing.telemetry import outbox_file
from farthing.telemetry.outbox_bound import Bound, Room
from farthing.telemetry.outbox_file import Counts, Entry, Pending
from farthing.telemetry.outbox_worker import Fsync, OutboxError, Worker

__all__ = ["Fsync", "Outbox", "OutboxError"]


class Outbox:
    """Keeps charge spans in ``path`` (created with its folders) until they are delivered.

    ``fsync``: see above; true and false are ``always`` and ``off``. ``fsync_ms`` is the interval,
    ``most_bytes`` the bound on the file (0: none; see outbox_bound). A damaged file is set aside, and what
    can be read of it kept (see outbox_salvage). Raises OutboxError if the file cannot be opened.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        fsync: Fsync | bool = "always",
        fsync_ms: float = 100.0,
        most_bytes: int = 0,
    ) -> None:
        self.instance = uuid.uuid4().hex
        """Names this process start: ``service.instance.id`` and ``farthing.gateway.instance``."""
        self._sequence = itertools.count(1)
        policy: Fsync = fsync if isinstance(fsync, str) else "always" if fsync else "off"
        self._worker = Worker(Path(path), policy, fsync_ms / 1000, most_bytes)

    @property
    def bound(self) -> Bound:
        """How much of the disk the file may take."""
        return self._worker.bound

    @property
    def room(self) -> Room:
        """Whether the file has room: ``enough``, ``full`` (at its bound) or ``spent`` (so is the reserve)."""
        return self._worker.bound.room

    def next_sequence(self) -> int:
        """Return the next number of this instance's charges: 1, 2, 3 … without a gap. Any thread may ask.

        Take one per charge, and append that charge: a number that never reaches the ledger reads as a
        lost charge.
        """
        return next(self._sequence)

    async def append(self, charge_id: str, cost_nano: int | None, payload: bytes, *, sequence: int) -> None:
        """Keep a charge; return when it is as durable as the policy says. A known id changes nothing.

        ``cost_nano`` is the charge's cost in nano-dollars (None: unpriced), ``payload`` its serialised
        ExportTraceServiceRequest with one span, ``sequence`` the number from `next_sequence`. An append
        that was asked for is done even if the asking task is cancelled. Raises OutboxError.
        """
        if not charge_id or not payload:
            raise ValueError("an outbox entry needs a charge id and a payload")
        if cost_nano is not None and (type(cost_nano) is not int or cost_nano < 0):
            raise ValueError(f"cost_nano {cost_nano!r} must be whole nano-dollars, 0 or more, or None")
        entry = Entry(charge_id, self.instance, sequence, cost_nano, payload)
        if not self._worker.append_now(entry):
            await self._worker.ask(entry)

    async def pending(self, limit: int = 512, *, lease_s: float = 20.0) -> list[Pending]:
        """Claim up to ``limit`` undelivered charges, oldest first, for ``lease_s`` seconds.

        Other workers do not get them before the lease ends, `release` gives them back, or they are
        delivered. A worker that dies loses its claim when the lease ends.
        """
        return await self._worker.ask(lambda db: outbox_file.claim(db, limit, lease_s))

    async def release(self, charge_ids: Sequence[str]) -> None:
        """Give claims back, so that any worker may try these charges at once."""
        await self._worker.ask(lambda db: outbox_file.set_lease(db, charge_ids, 0.0))

    async def renew(self, charge_ids: Sequence[str], *, lease_s: float = 20.0) -> None:
        """Hold claims for ``lease_s`` seconds from now."""
        await self._worker.ask(lambda db: outbox_file.set_lease(db, charge_ids, lease_s))

    async def delivered(self, charge_ids: Sequence[str]) -> None:
        """Mark charges as in the ledger."""
        await self._worker.ask(lambda db: outbox_file.close_as(db, charge_ids, "delivered"))

    async def rejected(self, charge_ids: Sequence[str]) -> None:
        """Put charges that the ledger refuses in quarantine: kept, counted, no longer sent."""
        await self._worker.ask(lambda db: outbox_file.close_as(db, charge_ids, "rejected"))

    async def retry_rejected(self) -> int:
        """Take every charge out of quarantine, to be sent again; return how many."""
        found: int = await self._worker.ask(outbox_file.reopen_rejected)
        if found:
            self._worker.notify()
        return found

    async def reopen(self, charge_ids: Sequence[str]) -> int:
        """Send delivered charges once more, which the ledger turns out not to have; return how many."""
        found: int = await self._worker.ask(lambda db: outbox_file.reopen(db, charge_ids))
        if found:
            self._worker.notify()
        return found

    async def prune(self, keep_s: float, *, most: int = 2000) -> int:
        """Delete charges delivered more than ``keep_s`` seconds ago; return how many.

        ``most`` bounds one call, so that appends never wait long behind it. What is deleted stays in
        `counts`, but its id is no longer known.
        """
        return await self._worker.ask(lambda db: outbox_file.prune(db, keep_s, most))

    async def pages(self, since: float, size: int) -> AsyncIterator[list[Pending]]:
        """Yield the charges appended since ``since`` (Unix seconds), sent or not, ``size`` at a time."""
        row = 0
        while True:
            row, found = await self._worker.ask(
                functools.partial(outbox_file.page, since=since, after_row=row, limit=size)
            )
            if not row:
                return
            yield found

    async def counts(self) -> Counts:
        """Count all charges ever appended to the file, by all workers, pruned ones too."""
        return await self._worker.ask(outbox_file.counts)

    async def waiting(self) -> int:
        """Return how many charges wait to be delivered."""
        return await self._worker.ask(outbox_file.waiting)

    def on_append(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after charges were kept, from any thread; return its remover."""
        self._worker.listeners.append(listener)

        def remove() -> None:
            with contextlib.suppress(ValueError):
                self._worker.listeners.remove(listener)

        return remove

    async def close(self) -> None:
        """Finish what was asked for and close the file. It cannot be used afterwards."""
        await self._worker.close()
