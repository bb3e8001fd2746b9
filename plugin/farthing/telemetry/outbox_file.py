"""The outbox's file: its tables, and each thing done to them as one transaction."""

import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from farthing.telemetry import sqlite_file

SCHEMA_VERSION = 2
WAIT_S = 10.0
"""How long a step waits for other processes' writes, seconds."""

_log = logging.getLogger(__name__)

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
    closed_at REAL,
    crc INTEGER
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

    @property
    def crc(self) -> int:
        """The CRC-32 of all of it. SQLite's pages carry no checksum: a flipped bit would be billed."""
        facts = f"{self.charge_id}\0{self.instance}\0{self.sequence}\0{self.cost_nano}\0"
        return zlib.crc32(self.payload, zlib.crc32(facts.encode("utf-8", "surrogatepass")))


@dataclass(frozen=True, slots=True)
class Pending:
    """A charge claimed for delivery."""

    charge_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """What the outbox has ever taken in, and how it stands. ``cost_nano``: Σ over all priced charges.

    ``oldest_s`` is the age of the oldest charge that waits (0: none does), in seconds; ``bytes`` what the
    file and its log take on disk, ``used_bytes`` the part of it that is not free for new charges.
    """

    pending: int
    delivered: int
    rejected: int
    cost_nano: int
    unpriced: int
    oldest_s: float = field(default=0.0, compare=False)
    bytes: int = field(default=0, compare=False)
    used_bytes: int = field(default=0, compare=False)


def open_file(path: Path, *, fsync: bool, checkpoints: bool = True) -> sqlite3.Connection:
    """Open (and create, with its folders) the outbox file. Raises sqlite3.Error or OSError.

    ``checkpoints``: whether this connection may find itself copying the log into the file, and syncing
    both, after a commit.
    """
    db = sqlite_file.open_file(
        path,
        _TABLES,
        SCHEMA_VERSION,
        synchronous="FULL" if fsync else "NORMAL",
        wait_s=WAIT_S,
        upgrade=_upgrade,
    )
    if not checkpoints:
        db.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
    db.text_factory = readable
    return db


def readable(text: bytes) -> str:
    """Return a text column, whatever became of its bytes: one that cannot be read must not hide the rest."""
    return text.decode("utf-8", "replace")


def _upgrade(db: sqlite3.Connection, found: int) -> None:
    if found < 2:
        db.execute("ALTER TABLE charges ADD COLUMN crc INTEGER")


def add(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Append entries; known charge ids are left as they are."""
    now = time.time()
    for entry in entries:
        added = db.execute(
            "INSERT INTO charges (charge_id, instance, sequence, cost_nano, payload, appended_at, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (charge_id) DO NOTHING",
            (entry.charge_id, entry.instance, entry.sequence, entry.cost_nano, entry.payload, now, entry.crc),
        ).rowcount
        if added:
            db.execute(
                "UPDATE totals SET pending = pending + 1, cost_nano = cost_nano + ?, unpriced = unpriced + ?",
                (entry.cost_nano or 0, entry.cost_nano is None),
            )


_READ = "row, charge_id, instance, sequence, cost_nano, payload, crc"


def claim(db: sqlite3.Connection, limit: int, lease_s: float) -> list[Pending]:
    """Lease the oldest pending charges that nobody has leased. Damaged ones are rejected instead."""
    now = time.time()
    rows = db.execute(
        f"SELECT {_READ} FROM charges WHERE state = 'pending' AND leased_until <= ?"  # noqa: S608
        " ORDER BY leased_until, row LIMIT ?",
        (now, limit),
    ).fetchall()
    db.executemany(
        "UPDATE charges SET leased_until = ? WHERE row = ?", [(now + lease_s, row[0]) for row in rows]
    )
    bad = [row for row in rows if not _is_whole(row)]
    if bad:
        # By row: the id may be what is damaged.
        db.executemany(
            "UPDATE charges SET state = 'rejected', closed_at = ? WHERE row = ?",
            [(now, row[0]) for row in bad],
        )
        db.execute("UPDATE totals SET pending = pending - ?, rejected = rejected + ?", (len(bad), len(bad)))
        ids = ", ".join(str(row[1]) for row in bad[:20])
        _log.error("charges %s are damaged on disk: kept in the outbox as rejected", ids)
    return [Pending(row[1], row[5]) for row in rows if row not in bad]


def _is_whole(row: tuple[int, str, str, int, int | None, bytes, int | None]) -> bool:
    _, charge_id, instance, sequence, cost, payload, crc = row
    # A row of an older version has no checksum to fail.
    return isinstance(payload, bytes) and (
        crc is None or Entry(charge_id, instance, sequence, cost, payload).crc == crc
    )


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


def reopen(db: sqlite3.Connection, charge_ids: Sequence[str]) -> int:
    """Make delivered charges pending again; return how many."""
    found = 0
    for charge_id in charge_ids:
        found += db.execute(
            "UPDATE charges SET state = 'pending', leased_until = 0, closed_at = NULL"
            " WHERE charge_id = ? AND state = 'delivered'",
            (charge_id,),
        ).rowcount
    db.execute("UPDATE totals SET pending = pending + ?, delivered = delivered - ?", (found, found))
    return found


def page(db: sqlite3.Connection, since: float, after_row: int, limit: int) -> tuple[int, list[Pending]]:
    """Read charges appended at or after ``since`` (Unix seconds), whatever their state; claims nothing.

    Returns the last row read (0: there was none), to go on from, and the charges, without those that are
    damaged.
    """
    if not after_row:  # from the newest back: the file may hold a week
        (after_row,) = db.execute(
            "SELECT coalesce(max(row), 0) FROM charges WHERE appended_at < ?", (since,)
        ).fetchone()
    rows = db.execute(
        f"SELECT {_READ} FROM charges WHERE row > ? AND appended_at >= ? ORDER BY row LIMIT ?",  # noqa: S608
        (after_row, since, limit),
    ).fetchall()
    return (rows[-1][0] if rows else 0), [Pending(row[1], row[5]) for row in rows if _is_whole(row)]


def prune(db: sqlite3.Connection, keep_s: float, most: int) -> int:
    """Delete up to ``most`` charges delivered longer ago than ``keep_s`` seconds; the totals keep them."""
    # Not pending, too: else SQLite does not see that the index of what has ended will do, and reads the file.
    return db.execute(
        "DELETE FROM charges WHERE row IN"
        " (SELECT row FROM charges WHERE state = 'delivered' AND state <> 'pending' AND closed_at <= ?"
        " LIMIT ?)",
        (time.time() - keep_s, most),
    ).rowcount


def prune_early(db: sqlite3.Connection, appended_before: float, most: int) -> int:
    """Delete up to ``most`` delivered charges appended before a time (Unix seconds); return how many."""
    return db.execute(
        "DELETE FROM charges WHERE row IN"
        " (SELECT row FROM charges WHERE state = 'delivered' AND state <> 'pending' AND appended_at < ?"
        " ORDER BY closed_at LIMIT ?)",
        (appended_before, most),
    ).rowcount


def counts(db: sqlite3.Connection) -> Counts:
    """Read the totals, and measure the file."""
    totals = db.execute("SELECT pending, delivered, rejected, cost_nano, unpriced FROM totals").fetchone()
    oldest = db.execute(
        # SQLite would look for it from the file's beginning.
        "SELECT appended_at FROM charges WHERE row ="
        " (SELECT min(row) FROM charges INDEXED BY charges_pending WHERE state = 'pending')"
    ).fetchone()
    age = max(0.0, time.time() - oldest[0]) if oldest else 0.0
    file = db.execute("PRAGMA database_list").fetchone()[2]
    pending, delivered, rejected, cost, unpriced = (int(total) for total in totals)
    on_disk = sum(size(part) for part in (file, f"{file}-wal"))
    return Counts(pending, delivered, rejected, cost, unpriced, age, on_disk, used(db))


def waiting(db: sqlite3.Connection) -> int:
    """Return how many charges wait to be delivered."""
    return int(db.execute("SELECT pending FROM totals").fetchone()[0])


def used(db: sqlite3.Connection) -> int:
    """Return how many bytes of the file hold something; the others are free for what comes next."""
    (size,) = db.execute("PRAGMA page_size").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(size * (pages - free))


def size(path: Path | str) -> int:
    """Return a file's size in bytes, 0 if it is not there."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def checkpoint(db: sqlite3.Connection) -> bool:
    """Copy the log into the file, and begin the log anew; return whether other connections let it.

    Most of it is copied beside the traffic, and only what came meanwhile while appends wait: without that,
    a busy log would never end. Beginning it anew syncs its header: done here, no append meets it.
    """
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    if not busy:
        db.execute("UPDATE totals SET pending = pending")
    return not busy
