"""The durable outbox: charges on disk until the ledger has them.

One SQLite file per machine, shared by all proxy workers. One thread owns the connection. Appends that
queue up while the disk is busy share the next transaction and its one fsync (group commit), so
durability costs each charge a wait, but never costs the gateway its throughput.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import queue
import sqlite3
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from farthing.telemetry import outbox_file
from farthing.telemetry.outbox_file import Counts, Entry, Pending
from farthing.telemetry.sqlite_file import write

Found = TypeVar("Found")

_MOST_PER_COMMIT = 512
_log = logging.getLogger(__name__)


class OutboxError(Exception):
    """The outbox could not read or write its file (disk full, locked, damaged). Nothing was changed."""


@dataclass(slots=True)
class _Job:
    """Something for the worker thread: an append (grouped with others) or a step of its own."""

    work: Entry | Callable[[sqlite3.Connection], Any] | None
    loop: asyncio.AbstractEventLoop
    waiter: asyncio.Future[Any]


class Outbox:
    """Keeps charge spans in ``path`` (created with its folders) until they are delivered.

    ``fsync``: true, and an appended charge survives a power cut; false, and it survives the crash of the
    process only. Raises OutboxError if the file cannot be opened.
    """

    def __init__(self, path: Path | str, *, fsync: bool = True) -> None:
        self.instance = uuid.uuid4().hex
        """Names this process start: ``service.instance.id`` and ``farthing.gateway.instance``."""
        self._path = Path(path)
        self._sequence = itertools.count(1)
        self._listeners: list[Callable[[], None]] = []
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        try:
            self._connection = outbox_file.open_file(self._path, fsync=fsync)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        self._thread = threading.Thread(target=self._work, name="farthing-outbox", daemon=True)
        self._thread.start()

    def next_sequence(self) -> int:
        """Return the next number of this instance's charges: 1, 2, 3 … without a gap. Any thread may ask.

        Take one per charge, and append that charge: a number that never reaches the ledger reads as a
        lost charge.
        """
        return next(self._sequence)

    async def append(self, charge_id: str, cost_nano: int | None, payload: bytes, *, sequence: int) -> None:
        """Keep a charge; return when it is durable. An id that is known already changes nothing.

        ``cost_nano`` is the charge's cost in nano-dollars (None: unpriced), ``payload`` its serialised
        ExportTraceServiceRequest with one span, ``sequence`` the number from `next_sequence`. An append
        that was asked for is done even if the asking task is cancelled. Raises OutboxError.
        """
        if not charge_id or not payload:
            raise ValueError("an outbox entry needs a charge id and a payload")
        if cost_nano is not None and (type(cost_nano) is not int or cost_nano < 0):
            raise ValueError(f"cost_nano {cost_nano!r} must be whole nano-dollars, 0 or more, or None")
        await self._ask(Entry(charge_id, self.instance, sequence, cost_nano, payload))

    async def pending(self, limit: int = 512, *, lease_s: float = 20.0) -> list[Pending]:
        """Claim up to ``limit`` undelivered charges, oldest first, for ``lease_s`` seconds.

        Other workers do not get them before the lease ends, `release` gives them back, or they are
        delivered. A worker that dies loses its claim when the lease ends.
        """
        return await self._ask(lambda db: outbox_file.claim(db, limit, lease_s))

    async def release(self, charge_ids: Sequence[str]) -> None:
        """Give claims back, so that any worker may try these charges at once."""
        await self._ask(lambda db: outbox_file.set_lease(db, charge_ids, 0.0))

    async def renew(self, charge_ids: Sequence[str], *, lease_s: float = 20.0) -> None:
        """Hold claims for ``lease_s`` seconds from now."""
        await self._ask(lambda db: outbox_file.set_lease(db, charge_ids, lease_s))

    async def delivered(self, charge_ids: Sequence[str]) -> None:
        """Mark charges as in the ledger."""
        await self._ask(lambda db: outbox_file.close_as(db, charge_ids, "delivered"))

    async def rejected(self, charge_ids: Sequence[str]) -> None:
        """Put charges that the ledger refuses in quarantine: kept, counted, no longer sent."""
        await self._ask(lambda db: outbox_file.close_as(db, charge_ids, "rejected"))

    async def retry_rejected(self) -> int:
        """Take every charge out of quarantine, to be sent again; return how many."""
        found: int = await self._ask(outbox_file.reopen_rejected)
        if found:
            self._notify()
        return found

    async def prune(self, keep_s: float, *, most: int = 2000) -> int:
        """Delete charges delivered more than ``keep_s`` seconds ago; return how many.

        ``most`` bounds one call, so that appends never wait long behind it. What is deleted stays in
        `counts`, but its id is no longer known.
        """
        return await self._ask(lambda db: outbox_file.prune(db, keep_s, most))

    async def pages(self, since: float, size: int) -> AsyncIterator[list[Pending]]:
        """Yield the charges appended since ``since`` (Unix seconds), sent or not, ``size`` at a time."""
        row = 0
        while True:
            row, found = await self._ask(
                functools.partial(outbox_file.page, since=since, after_row=row, limit=size)
            )
            if not found:
                return
            yield found

    async def counts(self) -> Counts:
        """Count all charges ever appended to the file, by all workers, pruned ones too."""
        return await self._ask(outbox_file.counts)

    def on_append(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after charges became durable, from the outbox's thread; return its remover."""
        self._listeners.append(listener)

        def remove() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return remove

    async def close(self) -> None:
        """Finish what was asked for and close the file. It cannot be used afterwards."""
        loop = asyncio.get_running_loop()
        with self._closing:
            if self._closed:
                return
            self._closed = True
            waiter: asyncio.Future[None] = loop.create_future()
            self._jobs.put(_Job(None, loop, waiter))
        await waiter

    async def _ask(self, work: Entry | Callable[[sqlite3.Connection], Found]) -> Found:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Found] = loop.create_future()
        with self._closing:
            if self._closed:
                raise OutboxError(f"outbox {self._path} is closed")
            self._jobs.put(_Job(work, loop, waiter))
        return await waiter

    def _work(self) -> None:
        while True:
            batch = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _MOST_PER_COMMIT:
                    batch.append(self._jobs.get_nowait())
            appends: list[_Job] = []
            for job in batch:
                if isinstance(job.work, Entry):
                    appends.append(job)
                    continue
                self._commit(appends)
                appends = []
                if job.work is None:
                    self._connection.close()
                    _answer([(job, None, None)])
                    return
                self._step(job, job.work)
            self._commit(appends)

    def _commit(self, appends: list[_Job]) -> None:
        if not appends:
            return
        entries = [job.work for job in appends if isinstance(job.work, Entry)]
        try:
            write(self._connection, outbox_file.WAIT_S, lambda db: outbox_file.add(db, entries))
        except Exception as error:
            if len(appends) > 1:  # one entry that cannot be written must not fail its neighbours
                for job in appends:
                    self._commit([job])
            else:
                _answer([(appends[0], None, self._failure(error))])
            return
        _answer([(job, None, None) for job in appends])
        self._notify()

    def _step(self, job: _Job, step: Callable[[sqlite3.Connection], Any]) -> None:
        try:
            found = write(self._connection, outbox_file.WAIT_S, step)
        except Exception as error:
            _answer([(job, None, self._failure(error))])
        else:
            _answer([(job, found, None)])

    def _notify(self) -> None:
        for listener in list(self._listeners):
            try:
                listener()
            except Exception:  # a listener's fault must not stop the thread that keeps the money
                _log.exception("an outbox listener failed")

    def _failure(self, error: Exception) -> OutboxError:
        failure = OutboxError(f"outbox {self._path}: {error}")
        failure.__cause__ = error
        return failure


def _answer(answers: list[tuple[_Job, Any, Exception | None]]) -> None:
    # One wake-up per event loop, however many charges shared the commit.
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Any, Exception | None]]] = {}
    for answer in answers:
        by_loop.setdefault(answer[0].loop, []).append(answer)
    for loop, its in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the asker's loop has closed
            loop.call_soon_threadsafe(_resolve, its)


def _resolve(answers: list[tuple[_Job, Any, Exception | None]]) -> None:
    for job, found, error in answers:
        if job.waiter.done():  # the asker was cancelled; the work was done all the same
            continue
        if error is not None:
            job.waiter.set_exception(error)
        else:
            job.waiter.set_result(found)
