"""The credit store in one SQLite file, shared by all proxy workers of a machine.

A step that waits for nothing is done at once; one that would wait, for another process or for the disk, is
done by the store's own thread, so that the event loop never waits. Steps run in the order they were asked
for. Between threads and processes SQLite's write lock makes each step atomic.
Running totals per user are kept in the step that changes them: a balance never scans history.
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from farthing.credits import steps
from farthing.credits.audit import audit
from farthing.credits.schema import SCHEMA_VERSION, TABLES
from farthing.credits.store import (
    Balance,
    Discrepancy,
    InsufficientCreditsError,
    StoreError,
    check_amount,
    check_id,
)
from farthing.telemetry import Account
from farthing.telemetry.sqlite_file import is_busy, open_file, waiting, write

Found = TypeVar("Found")

_STEPS_A_CHECKPOINT = 256


class SQLiteCreditStore:
    """A `CreditStore` on an SQLite file.

    ``path`` and its folders are created. ``wait_s`` is how long a step waits for other processes'
    writes. ``clock`` gives Unix seconds. A crash of the process loses no finished step; a power cut may
    lose the newest ones (``synchronous=NORMAL``), never the file. Raises StoreError if it cannot open.
    """

    def __init__(
        self, path: Path | str, *, wait_s: float = 5.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(path)
        self._wait_s = wait_s
        self._clock = clock
        try:
            self._connection = open_file(
                self._path, TABLES, SCHEMA_VERSION, synchronous="NORMAL", wait_s=wait_s
            )
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="farthing-credits")
        self._using = threading.Lock()
        self._counting = threading.Lock()
        self._queued = 0
        self._steps = 0
        self._closed = False

    async def grant(self, grant_id: str, account: Account, amount: int) -> None:
        """See `CreditStore.grant`."""
        check_id(grant_id)
        check_amount(amount)
        now = self._now_ns()
        await self._write(lambda db: steps.grant(db, grant_id, account, amount, now))

    async def revoke_grants(self, prefix: str, keep: set[str]) -> None:
        """See `CreditStore.revoke_grants`."""
        kept = frozenset(keep)
        await self._write(lambda db: steps.revoke_grants(db, prefix, kept))

    async def hold(self, hold_id: str, account: Account, amount: int, ttl_s: float) -> Balance:
        """See `CreditStore.hold`."""
        check_id(hold_id)
        check_amount(amount)
        if not 0 < ttl_s < 10**9:
            raise ValueError(f"ttl_s {ttl_s!r} must be a positive number of seconds")
        now = self._now_ns()
        expires = now + int(ttl_s * 1e9)
        taken, balance = await self._write(lambda db: steps.hold(db, hold_id, account, amount, now, expires))
        if not taken:
            raise InsufficientCreditsError(account, amount, balance.available)
        return balance

    async def settle(self, hold_id: str, account: Account, amount: int) -> Balance:
        """See `CreditStore.settle`."""
        check_id(hold_id)
        check_amount(amount)
        now = self._now_ns()
        return await self._write(lambda db: steps.settle(db, hold_id, account, amount, now))

    async def release(self, hold_id: str) -> None:
        """See `CreditStore.release`."""
        check_id(hold_id)
        now = self._now_ns()
        await self._write(lambda db: steps.release(db, hold_id, now))

    async def unsettled(self, hold_ids: Sequence[str]) -> set[str]:
        """See `CreditStore.unsettled`."""
        asked = list(hold_ids)
        return await self._run(
            lambda: waiting(lambda: steps.unsettled(self._connection, asked), self._wait_s)
        )

    async def balance(self, account: Account) -> Balance:
        """See `CreditStore.balance`."""
        now = self._now_ns()

        def read() -> Balance:
            if steps.has_overdue(self._connection, account.user, now):
                write(self._connection, self._wait_s, lambda db: steps.expire(db, account.user, now))
            return steps.balance(self._connection, account)

        return await self._run(lambda: waiting(read, self._wait_s))

    async def balances(self) -> list[Balance]:
        """See `CreditStore.balances`."""
        now = self._now_ns()

        def read() -> list[Balance]:
            if steps.has_overdue(self._connection, None, now):
                write(self._connection, self._wait_s, lambda db: steps.expire(db, None, now))
            return steps.balances(self._connection)

        return await self._run(lambda: waiting(read, self._wait_s))

    async def verify(self) -> list[Discrepancy]:
        """See `CreditStore.verify`. Reads through a connection of its own, beside the traffic."""
        try:
            return await asyncio.to_thread(audit, self._path)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    async def close(self) -> None:
        """See `CreditStore.close`. Steps already asked for still run."""
        if self._closed:
            return
        self._closed = True

        def end() -> None:
            with self._using:  # a step that another thread is doing at this moment
                self._connection.close()

        self._thread.submit(end)
        await asyncio.to_thread(self._thread.shutdown)

    def _now_ns(self) -> int:
        return int(self._clock() * 1e9)

    async def _write(self, step: Callable[[sqlite3.Connection], Found]) -> Found:
        self._steps += 1
        if self._steps % _STEPS_A_CHECKPOINT == 0:
            self._tidy()
        done, found = self._write_now(step)
        if done:
            return found  # type: ignore[return-value]
        return await self._run(lambda: write(self._connection, self._wait_s, step))

    def _write_now(self, step: Callable[[sqlite3.Connection], Found]) -> tuple[bool, Found | None]:
        """Do a step on the caller's own thread, if nothing is in its way; return whether it was done.

        A step takes some 50 µs and waits for no disk: handing it to the other thread and being woken up
        again costs several times as much.
        """
        with self._counting:
            if self._closed or self._queued:
                return False, None
            if not self._using.acquire(blocking=False):
                return False, None
        try:
            return True, write(self._connection, 0.0, step)
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False, None
            raise self._failure(error) from error
        except (sqlite3.Error, OverflowError) as error:
            raise self._failure(error) from error
        finally:
            self._using.release()

    def _tidy(self) -> None:
        # A checkpoint waits for the disk, so the thread does it, and SQLite does none by itself.
        def checkpoint() -> None:
            with self._using, contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

        with contextlib.suppress(RuntimeError):  # closed
            self._thread.submit(checkpoint)

    async def _run(self, work: Callable[[], Found]) -> Found:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Found] = loop.create_future()

        def answer(found: Found | None, error: BaseException | None) -> None:
            if waiter.done():  # the caller was cancelled; the step was done all the same
                return
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(found)  # type: ignore[arg-type]

        def job() -> None:
            found, failure = None, None
            try:
                with self._using:
                    found = work()
            except (sqlite3.Error, OverflowError) as error:
                failure = self._failure(error)
                failure.__cause__ = error
            except BaseException as error:
                failure = error  # type: ignore[assignment]
            with self._counting:
                self._queued -= 1
            with contextlib.suppress(RuntimeError):  # the caller's loop has closed
                loop.call_soon_threadsafe(answer, found, failure)

        # Not run_in_executor: cancelling that would take a queued step back, and a client who hangs up
        # would cancel the settling of what was already spent.
        try:
            with self._counting:
                self._thread.submit(job)
                self._queued += 1
        except RuntimeError:
            raise StoreError(f"credit store {self._path} is closed") from None
        return await waiter

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"credit store {self._path}: {error}")
