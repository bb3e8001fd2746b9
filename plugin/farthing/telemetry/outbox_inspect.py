"""A look at an outbox file from outside: read-only, whether its gateways run or not."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from farthing.telemetry import outbox_file, outbox_salvage


@dataclass(frozen=True, slots=True)
class Rejected:
    """A charge that the receiver refuses. ``cost_nano`` is nano-dollars, None if unpriced."""

    charge_id: str
    instance: str
    sequence: int
    cost_nano: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An outbox at one moment. ``oldest_s`` is the age of the oldest charge that waits, seconds."""

    pending: int
    oldest_s: float
    rejected: tuple[Rejected, ...]
    undelivered_nano: int
    """What the charges that wait or were rejected cost together, nano-dollars."""
    bytes: int
    used_bytes: int
    last_delivered: dict[str, int]
    """For each gateway instance, the highest number of its charges that a receiver took."""
    aside: tuple[Path, ...]
    """Damaged files that were set aside."""
    fault: str
    """What is wrong with the file itself, as far as SQLite sees; empty: nothing."""


class OutboxReader:
    """Reads one outbox file. Its methods raise sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path = db, path

    def snapshot(self) -> Snapshot:
        """Return how the outbox stands."""
        db = self._db
        pending, oldest = db.execute(
            "SELECT count(*), min(appended_at) FROM charges WHERE state = 'pending'"
        ).fetchone()
        rejected = db.execute(
            "SELECT charge_id, instance, sequence, cost_nano FROM charges WHERE state = 'rejected'"
            " ORDER BY row"
        )
        (undelivered,) = db.execute(
            "SELECT coalesce(sum(cost_nano), 0) FROM charges WHERE state <> 'delivered'"
        ).fetchone()
        last = db.execute(
            "SELECT instance, max(sequence) FROM charges WHERE state = 'delivered' GROUP BY instance"
        )
        (check,) = db.execute("PRAGMA quick_check(1)").fetchone()
        return Snapshot(
            pending=pending,
            oldest_s=max(0.0, time.time() - oldest) if oldest is not None else 0.0,
            rejected=tuple(Rejected(*row) for row in rejected),
            undelivered_nano=undelivered,
            bytes=sum(outbox_file.size(f"{self._path}{end}") for end in ("", "-wal")),
            used_bytes=outbox_file.used(db),
            last_delivered=dict(last.fetchall()),
            aside=tuple(outbox_salvage.aside_files(self._path)),
            fault="" if check == "ok" else str(check).splitlines()[-1],
        )

    def undelivered(self, most: int) -> list[str]:
        """Return the ids of charges that wait or were rejected, oldest first."""
        rows = self._db.execute(
            "SELECT charge_id FROM charges WHERE state <> 'delivered' ORDER BY row LIMIT ?", (most,)
        )
        return [charge_id for (charge_id,) in rows]

    def numbered(self, ranges: Sequence[tuple[str, int, int]]) -> list[dict[str, list[str]]]:
        """Return, for each range (instance, first and last number), the ids of its charges by state.

        Reads the whole file once.
        """
        found: list[dict[str, list[str]]] = [{} for _ in ranges]
        wanted: dict[str, list[tuple[int, int, int]]] = {}
        for index, (instance, first, last) in enumerate(ranges):
            wanted.setdefault(instance, []).append((first, last, index))
        rows = self._db.execute("SELECT instance, sequence, state, charge_id FROM charges") if ranges else ()
        for instance, sequence, state, charge_id in rows:
            for first, last, index in wanted.get(instance, ()):
                if first <= sequence <= last:
                    found[index].setdefault(state, []).append(charge_id)
        return found


@contextmanager
def reading(path: Path) -> Iterator[OutboxReader]:
    """Open the outbox file at ``path`` to read. Raises sqlite3.Error, FileNotFoundError if there is none."""
    if not path.exists():
        raise FileNotFoundError(path)
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=outbox_file.WAIT_S, isolation_level=None
    )
    db.text_factory = outbox_file.readable
    try:
        # One moment for all that is read.
        db.execute("BEGIN")
        yield OutboxReader(db, path)
    finally:
        db.close()
