"""Disk space kept back for the moment when there is none left.

A full disk must not stop the outbox from being emptied: even marking a charge as delivered writes. So a file
of the size that SQLite's log grows to lies beside the outbox, and is thrown overboard when a write fails.
Until it can be laid again, new calls that cost money are refused: the space is for what is under way.
"""

import logging
import os
import sqlite3
import time
from pathlib import Path

SIZE = 5 << 20
"""Bytes: a log of a thousand pages, and a little for the file it is copied to."""
_AGAIN_EVERY_S = 5.0
_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
}

_log = logging.getLogger(__name__)


def is_full(error: BaseException) -> bool:
    """Return whether an error of SQLite's may be that the disk took no more."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) in _FULL


class Ballast:
    """The space kept back for the outbox at ``path``, shared by all processes that use it."""

    def __init__(self, path: Path) -> None:
        self._file = Path(f"{path}.ballast")
        self._again_at = 0.0
        self.laid = False
        """Whether the space is there."""

    def lay(self) -> None:
        """Take the space, if it is not taken. Does nothing if there is too little, or it was just tried."""
        if time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + _AGAIN_EVERY_S
        try:
            if self._file.exists() and self._file.stat().st_size == SIZE:
                self.laid = True
                return
            self.laid = False
            found = os.statvfs(self._file.parent)
            if found.f_bavail * found.f_frsize < 2 * SIZE:
                return
            descriptor = os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SIZE)
            finally:
                os.close(descriptor)
            self.laid = True
        except OSError:
            _log.debug("no space could be kept back for the outbox", exc_info=True)
            self._file.unlink(missing_ok=True)

    def drop(self) -> bool:
        """Give the space to whoever writes next; return whether there was any."""
        self.laid = False
        try:
            self._file.unlink()
        except OSError:
            return False
        _log.critical(
            "no space is left on the disk of %s: the last reserve is used so that charges can still be "
            "delivered. Make room there; calls that cost money are refused until then",
            self._file.with_suffix(""),
        )
        return True
