"""The thread behind the outbox: it owns the connection, groups commits, and tends the file."""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from farthing.telemetry import outbox_file
from farthing.telemetry.outbox_ballast import is_full
from farthing.telemetry.outbox_bound import Bound
from farthing.telemetry.outbox_file import Entry
from farthing.telemetry.outbox_home import OutboxHome
from farthing.telemetry.outbox_salvage import is_damage
from farthing.telemetry.outbox_sync import Syncer
from farthing.telemetry.sqlite_file import waiting, write

Fsync = Literal["always", "interval", "off"]

Found = TypeVar("Found")

_MOST_PER_COMMIT = 512
_TEND_EVERY = 64
_TEND_EVERY_S = 1.0
_LOG_FULL, _LOG_OLD_S, _AGAIN_S = 256, 30.0, 0.05
"""After how many appends (about a thousand pages) and seconds the log is copied into the file."""
_LOG_LONGEST = 4 * _LOG_FULL
"""With so many appends in the log, the next ones wait for the thread to catch up."""
_FILE_FAULTS = (sqlite3.OperationalError, OSError)
_log = logging.getLogger(__name__)


class OutboxError(Exception):
    """The outbox could not read or write its file (disk full, locked, damaged). Nothing was changed."""


@dataclass(slots=True)
class _Job:
    """Something for the thread: an append (grouped with others) or a step of its own. None: stop.

    ``loop`` and ``waiter``: who waits for it, if anybody does.
    """

    work: Entry | Callable[[sqlite3.Connection], Any] | None
    loop: asyncio.AbstractEventLoop | None
    waiter: asyncio.Future[Any] | None


class Worker:
    """Works on the outbox file at ``path``. Raises OutboxError if it cannot be opened."""

    def __init__(self, path: Path, fsync: Fsync, fsync_s: float, most_bytes: int) -> None:
        self._path, self._fsync = path, fsync
        self.listeners: list[Callable[[], None]] = []
        """Called after charges were kept, from whatever thread kept them."""
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self.bound = Bound(path, most_bytes)
        self._home = OutboxHome(path)
        self.connection: sqlite3.Connection | None = None
        """The thread's own. None: the file is closed until it is needed, or mended."""
        # The event loop's own connection, for appends that need not wait for the disk.
        self._quick: sqlite3.Connection | None = None
        self._quick_use = threading.Lock()
        self._appended = self._tended = 0
        self._tended_at, self._tend_at = time.monotonic(), 0.0
        try:
            self._open()
            self.bound.ballast.lay()
        except (sqlite3.Error, OSError, ValueError) as error:
            self._home.leave()
            raise self._failure(error) from error
        self._syncer = Syncer(path, fsync_s) if fsync == "interval" else None
        self._thread = threading.Thread(target=self._work, name="farthing-outbox", daemon=True)
        self._thread.start()

    async def ask(self, work: Entry | Callable[[sqlite3.Connection], Found]) -> Found:
        """Have the thread append an entry, or do a step as one transaction; return what it returned.

        It is done even if the asking task is cancelled. Raises OutboxError.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Found] = loop.create_future()
        self._put(_Job(work, loop, waiter))
        return await waiter

    async def close(self) -> None:
        """Do what was asked for, and stop."""
        loop = asyncio.get_running_loop()
        with self._closing:
            if self._closed:
                return
            self._closed = True
            waiter: asyncio.Future[None] = loop.create_future()
            self._jobs.put(_Job(None, loop, waiter))
        await waiter

    def _put(self, job: _Job) -> None:
        with self._closing:
            if self._closed:
                raise OutboxError(f"outbox {self._path} is closed")
            self._jobs.put(job)

    def append_now(self, entry: Entry) -> bool:
        """Keep a charge on this thread, if the policy lets it and nobody is in the way; return whether."""
        if self._fsync == "always" or self._appended - self._tended > _LOG_LONGEST:
            return False
        if not self._quick_use.acquire(blocking=False):
            return False
        try:
            db = self._quick
            if db is None or self._closed:
                return False
            try:
                db.execute("BEGIN IMMEDIATE")
                outbox_file.add(db, [entry])
                db.execute("COMMIT")
            except (sqlite3.Error, OverflowError):
                # Another process writes, or the disk is full: the thread waits for it, or says so.
                with contextlib.suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                return False
        finally:
            self._quick_use.release()
        self._appended += 1
        if self._appended % _TEND_EVERY == 0:
            with contextlib.suppress(OutboxError):
                self._put(_Job(_nothing, None, None))
        self._kept()
        return True

    def _kept(self) -> None:
        if self._syncer:
            self._syncer.dirty()
        self.notify()

    def _open(self) -> None:
        self._home.enter()
        self.connection = outbox_file.open_file(self._path, fsync=self._fsync == "always")
        if self._fsync != "always":
            with self._quick_use:
                self._quick = outbox_file.open_file(self._path, fsync=False, checkpoints=False)

    def _shut(self) -> None:
        with self._quick_use:
            if self._quick:
                self._quick.close()
            self._quick = None
        if self.connection:
            self.connection.close()
        self.connection = None
        self._home.leave()

    def _on_file(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        """Do something with the connection; once more if room could be made, or a damaged file mended."""
        if self.connection is not None and self._home.marked:
            self._shut()
        if self.connection is None:
            self._open()
        assert self.connection is not None
        try:
            return work(self.connection)
        except sqlite3.DatabaseError as error:
            if is_full(error) and self.bound.ballast.drop():
                return work(self.connection)
            if not is_damage(error):
                raise
            _log.critical("the outbox %s is damaged (%s)", self._path, error)
        self._home.mark()
        self._shut()
        self._open()
        return work(self.connection)

    def _work(self) -> None:
        while True:
            try:
                batch = [self._jobs.get(timeout=_TEND_EVERY_S)]
            except queue.Empty:
                self._tend()
                continue
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
                    if self._syncer:
                        self._syncer.close()
                    self._shut()
                    _answer([(job, None, None)])
                    return
                self._step(job, job.work)
            self._commit(appends)
            self._tend()

    def _commit(self, appends: list[_Job]) -> None:
        if not appends:
            return
        entries = [job.work for job in appends if isinstance(job.work, Entry)]
        try:
            self._on_file(lambda db: write(db, outbox_file.WAIT_S, lambda db: outbox_file.add(db, entries)))
        except Exception as error:
            # One entry that cannot be written must not fail its neighbours; but a file that is locked, full
            # or damaged fails them all, and each try may have waited long.
            if len(appends) > 1 and not (isinstance(error, _FILE_FAULTS) or is_damage(error)):
                for job in appends:
                    self._commit([job])
            else:
                _answer([(job, None, self._failure(error)) for job in appends])
            return
        _answer([(job, None, None) for job in appends])
        self._kept()

    def _step(self, job: _Job, step: Callable[[sqlite3.Connection], Any]) -> None:
        try:
            found = (
                None if step is _nothing else self._on_file(lambda db: write(db, outbox_file.WAIT_S, step))
            )
        except Exception as error:
            _answer([(job, None, self._failure(error))])
        else:
            _answer([(job, found, None)])

    def _tend(self) -> None:
        """Look to the size of file and log, when there is a moment."""
        try:
            self._on_file(self.bound.look)
            fresh, now = self._appended - self._tended, time.monotonic()
            if now >= self._tend_at and (
                fresh >= _LOG_FULL or (fresh and now - self._tended_at >= _LOG_OLD_S)
            ):
                self._tend_at = now + _AGAIN_S
                if self._on_file(lambda db: waiting(lambda: outbox_file.checkpoint(db), outbox_file.WAIT_S)):
                    self._tended, self._tended_at, self._tend_at = self._tended + fresh, now, 0.0
        except Exception:  # it was nobody's job: the next one meets the same fault, and says so
            _log.debug("the outbox %s could not be tended", self._path, exc_info=True)

    def notify(self) -> None:
        """Tell the listeners that there is something to send."""
        for listener in list(self.listeners):
            try:
                listener()
            except Exception:  # a listener's fault must not stop the thread that keeps the money
                _log.exception("an outbox listener failed")

    def _failure(self, error: Exception) -> OutboxError:
        failure = OutboxError(f"outbox {self._path}: {error}")
        failure.__cause__ = error
        return failure


def _nothing(_: sqlite3.Connection) -> None:
    """Wake the thread, that it may tend the file."""


def _answer(answers: list[tuple[_Job, Any, Exception | None]]) -> None:
    # One wake-up per event loop, however many charges shared the commit.
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Any, Exception | None]]] = {}
    for answer in answers:
        if answer[0].loop is not None:
            by_loop.setdefault(answer[0].loop, []).append(answer)
    for loop, its in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the asker's loop has closed
            loop.call_soon_threadsafe(_resolve, its)


def _resolve(answers: list[tuple[_Job, Any, Exception | None]]) -> None:
    for job, found, error in answers:
        if job.waiter is None or job.waiter.done():  # the asker was cancelled; the work was done all the same
            continue
        if error is not None:
            job.waiter.set_exception(error)
        else:
            job.waiter.set_result(found)
