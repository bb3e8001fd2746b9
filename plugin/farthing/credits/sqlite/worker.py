"""Who works on a credit file: the caller itself while nothing is in its way, else a thread.

A step that waits for nothing is done at once; one that would wait, for another process or for the disk, is
done by a thread of its own, so that the event loop never waits. Steps run in the order they were asked for.
What has queued up meanwhile goes into the file together, in one transaction.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from farthing.credits.calendar import Moment
from farthing.credits.store import StoreError
from farthing.telemetry.sqlite_file import is_busy, waiting

Found = TypeVar("Found")
Step = Callable[[sqlite3.Connection, Moment], Found]

_STEPS_A_CHECKPOINT = 512
_LONG_LOG = 16_384
"""Pages: a log this long (64 MiB) is begun anew, for which writers must stand still for a moment."""
_YIELDS, _LONGEST_PAUSE_S = 10, 0.0005
"""How to wait for another process, whose step takes some 0.1 ms."""
_TOGETHER = 64
"""How many queued steps share a transaction at most."""


@dataclass(slots=True)
class _Job:
    step: Step[Any]
    now: Moment
    reads: bool
    loop: asyncio.AbstractEventLoop
    waiter: asyncio.Future[Any]
    found: Any = None
    error: BaseException | None = None

    def answer(self) -> None:
        if self.waiter.done():  # the caller was cancelled; the step was done all the same
            return
        if self.error is not None:
            self.waiter.set_exception(self.error)
        else:
            self.waiter.set_result(self.found)


class Worker:
    """Does steps on ``connection``, the file at ``path``, each of them whole or not at all.

    ``before`` is done at the start of each transaction, with the step's moment: it returns whether there is
    more for it to do, which then happens in further transactions, so that other processes get their turn.
    ``wait_s`` is how long a step waits for those.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, before: Step[bool], wait_s: float) -> None:
        self._db, self._path, self._before, self._wait_s = connection, path, before, wait_s
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="farthing-credits")
        self._log = _Log(path)
        self._using = threading.Lock()
        self._queueing = threading.Lock()
        self._queue: deque[_Job] = deque()
        self._working = False  # the thread has, or is about to take, what is queued
        self._closed = False

    async def do(self, step: Step[Found], now: Moment, *, reads: bool = False) -> Found:
        """Do a step and return what it found: done even if the task that waits is cancelled.

        ``reads``: it changes nothing. Raises StoreError, and what the step raises.
        """
        done, found = self._at_once(step, now, reads)
        if not done:
            found = await self._in_turn(step, now, reads)
        self._log.count()
        return found  # type: ignore[return-value]

    async def close(self) -> None:
        """Close the file. Steps already asked for are still done."""
        with self._queueing:
            if self._closed:
                return
            self._closed = True

        def end() -> None:
            with self._using:  # a step that another thread is doing at this moment
                self._db.close()

        self._thread.submit(end)
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._log.close)

    def check_open(self) -> None:
        """Raise StoreError if the file is closed."""
        if self._closed:
            raise StoreError(f"credit store {self._path} is closed")

    def _at_once(self, step: Step[Found], now: Moment, reads: bool) -> tuple[bool, Found | None]:
        """Do a step on the caller's own thread, if nothing is in its way; return whether it was done.

        A step takes some 0.1 ms and waits for no disk: handing it to the other thread and being woken up
        again costs several times as much.
        """
        with self._queueing:
            if self._closed or self._working or not self._using.acquire(blocking=False):
                return False, None
        db = self._db
        try:
            if reads:
                return True, step(db, now)
            db.execute("BEGIN IMMEDIATE")
            try:
                more = self._before(db, now)
                found = None if more else step(db, now)
                db.execute("COMMIT")
            except BaseException:
                _roll_back(db)
                raise
            return not more, found
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False, None
            raise failure(self._path, error) from error
        except (sqlite3.Error, OverflowError) as error:
            raise failure(self._path, error) from error
        finally:
            self._using.release()

    async def _in_turn(self, step: Step[Found], now: Moment, reads: bool) -> Found:
        # Not run_in_executor: cancelling that would take a queued step back, and a client who hangs up
        # would cancel the settling of what was already spent.
        loop = asyncio.get_running_loop()
        job = _Job(step, now, reads, loop, loop.create_future())
        with self._queueing:
            self.check_open()
            if not self._working:
                try:
                    self._thread.submit(self._work)
                except RuntimeError as error:  # the interpreter is ending
                    raise failure(self._path, error) from error
                self._working = True
            self._queue.append(job)
        found: Found = await job.waiter
        return found

    def _work(self) -> None:
        while True:
            with self._queueing:
                jobs: list[_Job] = []
                while self._queue and len(jobs) < _TOGETHER and (not jobs or not self._queue[0].reads):
                    jobs.append(self._queue.popleft())
                    if jobs[0].reads:
                        break
                if not jobs:
                    self._working = False
                    return
            with self._using:
                self._do(jobs)
            for loop in {job.loop for job in jobs}:
                answers = [job for job in jobs if job.loop is loop]
                with contextlib.suppress(RuntimeError):  # the caller's loop has closed
                    loop.call_soon_threadsafe(_answer, answers)

    def _do(self, jobs: Sequence[_Job]) -> None:
        try:
            more = True
            while more:
                more = waiting(
                    lambda: self._together(jobs),
                    self._wait_s,
                    yields=_YIELDS,
                    longest_pause_s=_LONGEST_PAUSE_S,
                )
        except BaseException as error:
            if len(jobs) > 1 and not (isinstance(error, sqlite3.OperationalError) and is_busy(error)):
                for job in jobs:  # one of them may have spoilt it for all
                    self._do([job])
                return
            for job in jobs:
                job.error = error
        for job in jobs:
            if isinstance(job.error, sqlite3.Error | OverflowError):
                cause, job.error = job.error, failure(self._path, job.error)
                job.error.__cause__ = cause

    def _together(self, jobs: Sequence[_Job]) -> bool:
        """Do steps in one transaction, unless there is more to do before them: then return true."""
        db = self._db
        if jobs[0].reads:
            jobs[0].found = jobs[0].step(db, jobs[0].now)
            return False
        db.execute("BEGIN IMMEDIATE")
        try:
            more = self._before(db, jobs[-1].now)
            for job in () if more else jobs:
                job.found, job.error = None, None
                db.execute("SAVEPOINT step")
                try:
                    job.found = job.step(db, job.now)
                except Exception as error:
                    if len(jobs) == 1 or not db.in_transaction:
                        raise
                    db.execute("ROLLBACK TO step")
                    job.error = error
                db.execute("RELEASE step")
            db.execute("COMMIT")
        except BaseException:
            _roll_back(db)
            raise
        return more


def _answer(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        job.answer()


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


def failure(path: Path, error: Exception) -> StoreError:
    """Return what callers are told of an error of SQLite's at ``path``."""
    return StoreError(f"credit store {path}: {error}")


class _Log:
    """Brings the write-ahead log into the file now and then, on a connection and a thread of its own.

    That waits for the disk, so no step does it, and none waits for it.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="farthing-credits-log")
        self._steps = 0
        self._busy = False

    def count(self) -> None:
        """Tell of a step."""
        self._steps += 1
        if self._steps >= _STEPS_A_CHECKPOINT and not self._busy:
            self._steps, self._busy = 0, True
            with contextlib.suppress(RuntimeError):  # closed
                self._thread.submit(self._checkpoint)

    def _checkpoint(self) -> None:
        try:
            _, pages, _ = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > _LONG_LOG:
                self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except sqlite3.Error:
            pass  # the next one does what this one left
        finally:
            self._busy = False

    def close(self) -> None:
        self._thread.shutdown()
        self._db.close()
