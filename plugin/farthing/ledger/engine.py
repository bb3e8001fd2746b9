"""The embedded engine: chDB (ClickHouse in a library) over one folder that one process owns."""

import contextlib
import fcntl
import functools
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.ledger import access, sqltext
from farthing.ledger.errors import EngineError, LedgerError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")

# Background merging must leave a small machine to the gateway; the caches are sized for a ledger, not
# for a data warehouse.
_OPTIONS = (
    "background_pool_size=2&background_schedule_pool_size=4&background_common_pool_size=2"
    "&background_fetches_pool_size=1&background_move_pool_size=1&max_thread_pool_size=200"
    "&mark_cache_size=67108864&uncompressed_cache_size=0&index_mark_cache_size=33554432"
)
QUERY_LIMITS: Mapping[str, str] = {
    "max_memory_usage": "2000000000",
    "max_execution_time": "300",
    # The answer is built in memory before its first byte leaves, so that an error is still an error.
    "max_result_bytes": "268435456",
    "result_overflow_mode": "throw",
    # An INSERT is answered when its rows are stored, not when they are queued.
    "async_insert": "0",
}
# A backlog of charges may reach back over any number of days, which are partitions.
_INSERT_LIMITS: Mapping[str, str] = {
    "async_insert": "0",
    "max_partitions_per_insert_block": "0",
    # Inserts are many and small: one thread each, or they spend their time starting threads.
    "max_threads": "1",
    "max_insert_threads": "1",
    "input_format_parallel_parsing": "0",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement came to. Bytes are in ``output_format`` (None: it answers no rows)."""

    body: bytes
    output_format: str | None
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_ns: int = 0


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _set_statement(settings: Mapping[str, str]) -> str:
    for name in settings:
        if not _NAME.match(name):
            raise EngineError.of(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    return "SET " + ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())


class Engine:
    """One open ledger folder. Its methods block and may be called from any thread at the same time.

    Every statement runs on a handle of its own, so settings and ``USE`` never leak to another.
    """

    def __init__(self, path: Path, database: str) -> None:
        """Open (or make) the ledger at ``path``. Raises LedgerError if it cannot be, or is open elsewhere."""
        self.path, self.database = path, database
        self._lock = _own(path)
        # Before chDB is loaded: spans are filed under UTC days, whatever the machine's time zone.
        os.environ["TZ"] = "UTC"
        time.tzset()
        try:
            import chdb.state

            self._connect = chdb.state.connect
            self._location = os.path.realpath(path)
            for name in ("default.sql", "default.sql.tmp"):
                (Path(self._location) / "metadata" / name).unlink(missing_ok=True)
            self._root: Any = self._connect(f"{self._location}?{_OPTIONS}")
            # chDB's own `default` shows every local file as a table. Handles need one, so it becomes an
            # empty one that is kept nowhere; the ledger's database is the only one that lasts.
            self._root.query("DETACH DATABASE default")
            self._root.query("CREATE DATABASE default ENGINE = Memory")
            self._root.query(f"CREATE DATABASE IF NOT EXISTS `{database}`")
            self.version = str(
                self._root.query("SELECT version()", "TabSeparatedRaw").bytes(), "ascii"
            ).strip()
        except ImportError as error:
            os.close(self._lock)
            raise LedgerError(
                f"the embedded ledger needs chDB ({error}); install it: pip install 'farthing[ledger]'"
            ) from None
        except RuntimeError as error:
            os.close(self._lock)
            raise LedgerError(
                f"ledger.path {path}: the engine cannot open this folder: {EngineError.from_engine(error)}; "
                "make sure that it is writable and holds a ledger, or set ledger.path to another folder"
            ) from None
        except Exception as error:
            os.close(self._lock)
            raise LedgerError(f"ledger.path {path}: the engine cannot open this folder: {error}") from None
        self._busy = 0
        self._count = threading.Lock()

    @contextlib.contextmanager
    def _handle(
        self,
        database: str | None,
        settings: Mapping[str, str],
        readonly: bool = False,
        department: str | None = None,
    ) -> Iterator[Any]:
        with self._count:
            if self._root is None:
                raise EngineError.of(236, "ABORTED", "the ledger is shutting down")
            self._busy += 1
        handle = None
        try:
            handle = self._connect(self._location)
            # Clients that name no database mean the server's default one, which is the ledger's.
            database = self.database if database in (None, "default") else database
            handle.query("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`")
            if settings:
                handle.query(_set_statement(settings))
            if department is not None:
                handle.query(access.filters(department, self._tables(handle), self.database))
                # Conditions of the query must not be tried on rows before the department's is.
                handle.query("SET optimize_move_to_prewhere = 0")
                handle.query("SET readonly = 1")
            elif readonly:
                handle.query("SET readonly = 2")
            yield handle
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError.from_engine(error) from None
        except Exception as error:
            # chDB's own exception class derives from Exception alone.
            raise error if isinstance(error, EngineError) else EngineError.from_engine(error) from None
        finally:
            if handle is not None:
                handle.close()
            with self._count:
                self._busy -= 1

    def query(
        self,
        sql: bytes,
        *,
        database: str | None = None,
        default_format: str = "TabSeparated",
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        readonly: bool = False,
        department: str | None = None,
    ) -> Answer:
        """Run one statement and return its whole answer. Raises EngineError.

        ``parameters`` bind ``{name:Type}``; ``settings`` are ClickHouse settings of this statement alone.
        With a ``department`` it may only read, and sees the rows of that department alone.
        """
        _check(sql)
        if department is not None:
            access.check(sql, settings or {}, self._table_functions)
        output = sqltext.output_format(sql) or default_format
        limits = {**QUERY_LIMITS, **(settings or {})}
        with self._handle(database, limits, readonly, department) as handle:
            result = handle.query(sql, default_format, params=dict(parameters or {}))
            body = result.bytes() or b""
            if department is not None:
                # How many rows were read tells of those of others.
                return Answer(body, output if body or sqltext.answers_rows(sql) else None)
            return Answer(
                body,
                output if body or sqltext.answers_rows(sql) else None,
                result.storage_rows_read(),
                result.storage_bytes_read(),
                result.rows_written(),
                result.bytes_written(),
                int(result.elapsed() * 1e9),
            )

    def insert(
        self,
        statement: str,
        input_format: str,
        data: bytes,
        *,
        database: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Answer:
        """Insert rows given in ``input_format``: all of them are stored on return. Raises EngineError.

        ``statement`` is the INSERT without FORMAT and data.
        """
        _check(statement.encode(errors="surrogateescape"))
        limits = {**_INSERT_LIMITS, **(settings or {})}
        with self._handle(database, limits) as handle:
            with handle.send_insert(statement, input_format) as rows:
                if data:
                    rows.append(data)
                done = rows.finish()
            return Answer(
                b"",
                None,
                written_rows=done.rows_written,
                written_bytes=done.bytes_written,
                elapsed_ns=int(done.elapsed * 1e9),
            )

    @staticmethod
    def _tables(handle: Any) -> list[tuple[str, str, bool]]:
        # Asked for each query, so that a table that is new is never forgotten.
        found = handle.query(
            "SELECT t.database, t.name, (t.database, t.name) IN "
            "(SELECT database, table FROM system.columns WHERE name = 'department') "
            "FROM system.tables AS t WHERE t.engine NOT IN ('View', 'MaterializedView')",
            "JSONCompactEachRow",
        ).bytes()
        return [(str(a), str(b), bool(c)) for a, b, c in map(json.loads, found.splitlines())]

    @functools.cached_property
    def _table_functions(self) -> frozenset[str]:
        found = self.query(b"SELECT name FROM system.table_functions", default_format="TabSeparatedRaw")
        return frozenset(found.body.decode().split())

    def close(self) -> bool:
        """Close the engine and give up the folder. Returns False if statements were still running."""
        with self._count:
            root, self._root = self._root, None
            idle = self._busy == 0
        if root is not None and idle:
            root.close()
            os.close(self._lock)
        return idle


def _check(sql: bytes) -> None:
    if sqltext.is_multiple(sql):
        raise EngineError.of(62, "SYNTAX_ERROR", "Syntax error: Multi-statements are not allowed")
    if word := sqltext.local_access(sql):
        raise EngineError.of(
            497, "ACCESS_DENIED", f"`{word}` would reach this machine's files or programs: not allowed here"
        )


def _own(path: Path) -> int:
    """Lock the folder for this process and return the lock's descriptor. Raises LedgerError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "farthing.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LedgerError(
            f"ledger.path {path}: {error.strerror}; "
            "make the folder writable, or set ledger.path to one that is"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise LedgerError(
            f"ledger.path {path} is already open in another process (pid {owner}), and only one may own it; "
            "use the ledger that is running, or stop it first, or set ledger.path to another folder"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock
