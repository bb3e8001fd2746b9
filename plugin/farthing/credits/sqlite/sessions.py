"""Sessions' runs, and the buckets of own hardware, in SQL. Each function is a part of one transaction."""

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from farthing.credits.calendar import Moment
from farthing.credits.sqlite.accounts import pack, unpack, write_journal
from farthing.credits.store import MARKS, Act, Payer, Run, RunCaps

_COLUMNS: Final = (
    "id, user, department, key_hash, started_ms, last_ms, steps, settled, held, max_steps, max_cost, marks,"
    " stopped_by"
)
_FIND: Final = f"SELECT {_COLUMNS} FROM sessions WHERE id = ?"  # noqa: S608
_SAVE: Final = f"INSERT OR REPLACE INTO sessions ({_COLUMNS}) VALUES ({', '.join('?' * 13)})"  # noqa: S608


def enter(db: sqlite3.Connection, payer: Payer, caps: RunCaps, mark: str, now: Moment) -> Run:
    """Count one more call of a session, in a new run if it was quiet."""
    row = db.execute(_FIND, (payer.session_id,)).fetchone()
    account = payer.account
    if row is None or row[4] is None or now.ms - row[5] >= caps.idle_s * 1000:
        run = Run(
            payer.session_id,
            account.user,
            account.department,
            account.key_hash,
            started_ms=now.ms,
            last_ms=now.ms,
            steps=0,
            settled=0,
            held=row[8] if row else 0,
            max_steps=caps.steps,
            max_cost=caps.cost,
        )
    else:
        run = _run(row)
    entered = not run.stopped_by and (run.max_steps is None or run.steps < run.max_steps)
    run = replace(
        run,
        user=account.user,
        department=account.department,
        key_hash=account.key_hash,
        # Also of a call that is not let in: a loop that goes on asking is not quiet.
        last_ms=max(run.last_ms, now.ms),
        steps=run.steps + entered,
        marks=(*run.marks, mark)[-MARKS:] if entered and mark else run.marks,
        entered=entered,
    )
    _save(db, run)
    return run


def cap_run(
    db: sqlite3.Connection,
    session_id: str,
    steps: int | None,
    cost: int | None,
    actor: str,
    reason: str,
    now: Moment,
) -> Run | None:
    """Set a run's caps and let it go on."""
    run = find(db, session_id)
    if run is None:
        return None
    target = f"session:{session_id}"
    acts = [
        Act(
            now.ms,
            actor,
            "cap",
            target,
            cap or 0,
            now.month,
            what if cap is not None else f"{what}: none",
            reason,
        )
        for what, cap in (("steps", steps), ("cost", cost))
    ]
    if run.stopped_by:
        acts.append(Act(now.ms, actor, "resume", target, 0, now.month, "", reason))
    write_journal(db, acts)
    run = replace(run, max_steps=steps, max_cost=cost, stopped_by="")
    _save(db, run)
    return run


def stop_run(db: sqlite3.Connection, session_id: str, actor: str, reason: str, now: Moment) -> Run | None:
    """Stop a run until its caps are set anew."""
    run = find(db, session_id)
    if run is None:
        return None
    write_journal(db, [Act(now.ms, actor, "stop", f"session:{session_id}", 0, now.month, "", reason)])
    run = replace(run, stopped_by=actor)
    _save(db, run)
    return run


def find(db: sqlite3.Connection, session_id: str) -> Run | None:
    """Return a session's run; None if it never began."""
    row = db.execute(_FIND, (session_id,)).fetchone()
    return _run(row) if row is not None and row[4] is not None else None


def runs(db: sqlite3.Connection, since_ms: int, user: str, limit: int) -> list[Run]:
    """Return the runs with a call since ``since_ms``, the newest first."""
    found = db.execute(
        f"SELECT {_COLUMNS} FROM sessions"  # noqa: S608
        " WHERE started_ms IS NOT NULL AND last_ms >= ? AND ? IN ('', user)"
        " ORDER BY last_ms DESC, id LIMIT ?",
        (since_ms, user, limit),
    )
    return [_run(row) for row in found]


def _run(row: Sequence[Any]) -> Run:
    return replace(Run(*row), marks=tuple(unpack(row[11])) if row[11] else ())


def _save(db: sqlite3.Connection, run: Run) -> None:
    db.execute(
        _SAVE,
        (
            run.session_id,
            run.user,
            run.department,
            run.key_hash,
            run.started_ms,
            run.last_ms,
            run.steps,
            run.settled,
            run.held,
            run.max_steps,
            run.max_cost,
            pack(run.marks) if run.marks else "",
            run.stopped_by,
        ),
    )


def draw(
    db: sqlite3.Connection, bucket: str, amount_ms: int, share: float, burst_ms: int, now: Moment
) -> int:
    """Take time from a bucket and return what is left, rounded down."""
    row = db.execute("SELECT level_ms, at_ms FROM buckets WHERE id = ?", (bucket,)).fetchone()
    level = float(burst_ms)
    if row is not None:
        level = min(level, row[0] + max(0, now.ms - row[1]) * share)
    level -= amount_ms
    db.execute(
        "INSERT OR REPLACE INTO buckets (id, level_ms, at_ms) VALUES (?, ?, ?)", (bucket, level, now.ms)
    )
    return math.floor(level)
