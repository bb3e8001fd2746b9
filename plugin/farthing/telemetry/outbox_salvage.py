"""A damaged outbox: set aside as it is, and every charge that can still be read moved into a new file."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from farthing.telemetry import outbox_file, sqlite_file, sqlite_pages
from farthing.telemetry.outbox_file import Entry

_log = logging.getLogger(__name__)

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ORDER = {b"pending": 0, b"rejected": 1, b"delivered": 2}
_COLUMNS = (10, 11)
_TIMES = (1e9, 1e10)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was found: the set-aside file, the charges that were whole, and the ids of those that were not."""

    aside: Path
    charges: int
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    entry: Entry
    state: str
    appended_at: float
    closed_at: float | None
    crc: int | None


def is_damage(error: BaseException) -> bool:
    """Return whether an error of SQLite's says that the file itself is damaged."""
    return (
        isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED
    )


def aside_files(path: Path) -> list[Path]:
    """Return the damaged files that were set aside from ``path``, oldest first."""
    return sorted(
        found for found in path.parent.glob(f"{path.name}.damaged-*") if not found.name.endswith("-wal")
    )


def damage(path: Path) -> str:
    """Return what is wrong with the outbox file at ``path``, empty text if nothing is; changes nothing.

    No other process may have it open. Reads the whole file: about a second for each GiB.
    """
    log = Path(f"{path}-wal")
    if not path.exists():
        return "the file is gone, but its log is there" if outbox_file.size(log) > 32 else ""
    if sqlite_pages.log_is_broken(path):
        return "its log is damaged"
    if not outbox_file.size(path):
        return ""
    try:
        # Read-only: closing it must not copy the log into a file that may be damaged.
        reading = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=outbox_file.WAIT_S)
        try:
            (found,) = reading.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            reading.close()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise
    return "" if found == "ok" else str(found).splitlines()[-1]


def salvage(path: Path) -> Salvaged:
    """Replace the damaged file at ``path`` by a new one with all its readable charges.

    No other process may have it open. It may be interrupted at any point and is then done again. Raises
    sqlite3.Error or OSError, and ValueError if the file does not look like an outbox.
    """
    new, log = Path(f"{path}.new"), Path(f"{path}-wal")
    # Gone, but its successor is there: it was interrupted between the renames.
    resumed = not path.exists() and new.exists()
    count, bad = 0, set[str]()
    if not resumed:
        whole, bad, totals = _read(path)
        if not whole and not _is_ours(path):
            raise ValueError("file is not a database, and holds no charges; move it away")
        _build(new, whole.values(), totals)
        count = len(whole)
    aside = Path(f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}a")
    if path.exists():
        os.replace(path, aside)
    if log.exists():
        os.replace(log, f"{aside}-wal")
    Path(f"{path}-shm").unlink(missing_ok=True)
    os.replace(new, path)
    _sync(path.parent)
    _log.critical(
        "the outbox %s was damaged: %d charges were read out of it and %d were not (%s); the damaged file is "
        "kept as %s. `farthing doctor` shows whether the ledger misses any",
        path,
        count,
        len(bad),
        ", ".join(sorted(bad)[:20]),
        aside,
    )
    return Salvaged(aside, count, tuple(sorted(bad)))


def _is_ours(path: Path) -> bool:
    # An empty outbox has no charge to know it by, but its table's definition is text on its first page.
    log = Path(f"{path}-wal")
    return any(
        file.exists() and b"CREATE TABLE charges" in file.read_bytes()[: 1 << 20] for file in (path, log)
    )


def _read(path: Path) -> tuple[dict[str, _Row], set[str], tuple[int, int, int]]:
    whole: dict[str, _Row] = {}
    bad: set[str] = set()
    totals = (0, 0, 0)
    for values in sqlite_pages.rows(path):
        if len(values) == 5 and all(type(value) is int and value >= 0 for value in values):
            pending, delivered, rejected, cost, unpriced = (int(value or 0) for value in values)
            totals = max(totals, (pending + delivered + rejected, cost, unpriced))
            continue
        row = _row(values)
        if row is None:
            continue
        charge_id = row.entry.charge_id
        if row.crc is not None and row.crc != row.entry.crc:
            bad.add(charge_id)
            continue
        known = whole.get(charge_id)
        # Of several versions of a row, the furthest on its way: sent twice it does no harm, but a charge
        # that is in the ledger need not be.
        if known is None or _ORDER[row.state.encode()] >= _ORDER[known.state.encode()]:
            whole[charge_id] = row
    return whole, bad - set(whole), totals


def _row(values: list[sqlite_pages.Value]) -> _Row | None:
    if len(values) not in _COLUMNS or values[0] is not None:
        return None
    _, charge_id, instance, sequence, cost, payload, state, _, appended, closed, *crc = values
    if not (isinstance(charge_id, bytes) and charge_id and isinstance(instance, bytes)):
        return None
    if not (isinstance(payload, bytes) and payload and type(sequence) is int):
        return None
    if cost is not None and type(cost) is not int:
        return None
    try:
        entry = Entry(charge_id.decode(), instance.decode(), sequence, cost, payload)
    except UnicodeDecodeError:
        return None
    check = crc[0] if crc and type(crc[0]) is int else None
    if crc and check is None and crc[0] is not None:
        return None
    return _Row(
        entry,
        state.decode() if isinstance(state, bytes) and state in _ORDER else "pending",
        _time(appended) or time.time(),
        _time(closed),
        check,
    )


def _time(value: sqlite_pages.Value) -> float | None:
    return float(value) if isinstance(value, int | float) and _TIMES[0] < value < _TIMES[1] else None


def _build(new: Path, rows: Iterable[_Row], totals: tuple[int, int, int]) -> None:
    for part in (new, Path(f"{new}-wal"), Path(f"{new}-shm")):
        part.unlink(missing_ok=True)
    db = outbox_file.open_file(new, fsync=True)
    try:
        found = sorted(rows, key=lambda row: row.appended_at)
        sqlite_file.write(db, outbox_file.WAIT_S, lambda db: _fill(db, found, totals))
        db.execute("PRAGMA journal_mode = DELETE").fetchone()
    finally:
        db.close()


def _fill(db: sqlite3.Connection, rows: list[_Row], totals: tuple[int, int, int]) -> None:
    db.executemany(
        "INSERT INTO charges (charge_id, instance, sequence, cost_nano, payload, state, appended_at,"
        " closed_at, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row.entry.charge_id, row.entry.instance, row.entry.sequence, row.entry.cost_nano,
                row.entry.payload, row.state, row.appended_at,
                (row.closed_at or time.time()) if row.state != "pending" else None, row.entry.crc,
            )
            for row in rows
        ],
    )  # fmt: skip
    pending = sum(row.state == "pending" for row in rows)
    rejected = sum(row.state == "rejected" for row in rows)
    # What the file ever took in, of which the rows that were pruned are delivered.
    ever, cost, unpriced = max(
        totals,
        (
            len(rows),
            sum(row.entry.cost_nano or 0 for row in rows),
            sum(row.entry.cost_nano is None for row in rows),
        ),
    )
    db.execute(
        "UPDATE totals SET pending = ?, delivered = ?, rejected = ?, cost_nano = ?, unpriced = ?",
        (pending, ever - pending - rejected, rejected, cost, unpriced),
    )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
