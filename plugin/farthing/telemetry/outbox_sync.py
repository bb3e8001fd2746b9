"""The fsync policy ``interval``: a thread that syncs the outbox's log a moment after it was written to."""

import logging
import os
import threading
import time
from pathlib import Path

_log = logging.getLogger(__name__)


class Syncer:
    """Syncs the log of the file at ``path`` within ``every_s`` seconds of each `dirty`."""

    def __init__(self, path: Path, every_s: float) -> None:
        # SQLite appends to the log alone, and syncs log and file itself when it copies one to the other.
        self._log_file = f"{path}-wal"
        self._every_s = every_s
        self._dirty = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="farthing-outbox-sync", daemon=True)
        self._thread.start()

    def dirty(self) -> None:
        """Say that something was written."""
        self._dirty.set()

    def close(self) -> None:
        """Sync what is left, and stop."""
        self._closed = True
        self._dirty.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closed:
            self._dirty.wait()
            deadline = time.monotonic() + self._every_s
            while not self._closed and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(left, 0.05))
            self._dirty.clear()
            try:
                self._sync()
            except OSError:
                _log.exception("the outbox's log %s could not be synced; tried again", self._log_file)
                self._dirty.set()

    def _sync(self) -> None:
        try:
            # Closing a descriptor of the file itself would drop SQLite's locks on it; on the log it has none.
            descriptor = os.open(self._log_file, os.O_RDWR)
        except FileNotFoundError:  # all of it is in the file, synced
            return
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
