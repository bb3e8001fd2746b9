"""The SQLite schema of a credit store, and opening a file with it.

Every amount is checked to be an integer: SQLite would turn an overflowing sum into a float.
"""

import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS accounts (
    user TEXT PRIMARY KEY,
    department TEXT NOT NULL,
    granted INTEGER NOT NULL DEFAULT 0 CHECK (typeof(granted) = 'integer' AND granted >= 0),
    settled INTEGER NOT NULL DEFAULT 0 CHECK (typeof(settled) = 'integer' AND settled >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (typeof(held) = 'integer' AND held >= 0)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS grants (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= 0),
    updated_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    closed_ns INTEGER,
    settled INTEGER CHECK (typeof(settled) IN ('integer', 'null') AND settled >= 0),
    overdraft INTEGER CHECK (typeof(overdraft) IN ('integer', 'null') AND overdraft >= 0),
    CHECK ((state = 'held') = (closed_ns IS NULL)),
    CHECK ((state = 'settled') = (settled IS NOT NULL AND overdraft IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS holds_live ON holds (user, expires_ns) WHERE state = 'held';
"""

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

Found = TypeVar("Found")


def open_file(path: Path, wait_s: float) -> sqlite3.Connection:
    """Open (and create, with its folders) the credit file at ``path``, ready for `write`.

    Raises sqlite3.Error or OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # timeout=0: `waiting` waits for the lock instead. SQLite's own waits grow to 100 ms, a thousand times
    # longer than a step takes.
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        waiting(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone(), wait_s)
        connection.execute("PRAGMA synchronous = NORMAL")
        write(connection, wait_s, _create)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(
            f"schema {version} is newer than this Farthing knows ({SCHEMA_VERSION}); upgrade Farthing"
        )
    if version < SCHEMA_VERSION:
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


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


def waiting(attempt: Callable[[], Found], wait_s: float) -> Found:
    """Repeat ``attempt`` while another connection has the file locked, for at most ``wait_s`` seconds."""
    deadline = time.monotonic() + wait_s
    pause = 0.0001
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311
        pause = min(pause * 1.5, 0.004)
