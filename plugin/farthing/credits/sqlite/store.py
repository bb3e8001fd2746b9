"""The credit store in one SQLite file, shared by all proxy workers of a machine.

Between threads and processes SQLite's write lock makes each step atomic. Running totals per account are kept
in the step that changes them: a balance never scans history.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from farthing.credits.calendar import Calendar, Moment
from farthing.credits.checks import check_account, check_amount, check_amounts, check_id, lease_ms
from farthing.credits.sqlite import grants, holds, reports, sessions, upgrade
from farthing.credits.sqlite.audit import audit
from farthing.credits.sqlite.schema import SCHEMA_VERSION, TABLES
from farthing.credits.sqlite.worker import Step, Worker, failure
from farthing.credits.store import (
    THRESHOLDS,
    Act,
    Balance,
    CallNote,
    Discrepancy,
    InsufficientCreditsError,
    Payer,
    Run,
    RunCaps,
    SettledCall,
    Settlement,
    Spending,
    Standing,
)
from farthing.telemetry.sqlite_file import open_file

Found = TypeVar("Found")


class SQLiteCreditStore:
    """A `CreditStore` on an SQLite file.

    ``path`` and its folders are created. ``wait_s`` is how long a step waits for other processes'
    writes. ``clock`` gives Unix seconds. A crash of the process loses no finished step; a power cut may
    lose the newest ones (``synchronous=NORMAL``), never the file. Raises StoreError if it cannot open.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        wait_s: float = 5.0,
        calendar: Calendar | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = Path(path)
        self._clock = clock
        zone = self._calendar = calendar or Calendar()
        try:
            connection = open_file(
                self._path,
                TABLES,
                SCHEMA_VERSION,
                synchronous="NORMAL",
                wait_s=wait_s,
                upgrade=lambda db, _: upgrade.from_version_1(db, zone),
            )
            self._worker = Worker(connection, self._path, holds.expire, wait_s)
        except (sqlite3.Error, OSError) as error:
            raise failure(self._path, error) from error

    # What accounts are given

    async def grant(
        self,
        grant_id: str,
        account: str,
        amount: int,
        *,
        department: str = "",
        user: str = "",
        expires_ms: int | None = None,
        actor: str = "farthing.yaml",
        reason: str = "",
    ) -> Balance:
        """See `CreditStore.grant`."""
        check_id(grant_id)
        check_account(account)
        check_amount(amount)
        if expires_ms is not None:
            check_amount(expires_ms)
        given = grants.Given(account, department, user, actor, reason)
        return await self._write(lambda db, now: grants.grant(db, grant_id, given, amount, expires_ms, now))

    async def revoke_grants(self, prefix: str, keep: set[str]) -> None:
        """See `CreditStore.revoke_grants`."""
        kept = frozenset(keep)
        await self._write(lambda db, now: grants.revoke_grants(db, prefix, kept, "farthing.yaml", now))

    async def plan(
        self,
        account: str,
        monthly: int | None,
        roll_over: int | None = 0,
        *,
        department: str = "",
        user: str = "",
        actor: str = "farthing.yaml",
    ) -> Balance:
        """See `CreditStore.plan`."""
        check_account(account)
        for amount in (monthly, roll_over):
            if amount is not None:
                check_amount(amount)
        given = grants.Given(account, department, user, actor)
        return await self._write(lambda db, now: grants.plan(db, given, monthly, roll_over, now))

    async def unlimit(self, account: str, *, actor: str = "farthing.yaml") -> None:
        """See `CreditStore.unlimit`."""
        check_account(account)
        if account.startswith("user:"):
            raise ValueError(f"{account}: a user's account always has a limit")
        await self._write(lambda db, now: grants.unlimit(db, account, now))

    # Two-phase spending

    async def hold(self, hold_id: str, payer: Payer, amount: int, ttl_s: float) -> Standing:
        """See `CreditStore.hold`."""
        check_id(hold_id)
        _check_payer(payer)
        check_amount(amount)
        ttl_ms, spender = lease_ms(ttl_s), holds.Spender.of(payer)
        stands, seen = await self._write(
            lambda db, now: holds.hold(db, hold_id, spender, amount, now, now.ms + ttl_ms)
        )
        if not stands:
            raise InsufficientCreditsError(payer, amount, seen.standing)
        return seen.standing

    async def renew(self, hold_ids: Sequence[str], ttl_s: float) -> None:
        """See `CreditStore.renew`."""
        asked, ttl_ms = list(hold_ids), lease_ms(ttl_s)
        await self._write(lambda db, now: holds.renew(db, asked, now, now.ms + ttl_ms))

    async def settle(
        self,
        hold_id: str,
        payer: Payer,
        amount: int,
        note: CallNote = CallNote(),  # noqa: B008  # frozen
        thresholds: Sequence[int] = THRESHOLDS,
    ) -> Settlement:
        """See `CreditStore.settle`."""
        check_id(hold_id)
        _check_payer(payer)
        check_amount(amount)
        spender = holds.Spender.of(payer)
        done = await self._write(
            lambda db, now: holds.settle(db, hold_id, spender, amount, note, thresholds, now)
        )
        return Settlement(done.seen.standing, done.overdraft, done.crossed, done.again)

    async def release(self, hold_id: str) -> None:
        """See `CreditStore.release`."""
        check_id(hold_id)
        await self._write(lambda db, now: holds.release(db, hold_id, now))

    async def unsettled(self, hold_ids: Sequence[str]) -> set[str]:
        """See `CreditStore.unsettled`."""
        asked = list(hold_ids)
        return await self._worker.do(lambda db, _: holds.unsettled(db, asked), self._now(), reads=True)

    # Sessions

    async def enter(self, payer: Payer, caps: RunCaps, mark: str) -> Run:
        """See `CreditStore.enter`."""
        _check_payer(payer)
        check_id(payer.session_id)
        check_amounts(caps.steps, caps.cost)
        return await self._write(lambda db, now: sessions.enter(db, payer, caps, mark, now))

    async def cap_run(
        self, session_id: str, *, steps: int | None, cost: int | None, actor: str, reason: str = ""
    ) -> Run | None:
        """See `CreditStore.cap_run`."""
        check_id(session_id)
        check_amounts(steps, cost)
        return await self._write(
            lambda db, now: sessions.cap_run(db, session_id, steps, cost, actor, reason, now)
        )

    async def stop_run(self, session_id: str, *, actor: str, reason: str = "") -> Run | None:
        """See `CreditStore.stop_run`."""
        check_id(session_id)
        check_id(actor)
        return await self._write(lambda db, now: sessions.stop_run(db, session_id, actor, reason, now))

    async def runs(self, *, since_ms: int, user: str = "", limit: int = 100) -> list[Run]:
        """See `CreditStore.runs`."""
        await self._expire()
        return await self._read(lambda db: sessions.runs(db, since_ms, user, limit))

    # Own hardware at an empty balance

    async def draw(self, bucket: str, amount_ms: int, *, share: float, burst_ms: int) -> int:
        """See `CreditStore.draw`."""
        check_id(bucket)
        check_amount(amount_ms)
        check_amount(burst_ms)
        if not (share >= 0 and math.isfinite(share)):
            raise ValueError(f"share {share!r} must be a number that is not negative")
        return await self._write(lambda db, now: sessions.draw(db, bucket, amount_ms, share, burst_ms, now))

    # Reading

    async def standing(self, payer: Payer) -> Standing:
        """See `CreditStore.standing`."""
        _check_payer(payer)

        def look(db: sqlite3.Connection, now: Moment) -> Standing | None:
            return None if holds.overdue(db, now) else reports.standing(db, payer, now)

        found = await self._worker.do(look, self._now(), reads=True)
        if found is not None:
            return found
        return await self._write(lambda db, now: reports.standing(db, payer, now))

    async def balances(self, ids: Sequence[str] | None = None) -> list[Balance]:
        """See `CreditStore.balances`."""
        asked = None if ids is None else list(ids)
        await self._expire()
        now = self._now()
        return await self._read(lambda db: reports.balances(db, asked, now))

    async def calls(self, user: str, limit: int = 20) -> list[SettledCall]:
        """See `CreditStore.calls`."""
        return await self._read(lambda db: reports.calls(db, user, limit))

    async def spending(self, account: str, first_day: str, last_day: str) -> list[Spending]:
        """See `CreditStore.spending`."""
        return await self._read(lambda db: reports.spending(db, account, first_day, last_day))

    async def journal(self, account: str = "", limit: int = 1000) -> list[Act]:
        """See `CreditStore.journal`."""
        if account:
            await self._write(lambda db, now: reports.catch_up_with(db, [account], now))
        else:
            after: tuple[int, str] | None = (-1, "")
            while after is not None:
                after = await self._write(partial(reports.catch_up, after))
        return await self._read(lambda db: reports.journal(db, account, limit))

    async def verify(self) -> list[Discrepancy]:
        """See `CreditStore.verify`. Reads beside the traffic."""
        return await self._read(audit)

    # Housekeeping

    async def prune(self, before_ms: int, limit: int = 1000) -> int:
        """See `CreditStore.prune`."""
        return await self._write(lambda db, _: holds.prune(db, before_ms, limit))

    async def close(self) -> None:
        """See `CreditStore.close`. Steps already asked for still run."""
        await self._worker.close()

    def _now(self) -> Moment:
        return self._calendar.at(int(self._clock() * 1000))

    async def _write(self, step: Step[Found]) -> Found:
        """Do a step in a transaction of its own, after all that is overdue has been expired."""
        return await self._worker.do(step, self._now())

    async def _expire(self) -> None:
        if await self._worker.do(holds.overdue, self._now(), reads=True):
            await self._write(lambda db, now: None)

    async def _read(self, read: Callable[[sqlite3.Connection], Found]) -> Found:
        """Read one snapshot of the file on a connection and a thread of its own, however long it takes."""
        self._worker.check_open()

        def work() -> Found:
            with reports.reader(self._path) as db:
                return read(db)

        try:
            return await asyncio.to_thread(work)
        except sqlite3.Error as error:
            raise failure(self._path, error) from error


def _check_payer(payer: Payer) -> None:
    check_id(payer.account.user)
