"""A circuit breaker: after a failure nobody asks until a probe has gone well."""

import time
from collections.abc import Callable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LATE_IN_A_ROW = 3
SETTLED_S = 10.0
"""Time without a failure after which the next pause is the first one again."""


class Breaker:
    """Open until the first probe has gone well. ``pause_s``: how long to wait before the next, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.open = True
        self.failures = 0
        self.pause_s = 0.0
        self._late = 0
        self._clock = clock
        self._closed_at = clock()

    def failed(self) -> None:
        """Open after a failed call. Many may fail of one cause: only the first counts for the pause."""
        self.failures += 1
        if self.open:
            self.pause_s = max(self.pause_s, FIRST_PAUSE_S)
        else:
            self.open = True
            settled = self._clock() - self._closed_at >= SETTLED_S
            self.pause_s = FIRST_PAUSE_S if settled else self._longer()

    def late(self) -> None:
        """Open if this is the last straw: one late answer may be this process's own doing, not Redis's."""
        self._late += 1
        if self._late >= LATE_IN_A_ROW:
            self.failed()
        else:
            self.failures += 1

    def answered(self) -> None:
        """A call went well."""
        self._late = 0

    def probe_failed(self) -> None:
        """Stay open, for longer."""
        self.failures += 1
        self.pause_s = self._longer()

    def succeeded(self) -> None:
        """Close after a probe that went well."""
        if self.open:
            self.open = False
            self._late = 0
            self._closed_at = self._clock()

    def restart(self) -> None:
        """Open, to be probed at once."""
        self.open, self.pause_s = True, 0.0

    def _longer(self) -> float:
        return min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self.pause_s))
