"""SQLite files that several processes share: opened in WAL mode, written one atomic step at a time."""

import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

Found = TypeVar("Found")


def open_file(
    path: Path,
    tables: str,
    version: int,
    *,
    synchronous: Literal["FULL", "NORMAL"],
    wait_s: float,
    upgrade: Callable[[sqlite3.Connection, int], None] | None = None,
) -> sqlite3.Connection:
    """Open (and create, with its folders and ``tables``) the file at ``path``, ready for `write`.

    In WAL mode FULL syncs the log at each commit, NORMAL only at checkpoints. ``upgrade`` gets a file whose
    schema is older, and its version; without it, ``tables`` must say what is new. Raises sqlite3.Error, also
    for a file whose schema ``version`` is newer, or OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # timeout=0: `waiting` waits for the lock instead. SQLite's own waits grow to 100 ms, a thousand times
    # longer than a step takes, and it does not wait at all for the change to WAL mode.
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        waiting(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone(), wait_s)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        write(connection, wait_s, lambda db: _bring_up(db, tables, version, upgrade))
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up(
    connection: sqlite3.Connection,
    tables: str,
    version: int,
    upgrade: Callable[[sqlite3.Connection, int], None] | None,
) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > version:
        raise sqlite3.DatabaseError(
            f"schema {found} is newer than this Farthing knows ({version}); upgrade Farthing"
        )
    if found < version:
        if found and upgrade is not None:
            upgrade(connection, found)
        else:
            create(connection, tables)
        connection.execute(f"PRAGMA user_version = {version}")


def create(connection: sqlite3.Connection, tables: str) -> None:
    """Run the statements of ``tables``, each ended by a semicolon and a new line."""
    for statement in tables.split(";\n"):
        connection.execute(statement)


def write(
    connection: sqlite3.Connection, wait_s: float, step: Callable[[sqlite3.Connection], Found]
) -> Found:
    """Run ``step`` as one atomic transaction, waiting at most ``wait_s`` seconds for other writers.

    If it raises, nothing of it stays. It may run more than once, so it must do nothing but SQL.
    """

    def attempt() -> Found:
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = step(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return found

    return waiting(attempt, wait_s)


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Return whether another connection was in the way: the same step may succeed later."""
    # Errors that Python's own module raises carry no code of SQLite's.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def waiting(
    attempt: Callable[[], Found], wait_s: float, *, yields: int = 0, longest_pause_s: float = 0.004
) -> Found:
    """Repeat ``attempt`` while another connection has the file locked, for at most ``wait_s`` seconds.

    After the first ``yields`` attempts it only lets other processes run, then it pauses for longer and
    longer, up to ``longest_pause_s``: the sooner it looks again, the less time is lost and the more work.
    """
    deadline = time.monotonic() + wait_s
    pause = 0.0001
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        if yields > 0:
            yields -= 1
            os.sched_yield()
            continue
        time.sleep(random.uniform(0, pause))  # noqa: S311
        pause = min(pause * 1.5, longest_pause_s)
