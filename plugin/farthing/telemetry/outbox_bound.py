"""How much of the disk the outbox may take, and what happens on the way there.

Charges are never turned away: a charge tells of money that is spent already. So the bound works on what
comes before them. From `ALARM_SHARE` of it on, delivered charges are dropped before their time, and if that
is not enough an alarm is raised. At the bound, calls that cost money are refused (if
``telemetry.on_outbox_full`` is deny); what is under way then still writes its charge. Free calls go on until
the file is a quarter larger than the bound: they are no money, but a full disk would lose everybody's. A disk
that is full all the same is like the bound: see outbox_ballast.
"""

import logging
import sqlite3
import time
from pathlib import Path
from typing import Literal

from farthing.telemetry import outbox_file, sqlite_file
from farthing.telemetry.outbox_ballast import Ballast

Room = Literal["enough", "full", "spent"]

ALARM_SHARE = 0.8
RESERVE_SHARE = 1.25
_EVERY_S = 0.25
_MOST_PRUNED = 1000

_log = logging.getLogger(__name__)


class Bound:
    """Watches the size of one outbox file. ``most_bytes`` 0: no bound."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most = path, most_bytes
        self.ballast = Ballast(path)
        self._room: Room = "enough"
        self.settled_before = 0.0
        """Charges appended before then (Unix seconds) are in the balances: once delivered, none is needed."""
        self._alarmed = False
        self._look_at = 0.0

    @property
    def room(self) -> Room:
        """``full``: at the bound, or the disk is; ``spent``: so is the reserve for free calls."""
        return "full" if self._room == "enough" and not self.ballast.laid else self._room

    def look(self, db: sqlite3.Connection) -> None:
        """Measure the file, at most every quarter of a second, and do what is due. Raises sqlite3.Error."""
        self.ballast.lay()
        if not self._most or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _EVERY_S
        used = outbox_file.used(db)
        if used >= self._most * ALARM_SHARE and self.settled_before:
            before = self.settled_before
            if sqlite_file.write(
                db, outbox_file.WAIT_S, lambda db: outbox_file.prune_early(db, before, _MOST_PRUNED)
            ):
                used = outbox_file.used(db)
                self._look_at = 0.0  # there may be more
        self._judge(used)

    def _judge(self, used: int) -> None:
        before = self._room
        self._room = (
            "enough" if used < self._most else "full" if used < self._most * RESERVE_SHARE else "spent"
        )
        share = 100 * used // self._most
        if self._room != before and self._room != "enough":
            _log.critical(
                "the outbox %s is full (%d %% of telemetry.outbox_max_bytes): see that %s",
                self._path,
                share,
                "telemetry.otlp_endpoint takes charges, or raise the bound",
            )
        elif self._room != before:
            _log.warning("the outbox %s has room again (%d %%)", self._path, share)
        alarmed = used >= self._most * ALARM_SHARE
        if alarmed and not self._alarmed and self._room == "enough":
            _log.error(
                "the outbox %s holds %d %% of telemetry.outbox_max_bytes in charges that wait, or that were "
                "delivered but are not settled: at 100 %% calls that cost money may be refused",
                self._path,
                share,
            )
        # Quiet until it has come down well below, so that a size that sways does not fill the log.
        self._alarmed = alarmed or (self._alarmed and used >= self._most * ALARM_SHARE * 0.9)
