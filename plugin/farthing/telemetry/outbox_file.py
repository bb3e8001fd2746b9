"""The outbox's file: its tables, and each thing done to them as one transaction."""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from farthing.telemetry import sqlite_file

SCHEMA_VERSION = 1
WAIT_S = 10.0
"""How long a step waits for other processes' writes, seconds."""

_TABLES = """
CREATE TABLE IF NOT EXISTS charges (
    row INTEGER PRIMARY KEY,
    charge_id TEXT NOT NULL UNIQUE,
    instance TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    cost_nano INTEGER CHECK (typeof(cost_nano) IN ('integer', 'null')),
    payload BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'rejected')),
    leased_until REAL NOT NULL DEFAULT 0,
    appended_at REAL NOT NULL,
    closed_at REAL
);
CREATE INDEX IF NOT EXISTS charges_pending ON charges (leased_until, row) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS charges_closed ON charges (state, closed_at) WHERE state <> 'pending';
CREATE TABLE IF NOT EXISTS totals (
    pending INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL CHECK (typeof(cost_nano) = 'integer'),
    unpriced INTEGER NOT NULL
);
INSERT INTO totals SELECT 0, 0, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM totals);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A charge to append. ``cost_nano`` is nano-dollars, None if unpriced."""

    charge_id: str
    instance: str
    sequence: int
    cost_nano: int | None
    payload: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """A charge claimed for delivery."""

    charge_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """What the outbox has ever taken in. ``cost_nano`` is the sum over all priced charges."""

    pending: int
    delivered: int
    rejected: int
    cost_nano: int
    unpriced: int


def open_file(path: Path, *, fsync: bool) -> sqlite3.Connection:
    """Open (and create, with its folders) the outbox file. Raises sqlite3.Error or OSError."""
    return sqlite_file.open_file(
        path, _TABLES, SCHEMA_VERSION, synchronous="FULL" if fsync else "NORMAL", wait_s=WAIT_S
    )


def add(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Append entries; known charge ids are left as they are."""
    now = time.time()
    for entry in entries:
        added = db.execute(
            "INSERT INTO charges (charge_id, instance, sequence, cost_nano, payload, appended_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (charge_id) DO NOTHING",
            (entry.charge_id, entry.instance, entry.sequence, entry.cost_nano, entry.payload, now),
        ).rowcount
        if added:
            db.execute(
                "UPDATE totals SET pending = pending + 1, cost_nano = cost_nano + ?, unpriced = unpriced + ?",
                (entry.cost_nano or 0, entry.cost_nano is None),
            )


def claim(db: sqlite3.Connection, limit: int, lease_s: float) -> list[Pending]:
    """Lease the oldest pending charges that nobody has leased."""
    now = time.time()
    rows = db.execute(
        "SELECT row, charge_id, payload FROM charges WHERE state = 'pending' AND leased_until <= ?"
        " ORDER BY leased_until, row LIMIT ?",
        (now, limit),
    ).fetchall()
    db.executemany(
        "UPDATE charges SET leased_until = ? WHERE row = ?", [(now + lease_s, row) for row, _, _ in rows]
    )
    return [Pending(charge_id, payload) for _, charge_id, payload in rows]


def set_lease(db: sqlite3.Connection, charge_ids: Sequence[str], lease_s: float) -> None:
    """Let leases end ``lease_s`` seconds from now; zero gives them back."""
    until = time.time() + lease_s if lease_s else 0.0
    db.executemany(
        "UPDATE charges SET leased_until = ? WHERE charge_id = ? AND state = 'pending'",
        [(until, charge_id) for charge_id in charge_ids],
    )


def close_as(
    db: sqlite3.Connection, charge_ids: Sequence[str], state: Literal["delivered", "rejected"]
) -> None:
    """End charges as delivered or rejected. What was delivered stays delivered."""
    now = time.time()
    for charge_id in charge_ids:
        row = db.execute("SELECT state FROM charges WHERE charge_id = ?", (charge_id,)).fetchone()
        if row is None or row[0] in (state, "delivered"):
            continue
        db.execute("UPDATE charges SET state = ?, closed_at = ? WHERE charge_id = ?", (state, now, charge_id))
        db.execute(f"UPDATE totals SET {row[0]} = {row[0]} - 1, {state} = {state} + 1")  # noqa: S608


def reopen_rejected(db: sqlite3.Connection) -> int:
    """Make all rejected charges pending again; return how many."""
    found = db.execute(
        "UPDATE charges SET state = 'pending', leased_until = 0, closed_at = NULL WHERE state = 'rejected'"
    ).rowcount
    db.execute("UPDATE totals SET pending = pending + ?, rejected = rejected - ?", (found, found))
    return found


def page(db: sqlite3.Connection, since: float, after_row: int, limit: int) -> tuple[int, list[Pending]]:
    """Read charges appended at or after ``since`` (Unix seconds), whatever their state; claims nothing.

    Returns the last row read, to go on from, and the charges.
    """
    rows = db.execute(
        "SELECT row, charge_id, payload FROM charges WHERE row > ? AND appended_at >= ? ORDER BY row LIMIT ?",
        (after_row, since, limit),
    ).fetchall()
    return (rows[-1][0] if rows else after_row), [Pending(charge_id, data) for _, charge_id, data in rows]


def prune(db: sqlite3.Connection, keep_s: float, most: int) -> int:
    """Delete up to ``most`` charges delivered longer ago than ``keep_s`` seconds; the totals keep them."""
    return db.execute(
        "DELETE FROM charges WHERE row IN"
        " (SELECT row FROM charges WHERE state = 'delivered' AND closed_at <= ? LIMIT ?)",
        (time.time() - keep_s, most),
    ).rowcount


def counts(db: sqlite3.Connection) -> Counts:
    """Read the totals."""
    return Counts(
        *db.execute("SELECT pending, delivered, rejected, cost_nano, unpriced FROM totals").fetchone()
    )
