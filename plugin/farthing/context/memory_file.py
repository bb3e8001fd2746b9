"""Sessions remembered in an SQLite file that several processes share."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from farthing.context.fold import Fold, Owner, Segment
from farthing.context.memory import RecollectionError, Session
from farthing.context.sealing import sealer_of
from farthing.telemetry.sqlite_file import open_file, waiting, write

MOST = {"fold": 6, "refusal": 64, "sent": 8}
"""Notes of a session, by their kind. The newest are kept."""
MOST_ORIGINALS = 2_000
MOST_ORIGINAL_BYTES = 32_000_000
"""Texts of a session and their bytes in all. The oldest go; one that is longer by itself is not kept."""

_READ_WAIT_S = 0.02
_TOUCH_EVERY_S = 3_600.0
_MOST_UNTOUCHED = 10_000
_BATCH = 16
"""Sessions deleted in one transaction: other writers get in between."""

_VERSION = 1
# Rows point at sessions: who deletes a session deletes all of it. What a name says is in the sealed text.
_TABLES = """
CREATE TABLE sessions (
    owner BLOB PRIMARY KEY,
    user BLOB NOT NULL,
    key BLOB NOT NULL,
    used_at REAL NOT NULL,
    saved INTEGER NOT NULL DEFAULT 0 CHECK (typeof(saved) = 'integer'),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (typeof(spent) = 'integer')
) WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user);
CREATE INDEX sessions_used ON sessions (used_at);
CREATE TABLE notes (
    id INTEGER PRIMARY KEY,
    owner BLOB NOT NULL REFERENCES sessions ON DELETE CASCADE,
    name BLOB NOT NULL,
    kind TEXT NOT NULL,
    sealed BLOB NOT NULL,
    UNIQUE (owner, name)
);
CREATE TABLE originals (
    id INTEGER PRIMARY KEY,
    owner BLOB NOT NULL REFERENCES sessions ON DELETE CASCADE,
    name BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    UNIQUE (owner, name)
);
CREATE INDEX originals_size ON originals (owner, bytes);
CREATE TABLE erasures (count INTEGER NOT NULL);
INSERT INTO erasures VALUES (0)
"""
_SESSION = "SELECT count, saved, spent, used_at FROM erasures LEFT JOIN sessions ON owner = ?"
_NOTES = "SELECT name, sealed FROM notes WHERE owner = ? ORDER BY id"
_ENTER = """
INSERT INTO sessions (owner, user, key, used_at) VALUES (?, ?, ?, ?)
ON CONFLICT (owner) DO UPDATE SET used_at = excluded.used_at
"""
_TOO_MANY_NOTES = """
DELETE FROM notes WHERE id IN (
    SELECT id FROM notes WHERE owner = ? AND kind = ? ORDER BY id DESC LIMIT -1 OFFSET ?
)
"""
_ORIGINAL = """
SELECT {} FROM originals JOIN sessions USING (owner)
WHERE originals.owner = ? AND name = ? AND used_at > ?
"""
_TOO_MANY_ORIGINALS = """
DELETE FROM originals WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER newest AS place, sum(bytes) OVER newest AS total
        FROM originals WHERE owner = ? WINDOW newest AS (ORDER BY id DESC)
    ) WHERE place > ? OR total > ?
)
"""
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class _Note(NamedTuple):
    owner: bytes
    name: bytes
    kind: str
    sealed: bytes


class FileMemory:
    """A `farthing.context.memory.Memory` in the file at ``path``, which is made readable for its owner alone.

    A session is forgotten ``retention_s`` seconds after its last use. ``key`` is ``context.key``: if set,
    what was written without one is deleted at once, and what was written with another is as if it were not
    there. ``clock`` gives Unix seconds; ``wait_s`` is how long a write waits for other processes. Any thread
    may use it. Raises RecollectionError, as all its methods do.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        key: str = "",
        retention_s: float,
        clock: Callable[[], float] = time.time,
        wait_s: float = 10.0,
    ) -> None:
        self._path, self._retention_s, self._clock, self._wait_s = Path(path), retention_s, clock, wait_s
        self._reading_now, self._writing_now = threading.Lock(), threading.Lock()
        self._untouched: dict[bytes, float] = {}
        try:
            self._sealer = sealer_of(key)
        except ModuleNotFoundError as error:
            raise RecollectionError(
                "context.key is set, but cryptography is not installed: pip install 'farthing[proxy]'"
            ) from error
        except ValueError as error:
            raise RecollectionError(f"context.key {error}") from error
        with self._failures():
            _make_private(self._path)
            self._writing = open_file(self._path, _TABLES, _VERSION, synchronous="NORMAL", wait_s=wait_s)
            try:
                self._writing.execute("PRAGMA foreign_keys = ON")
                # What is deleted is overwritten with zeros (but see `_scrub`).
                self._writing.execute("PRAGMA secure_delete = ON").fetchall()
                if self._sealer.key_id and self._delete_where("key = x''", ()):
                    self._scrub()
                self._reading = sqlite3.connect(
                    self._path, timeout=0, isolation_level=None, check_same_thread=False
                )
                self._reading.text_factory = bytes  # of text there is only what damage made of a blob
            except BaseException:
                self._writing.close()
                raise

    def session(self, owner: Owner) -> Session:
        """See `Memory.session`. It writes nothing: that it was used is noted with the next write."""
        owner_name = self._owner(owner)
        with self._failures():
            # The epoch first: should an erasure come in between, it is an old one, and nothing is written.
            ((epoch, saved, spent, used_at),) = self._read(_SESSION, (owner_name,))
            if used_at is None or used_at <= self._oldest():
                return Session(epoch=epoch)
            notes = self._read(_NOTES, (owner_name,))
        self._note_use(owner_name, used_at)
        folds: list[Fold] = []
        refused: set[str] = set()
        sent: dict[str, str] = {}
        for name, sealed in notes:
            note = self._sealer.unseal(owner_name, name, sealed)
            if note is None:
                continue
            kind, _, content = note.partition(b" ")
            if kind == b"fold":
                folds.append(_unfolded(content))
            elif kind == b"refusal":
                refused.add(_text(content))
            else:
                model, text = _unpaired(content)
                sent[model] = text
        return Session(tuple(folds), saved, spent, frozenset(refused), sent, epoch)

    def keep(self, owner: Owner, fold: Fold, *, epoch: int) -> None:
        """See `Memory.keep`. The same fold again becomes the newest."""
        content = _folded(fold)
        note = self._note(owner, "fold", content, content)
        self._write(owner, epoch, lambda db: _put(db, note))

    def refuse(self, owner: Owner, name: str, *, epoch: int) -> None:
        """See `Memory.refuse`."""
        note = self._note(owner, "refusal", name, _bytes(name))
        self._write(owner, epoch, lambda db: _put(db, note))

    def book(
        self,
        owner: Owner,
        *,
        epoch: int,
        saved: int = 0,
        spent: int = 0,
        sent: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """See `Memory.book`."""
        notes = [self._note(owner, "sent", model, _paired(model, text)) for model, text in sent.items()]
        added = (saved, spent, self._owner(owner))

        def step(db: sqlite3.Connection) -> None:
            db.execute("UPDATE sessions SET saved = saved + ?, spent = spent + ? WHERE owner = ?", added)
            for note in notes:
                _put(db, note)

        self._write(owner, epoch, step)

    def keep_originals(self, owner: Owner, originals: Mapping[str, str], *, epoch: int) -> None:
        """See `Memory.keep_originals`. What is known already stays as it is.

        At most `MOST_ORIGINALS` texts of `MOST_ORIGINAL_BYTES` in all are kept of a session.
        """
        name, rows, total = self._owner(owner), list[tuple[bytes, bytes, int, bytes]](), 0
        for reference, text in reversed(list(originals.items())):
            row_name = self._sealer.name("original", name, reference)
            if len(text) > MOST_ORIGINAL_BYTES or self._knows(name, row_name):
                continue
            content = _bytes(text)
            if len(content) > MOST_ORIGINAL_BYTES:
                continue
            total += len(content)
            if total > MOST_ORIGINAL_BYTES or len(rows) == MOST_ORIGINALS:
                break  # only older ones are left
            rows.append((name, row_name, len(content), self._sealer.seal(name, row_name, content)))
        rows.reverse()

        def step(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT INTO originals (owner, name, bytes, sealed) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                rows,
            )
            db.execute(_TOO_MANY_ORIGINALS, (name, MOST_ORIGINALS, MOST_ORIGINAL_BYTES))

        if rows:
            self._write(owner, epoch, step)

    def original(self, owner: Owner, reference: str) -> str | None:
        """See `Memory.original`."""
        name = self._owner(owner)
        row_name = self._sealer.name("original", name, reference)
        with self._failures():
            rows = self._read(_ORIGINAL.format("sealed"), (name, row_name, self._oldest()))
        content = self._sealer.unseal(name, row_name, rows[0][0]) if rows else None
        return None if content is None else _text(content)

    def erase(self, user: str) -> int:
        """See `Memory.erase`.

        The file is written anew, so that none of their bytes are left in it: seconds per gigabyte, in which
        others can read but not write. If that fails, RecollectionError says so: then erase again.
        """

        def step(db: sqlite3.Connection) -> int:
            name = self._sealer.name("user", user)
            ((count,),) = db.execute("SELECT count(*) FROM sessions WHERE user = ?", (name,)).fetchall()
            db.execute("DELETE FROM sessions WHERE user = ? OR key <> ?", (name, self._sealer.key_id))
            # Counted for all users, so that no trace of this one is left to compare with.
            db.execute("UPDATE erasures SET count = count + 1")
            return int(count)

        with self._failures(), self._writing_now:
            erased = write(self._writing, self._wait_s, step)
            self._scrub()
        return erased

    def unreadable(self) -> int:
        """See `Memory.unreadable`."""
        with self._failures():
            rows = self._read("SELECT count(*) FROM sessions WHERE key <> ?", (self._sealer.key_id,))
        return int(rows[0][0])

    def prune(self) -> int:
        """See `Memory.prune`. It goes in small steps, and other writers get in between."""
        with self._failures():
            with self._writing_now:
                self._touch()
            pruned = self._delete_where("used_at <= ?", (self._oldest(),))
            if pruned:
                with self._writing_now:
                    self._empty_log(wait_s=0)
        return pruned

    def close(self) -> None:
        """See `Memory.close`."""
        with self._writing_now, self._reading_now:
            with suppress(sqlite3.Error):
                self._touch()
            self._reading.close()
            self._writing.close()

    def _oldest(self) -> float:
        """Return the time at or before which what was used last is as if it were pruned already."""
        return self._clock() - self._retention_s

    def _owner(self, owner: Owner) -> bytes:
        return self._sealer.name("owner", owner.user, owner.session_id)

    def _note(self, owner: Owner, kind: str, told_by: str | bytes, content: bytes) -> _Note:
        """Return a note of a session, sealed. ``told_by`` is what tells it from the others of its kind."""
        owner_name = self._owner(owner)
        name = self._sealer.name(kind, owner_name, told_by)
        # The kind is sealed with it: a damaged one in the table misleads nobody.
        sealed = self._sealer.seal(owner_name, name, b"%b %b" % (kind.encode(), content))
        return _Note(owner_name, name, kind, sealed)

    def _knows(self, name: bytes, row_name: bytes) -> bool:
        with self._failures():
            return bool(self._read(_ORIGINAL.format(1), (name, row_name, self._oldest())))

    def _read(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        def attempt() -> list[tuple[Any, ...]]:
            return self._reading.execute(sql, values).fetchall()

        with self._reading_now:
            return waiting(attempt, _READ_WAIT_S)

    def _write(self, owner: Owner, epoch: int, step: Callable[[sqlite3.Connection], object]) -> None:
        """Run ``step`` on the owner's session, made or begun anew if need be, unless ``epoch`` is over."""
        name, user = self._owner(owner), self._sealer.name("user", owner.user)
        now, oldest = self._clock(), self._oldest()

        def whole(db: sqlite3.Connection) -> None:
            if db.execute("SELECT count FROM erasures").fetchall() != [(epoch,)]:
                return
            db.execute("DELETE FROM sessions WHERE owner = ? AND used_at <= ?", (name, oldest))
            db.execute(_ENTER, (name, user, self._sealer.key_id, now))
            step(db)

        with self._failures(), self._writing_now:
            self._touch()
            write(self._writing, self._wait_s, whole)

    def _note_use(self, name: bytes, used_at: float) -> None:
        now = self._clock()
        if now - used_at >= _TOUCH_EVERY_S and len(self._untouched) < _MOST_UNTOUCHED:
            self._untouched[name] = now

    def _touch(self) -> None:
        """Write when sessions were read last, of those where that is an hour later than the file says."""
        uses = dict(self._untouched)
        if uses:
            values = [(at, name, at) for name, at in uses.items()]
            sql = "UPDATE sessions SET used_at = ? WHERE owner = ? AND used_at < ?"
            write(self._writing, self._wait_s, lambda db: db.executemany(sql, values))
            for name in uses:
                self._untouched.pop(name, None)

    def _delete_where(self, condition: str, values: tuple[object, ...]) -> int:
        """Delete sessions, a few at a time; return how many they and their originals were."""

        def step(db: sqlite3.Connection) -> int:
            sql = f"SELECT owner FROM sessions WHERE {condition} LIMIT {_BATCH}"  # noqa: S608
            owners = db.execute(sql, values).fetchall()
            gone = len(owners)
            for owner in owners:
                ((texts,),) = db.execute("SELECT count(*) FROM originals WHERE owner = ?", owner).fetchall()
                gone += texts
            db.executemany("DELETE FROM sessions WHERE owner = ?", owners)
            return gone

        deleted = 0
        while True:
            with self._writing_now:
                gone = write(self._writing, self._wait_s, step)
            if not gone:
                return deleted
            deleted += gone

    def _scrub(self) -> None:
        """Leave no byte of what was deleted in the file or its log.

        Zeros alone do not do that: where SQLite has moved a row, its old place may still hold it.
        """
        try:
            waiting(lambda: self._writing.execute("VACUUM"), self._wait_s)
            trouble = "" if self._empty_log(self._wait_s) else "its log is being read"
        except sqlite3.Error as error:
            trouble = str(error)
        if trouble:
            raise RecollectionError(
                f"context memory {self._path}: the sessions are deleted, but their bytes may still be in the "
                f"file ({trouble}): erase again"
            )

    def _empty_log(self, wait_s: float) -> bool:
        """Write the log, which still holds what was deleted, to the file; return whether it is empty."""
        # SQLite's own waiting, for once: it alone knows which readers the log has to wait for.
        self._writing.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}").fetchall()
        try:
            ((busy, *_),) = self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._writing.execute("PRAGMA busy_timeout = 0").fetchall()
        return not busy

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError) as error:
            hint = ""
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT:
                hint = "; remove it with its -wal and -shm: what it holds is made anew as sessions go on"
            raise RecollectionError(f"context memory {self._path}: {error}{hint}") from error


def _make_private(path: Path) -> None:
    """Make the file, if there is none, and take others' rights to it; its logs get the same from SQLite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.touch(0o600, exist_ok=False)
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if file.is_file() and file.stat().st_mode & 0o077:
            file.chmod(0o600)


def _put(db: sqlite3.Connection, note: _Note) -> None:
    """Make ``note`` the newest of its kind."""
    db.execute("DELETE FROM notes WHERE owner = ? AND name = ?", (note.owner, note.name))
    db.execute("INSERT INTO notes (owner, name, kind, sealed) VALUES (?, ?, ?, ?)", note)
    db.execute(_TOO_MANY_NOTES, (note.owner, note.kind, MOST[note.kind]))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _paired(model: str, text: str) -> bytes:
    return b"%d %b%b" % (len(model), _bytes(model), _bytes(text))


def _unpaired(content: bytes) -> tuple[str, str]:
    length, _, both = _text(content).partition(" ")
    return both[: int(length)], both[int(length) :]


def _folded(fold: Fold) -> bytes:
    segments = [(s.first_turn, s.last_turn, s.text, s.tokens, s.writer) for s in fold.segments]
    told = (fold.prefix, fold.reach, fold.entries, fold.turns, segments)
    # Not with escapes: of two lone surrogates they would make one character.
    return _bytes(json.dumps(told, ensure_ascii=False))


def _unfolded(content: bytes) -> Fold:
    prefix, reach, entries, turns, segments = json.loads(_text(content))
    return Fold(prefix, reach, entries, turns, tuple(Segment(*segment) for segment in segments))
