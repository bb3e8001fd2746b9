"""Who may open an outbox file, and what happens when it is damaged while several processes use it.

Beside the file lies a lock, ``<file>.lock``. Whoever has the outbox open holds it shared; whoever is alone
may hold it exclusively and then looks the file over, and mends it. A process that meets damage later leaves
a mark, ``<file>.damaged``: everybody who sees it lets go of the file until somebody has mended it.
"""

import fcntl
import os
import sqlite3
import time
from pathlib import Path

from farthing.telemetry import outbox_salvage
from farthing.telemetry.outbox_salvage import is_damage

_LET_GO_S = 10.0
_PAUSE_S = 0.02


class OutboxHome:
    """One process's claim on the outbox file at ``path``. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = Path(f"{path}.damaged")
        self._lock: int | None = None

    def enter(self) -> None:
        """Claim the file, mended if need be. Raises sqlite3.Error, OSError or ValueError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + _LET_GO_S
        while not self._enter(self._lock):
            if time.monotonic() > deadline:
                self.leave()
                raise sqlite3.OperationalError(
                    "the file is damaged, and other processes have it open; stop them, and it is mended "
                    "at the next start"
                )
            time.sleep(_PAUSE_S)

    def _enter(self, lock: int) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if self.marked:
                return False
            # Whoever holds it alone is mending, or about to share it.
            fcntl.flock(lock, fcntl.LOCK_SH)
            if self.marked:
                fcntl.flock(lock, fcntl.LOCK_UN)
                return False
            return True
        try:
            interrupted = Path(f"{self._path}.new").exists() and not self._path.exists()
            if self.marked or interrupted or outbox_salvage.damage(self._path):
                outbox_salvage.salvage(self._path)
            self._mark.unlink(missing_ok=True)
        except BaseException:
            self.leave()
            raise
        fcntl.flock(lock, fcntl.LOCK_SH)
        return True

    @property
    def marked(self) -> bool:
        """Whether somebody found the file damaged: close it, `leave`, and `enter` again."""
        return self._mark.exists()

    def mark(self) -> None:
        """Tell everybody that the file is damaged."""
        self._mark.touch()

    def leave(self) -> None:
        """Give the claim back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


__all__ = ["OutboxHome", "is_damage"]
