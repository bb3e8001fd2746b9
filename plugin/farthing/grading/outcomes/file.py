"""Outcomes that survive restarts and that several processes learn together: a SQLite file behind the book."""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from farthing.grading.grade import GradeName
from farthing.grading.outcomes.book import TRIED, Book, Key, ShiftRules
from farthing.grading.outcomes.evidence import Evidence, Kind

_VERSION = 1
_TABLES = """
CREATE TABLE evidence (
    scope BLOB NOT NULL,
    intent BLOB NOT NULL,
    tier TEXT NOT NULL,
    check_good REAL NOT NULL,
    retry_good REAL NOT NULL,
    comparison_good REAL NOT NULL,
    check_bad REAL NOT NULL,
    retry_bad REAL NOT NULL,
    comparison_bad REAL NOT NULL,
    at REAL NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (scope, intent, tier)
) WITHOUT ROWID;
CREATE INDEX evidence_revision ON evidence (revision);
CREATE INDEX evidence_age ON evidence (scope, at);
CREATE TABLE counter (revision INTEGER NOT NULL);
INSERT INTO counter VALUES (0)
"""
_COLUMNS = "check_good, retry_good, comparison_good, check_bad, retry_bad, comparison_bad, at"
_READ = f"SELECT {_COLUMNS} FROM evidence WHERE (scope, intent, tier) = (?, ?, ?)"  # noqa: S608
_WRITE = (
    f"INSERT OR REPLACE INTO evidence (scope, intent, tier, {_COLUMNS}, revision) "  # noqa: S608
    f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CHANGED = f"SELECT scope, intent, tier, {_COLUMNS}, revision FROM evidence WHERE revision > ?"  # noqa: S608
_TOO_MANY = """
DELETE FROM evidence WHERE scope = :scope AND intent IN (
    SELECT intent FROM evidence WHERE scope = :scope
    GROUP BY intent ORDER BY max(at) DESC LIMIT -1 OFFSET :most
)
"""
_FORGOTTEN_AFTER = 12
"""Half-lives after which the file drops a row: by then the most that a row may weigh weighs nothing."""
_MENDED_WITHIN_S = 60.0

_log = logging.getLogger(__name__)


class _NotOursError(Exception):
    """The file's schema is newer than this code: it is left as it is."""


class FileOutcomes:
    """Outcomes in a SQLite file that several processes may share; a `farthing.grading.outcomes.Outcomes`.

    Requests meet memory only. A thread adds what was recorded to the file and reads what other processes
    added, every ``every_s`` seconds, so a crash loses no more than that. The file holds weights under
    digests of scope and intent, no text.

    A file that is not a sound database is set aside (``.corrupt-…``) and a new one begun. Whatever else goes
    wrong with it is logged, once until it works again, and learning goes on in memory.
    """

    def __init__(
        self,
        path: Path,
        rules: ShiftRules | None = None,
        *,
        clock: Callable[[], float] = time.time,
        every_s: float = 1.0,
        wait_s: float = 5.0,
    ) -> None:
        """Open or create ``path`` and read it; raises nothing for its state.

        ``clock`` gives epoch seconds. ``wait_s``: how long a write waits for other processes. ``every_s``
        of infinity starts no thread; then only `flush` and `close` touch the file.
        """
        self._book = Book(rules, clock=clock)
        self._path, self._every_s, self._wait_s = path, every_s, wait_s
        self._connection: sqlite3.Connection | None = None
        self._seen = 0
        self._trouble = ""
        self._flushing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._flush_twice()
        if math.isfinite(every_s):
            self._thread = threading.Thread(target=self._run, name="farthing-outcomes", daemon=True)
            self._thread.start()

    def shift(self, scope: str, intent: str, grade: GradeName) -> tuple[GradeName, str]:
        """See `farthing.grading.outcomes.Outcomes.shift`."""
        return self._book.shift(scope, intent, grade)

    def record(
        self,
        scope: str,
        intent: str,
        tier_grade: GradeName,
        kind: Kind,
        good: bool,
        weight: float | None = None,
    ) -> None:
        """See `farthing.grading.outcomes.Outcomes.record`."""
        self._book.record(scope, intent, tier_grade, kind, good, weight)

    def flush(self) -> bool:
        """Write what was recorded and read what others wrote; return whether that worked. Raises nothing."""
        with self._flushing:
            taken = self._book.take()
            try:
                self._exchange(taken)
            except (sqlite3.Error, OSError, _NotOursError) as error:
                self._book.untake(taken)
                self._close()
                if not (_is_corrupt(error) and self._set_aside(error)):
                    self._complain(error)
                return False
            if self._trouble:
                _log.warning("outcomes file %s works again", self._path)
                self._trouble = ""
            return True

    def close(self) -> None:
        """Write what is not yet written and let go of the file. Calling it again does nothing more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._flush_twice()
        self._close()

    def _flush_twice(self) -> None:
        if not self.flush():
            self.flush()  # if a corrupt file was set aside, this begins the new one

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.flush()

    def _exchange(self, taken: Mapping[Key, Evidence]) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open()
        if taken:
            with _transaction(connection):
                self._add(connection, taken)
        rows = connection.execute(_CHANGED, (self._seen,)).fetchall()
        self._seen = max((row[-1] for row in rows), default=self._seen)
        now = self._book.now()
        known = [(_key(row), _evidence(row[3:-1], now)) for row in rows if row[2] in TRIED]
        self._book.settle(known, taken)

    def _add(self, connection: sqlite3.Connection, taken: Mapping[Key, Evidence]) -> None:
        rules, now = self._book.rules, self._book.now()
        (revision,) = connection.execute(
            "UPDATE counter SET revision = revision + 1 RETURNING revision"
        ).fetchone()
        for key, recorded in taken.items():
            row = connection.execute(_READ, key).fetchone()
            stored = _evidence(row, now) if row else Evidence()
            both = stored.plus(recorded, rules.half_life_s, rules.cap)
            connection.execute(_WRITE, (*key, *both.good, *both.bad, both.at, revision))
        for scope in {key.scope for key in taken}:
            connection.execute(_TOO_MANY, {"scope": scope, "most": rules.intents})

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=self._wait_s, isolation_level=None, check_same_thread=False
        )
        try:
            _check_version(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            # A power cut may lose the last transactions, never the file: this is evidence, not money.
            connection.execute("PRAGMA synchronous = NORMAL")
            with _transaction(connection):
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        # Another file than before numbers its rows anew.
        self._seen = 0
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _check_version(connection) < _VERSION:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        oldest = self._book.now() - _FORGOTTEN_AFTER * self._book.rules.half_life_s
        connection.execute("DELETE FROM evidence WHERE at < ?", (oldest,))

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _set_aside(self, error: Exception) -> bool:
        """Rename a bad file, unless another process does so; return whether this one did."""
        aside = self._path.with_name(f"{self._path.name}.corrupt-{time.time_ns()}")
        try:
            with _alone(self._path.with_name(f"{self._path.name}.mending")):
                if not self._path.exists() or _is_sound(self._path):
                    return False  # another process was first
                for suffix in ("-wal", "-shm", ""):
                    with suppress(FileNotFoundError):
                        self._path.with_name(self._path.name + suffix).rename(
                            aside.with_name(aside.name + suffix)
                        )
        except OSError:
            return False
        self._book.forget_stored()
        _log.error(
            "outcomes file %s is corrupt (%s); kept as %s, learning starts anew",
            self._path,
            error,
            aside.name,
        )
        return True

    def _complain(self, error: Exception) -> None:
        trouble = f"{type(error).__name__}: {error}"
        if trouble != self._trouble:
            _log.error("outcomes file %s: %s; learning goes on in memory", self._path, trouble)
            self._trouble = trouble


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold ``lock``, a file that exists while it is held. Raises FileExistsError if another holds it."""
    with suppress(FileNotFoundError):
        if time.time() - lock.stat().st_mtime > _MENDED_WITHIN_S:
            lock.unlink()  # left by a process that died
    lock.touch(exist_ok=False)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _check_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise _NotOursError(f"schema {version} is newer than this Farthing knows ({_VERSION}); upgrade it")
    return int(version)


def _is_corrupt(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        return False


def _key(row: Sequence[Any]) -> Key:
    return Key(row[0], row[1], row[2])


def _evidence(row: Sequence[Any], now: float) -> Evidence:
    """Return a row's evidence. What no writer writes, a damaged page may hold: that counts nothing."""
    *weights, at = (value if isinstance(value, float) and 0 <= value < math.inf else 0.0 for value in row)
    check_good, retry_good, comparison_good, check_bad, retry_bad, comparison_bad = weights
    return Evidence(
        (check_good, retry_good, comparison_good), (check_bad, retry_bad, comparison_bad), min(at, now)
    )
