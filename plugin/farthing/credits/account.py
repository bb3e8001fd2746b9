"""One account of the tree and the arithmetic of its money. Pure: a store loads it, changes it and writes it.

What an account was granted is kept as *lots*. Spending is drawn from the lot that expires first; a monthly
allowance is a lot that expires with its month, but for what rolls over. An account that is not limited has
no lots: its spending is only counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from farthing.credits.calendar import Moment, next_month

AccountKind = Literal["organisation", "department", "user", "key"]
LineKind = Literal["grant", "adjust", "expire", "opening"]

ORGANISATION = "organisation:"
"""The id of the account at the root of the tree."""
MONTHLY = "monthly"
"""The id of the lot that holds what is left of the monthly allowance."""
OPENING = "opening"
"""The id of the lot that covers what was held when an account got its limit."""
_NEVER = 2**62


def account_id(kind: AccountKind, name: str = "") -> str:
    """Return an account's id, such as ``user:ada``."""
    return f"{kind}:{name}"


@dataclass(slots=True)
class Lot:
    """What is left of one grant, in nano-dollars. ``expires_ms`` (Unix) is None for ever."""

    grant_id: str
    remaining: int
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One change of what an account was given, in nano-dollars: negative where it was taken back or expired.

    ``opening`` is granted when an account gets a limit: what it had spent before, so that it starts at zero.
    ``month`` is the month it counts in, as in 2026-11; ``ref`` is the grant's id, or ``monthly``.
    """

    account: str
    kind: LineKind
    amount: int
    month: str
    ref: str


@dataclass(frozen=True, slots=True)
class Crossing:
    """An account's spending has reached a soft threshold (per cent), for the first time in its period.

    ``spent`` and ``total``, what it may spend in the period altogether, are nano-dollars.
    """

    account: str
    threshold: int
    spent: int
    total: int


@dataclass(slots=True)
class State:
    """An account as a store keeps it. Amounts are nano-dollars, times Unix milliseconds.

    Always, where it is limited: ``sum of lots = max(0, granted - expired - settled)``.
    """

    id: str
    department: str = ""
    """The department of a user or a key; empty for the others."""
    user: str = ""
    """The user of a key; empty for the others."""
    limited: bool = False
    granted: int = 0
    expired: int = 0
    settled: int = 0
    held: int = 0
    overdraft: int = 0
    """The part of ``settled`` that no live hold covered."""
    monthly: int | None = None
    """The monthly allowance; None: none."""
    roll_over: int | None = 0
    """The most of the allowance that outlasts its month; None: all of it."""
    month: str = ""
    """The month of the last allowance."""
    base: int = 0
    """``settled`` at the start of the period that thresholds look at: the month's, or ever."""
    warned: int = 0
    """The highest threshold (per cent) told of in this period."""
    due_ms: int | None = None
    """When something expires next; None if nothing does."""
    lots: list[Lot] = field(default_factory=list)
    """In the order in which they are spent."""

    @property
    def available(self) -> int:
        """What a new hold may take, where the account is limited."""
        return self.granted - self.expired - self.settled - self.held

    # Time

    def advance(self, now: Moment) -> list[Line]:
        """Let expire what is over and begin the months that have begun; return what changed.

        Money that live holds need, as nothing else can pay them, stays until they have ended, in a lot that
        is over, and is due again at every step until then. A clock that was set back begins no month twice.
        """
        if self.due_ms is None or now.ms < self.due_ms:
            return []
        lines: list[Line] = []
        while self.monthly is not None and self.month < now.month:
            lot = self._lot(MONTHLY, now.month_ends_ms)
            kept = lot.remaining if self.roll_over is None else min(lot.remaining, self.roll_over)
            lines += self._expire(lot, lot.remaining - kept, self.month)
            if lot.remaining > kept:
                self.lots.append(Lot(f"{MONTHLY}:{self.month}", lot.remaining - kept, now.ms))
                lot.remaining = kept
            self.month = next_month(self.month)
            self.base, self.warned = self.settled, 0
            lines += self._give(lot, self.monthly, "grant", self.month)
        for lot in self.lots:
            # The allowance ends with its month, above; what is left of one that was ended is as any grant.
            planned = lot.grant_id == MONTHLY and self.monthly is not None
            if not planned and lot.expires_ms is not None and lot.expires_ms <= now.ms:
                lines += self._expire(lot, lot.remaining, now.month)
        self._tidy(now)
        return lines

    def _expire(self, lot: Lot, wanted: int, month: str) -> list[Line]:
        gone = min(wanted, max(0, self.available))
        lot.remaining -= gone
        self.expired += gone
        return [Line(self.id, "expire", -gone, month, lot.grant_id)] if gone else []

    def _give(self, lot: Lot, amount: int, kind: LineKind, month: str) -> list[Line]:
        debt = max(0, self.expired + self.settled - self.granted)
        lot.remaining += max(0, amount - debt)
        self.granted += amount
        return [Line(self.id, kind, amount, month, lot.grant_id)] if amount else []

    def _withdraw(self, lot: Lot, amount: int, month: str) -> list[Line]:
        """Take ``amount`` back: from its own lot first, then from the others."""
        self.granted -= amount
        left = amount
        for source in [lot, *(other for other in self.lots if other is not lot)]:
            taken = min(source.remaining, left)
            source.remaining -= taken
            left -= taken
        return [Line(self.id, "adjust", -amount, month, lot.grant_id)] if amount else []

    def _lot(self, grant_id: str, expires_ms: int | None) -> Lot:
        """Return the lot of a grant, a new one if there is none left, with its expiry as it is now."""
        lot = next((lot for lot in self.lots if lot.grant_id == grant_id), None)
        if lot is None:
            lot = Lot(grant_id, 0)
            self.lots.append(lot)
        lot.expires_ms = expires_ms
        return lot

    def _tidy(self, now: Moment) -> None:
        self.lots = sorted(
            (lot for lot in self.lots if lot.remaining),
            key=lambda lot: (_NEVER if lot.expires_ms is None else lot.expires_ms, lot.grant_id),
        )
        ends = [lot.expires_ms for lot in self.lots if lot.expires_ms is not None]
        if self.monthly is not None:
            ends.append(now.month_ends_ms)
        self.due_ms = min(ends, default=None)

    # What it is given. Each after `advance`.

    def limit(self, now: Moment) -> list[Line]:
        """Make the account limited, with nothing available: what it spent before counts no more."""
        if self.limited:
            return []
        self.limited = True
        opening = self.expired + self.settled + self.held - self.granted
        self.granted += opening
        self.base = self.settled
        if self.held:  # for what is under way: what it does not use is nobody's
            self.lots.append(Lot(OPENING, self.held, now.ms))
        self._tidy(now)
        return [Line(self.id, "opening", opening, now.month, OPENING)] if opening else []

    def unlimit(self) -> None:
        """Let the account spend without a limit: its spending is only counted."""
        self.limited, self.monthly, self.due_ms, self.lots = False, None, None, []

    def plan(self, monthly: int | None, roll_over: int | None, now: Moment) -> list[Line]:
        """Set the monthly allowance, which limits the account.

        A change counts for this whole month, by its difference; None ends it, as if it were lowered to
        nothing.
        """
        lines = self.limit(now) if monthly is not None else []
        given = self.monthly or 0
        lot = self._lot(MONTHLY, now.month_ends_ms)
        if monthly is not None and self.monthly is None:
            self.month, self.base, self.warned = max(self.month, now.month), self.settled, 0
        self.monthly, self.roll_over = monthly, roll_over
        change = (monthly or 0) - given
        if change > 0:
            lines += self._give(lot, change, "adjust" if given else "grant", now.month)
        else:
            lines += self._withdraw(lot, -change, now.month)
        self._changed(now)
        return lines

    def grant(self, grant_id: str, change: int, expires_ms: int | None, now: Moment) -> list[Line]:
        """Add ``change`` to a grant: a new one, or a change of one that was given (negative: lowered).

        Of a grant that is over nothing is taken back: what was left of it has expired, or is about to.
        Raises ValueError for an id that lots of the account itself have.
        """
        if grant_id.partition(":")[0] in (MONTHLY, OPENING):
            raise ValueError(
                f"grant id {grant_id!r} is taken: {MONTHLY!r} and {OPENING!r} are the account's own"
            )
        lot = self._lot(grant_id, expires_ms)
        if expires_ms is not None and expires_ms <= now.ms:
            change = max(change, 0)
        if change >= 0:
            lines = self._give(lot, change, "grant", now.month)
        else:
            lines = self._withdraw(lot, -change, now.month)
        self._changed(now)
        return lines

    def _changed(self, now: Moment) -> None:
        self._tidy(now)
        spent, total = self._period()
        self.warned = min(self.warned, spent * 100 // total) if total else 0

    # Spending. Each after `advance`.

    def fits(self, amount: int) -> bool:
        """Return whether a hold of ``amount`` may be taken; nothing always fits."""
        return amount == 0 or not self.limited or amount <= self.available

    def settle(self, reserved: int, amount: int, overdraft: int) -> None:
        """End a hold of ``reserved`` (0 if it was not live) that cost ``amount``."""
        self.held -= reserved
        self.settled += amount
        self.overdraft += overdraft
        for lot in self.lots:
            taken = min(lot.remaining, amount)
            lot.remaining -= taken
            amount -= taken
            if not amount:
                break

    def crossed(self, thresholds: Sequence[int]) -> list[Crossing]:
        """Return the highest threshold that is newly reached, if any; it is told of once."""
        if not self.limited:
            return []
        spent, total = self._period()
        reached = [
            mark for mark in thresholds if mark > self.warned and total and spent * 100 >= mark * total
        ]
        if not reached:
            return []
        self.warned = max(reached)
        return [Crossing(self.id, self.warned, spent, total)]

    def _period(self) -> tuple[int, int]:
        """Return what was spent in this period, and that with what is left."""
        spent = self.settled - self.base
        return spent, spent + max(0, self.granted - self.expired - self.settled)
