"""The accounts and the journal of an SQLite credit file: loaded once a step, written back where changed.

What an account spent on its latest day is kept in its own row, and moves to the table of spending when the
next day begins: a settlement then writes one page for each account, not two.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from farthing.credits.account import Crossing, Line, Lot, State
from farthing.credits.calendar import Moment
from farthing.credits.store import Act, Payer

CALENDAR: Final = "calendar"
"""Who acts when a month begins or a grant expires."""

COLUMNS: Final = (
    "id, department, user, limited, granted, expired, settled, held, overdraft, monthly, roll_over, month,"
    " base, warned, due_ms, lots, day, today"
)
_LOTS, _DAY, _TODAY = 15, 16, 17

_SAVE: Final = f"INSERT OR REPLACE INTO accounts ({COLUMNS}) VALUES ({', '.join('?' * 18)})"  # noqa: S608
_SAVE_SPENT: Final = (
    "UPDATE accounts SET settled = ?, held = ?, overdraft = ?, warned = ?, lots = ?, day = ?, today = ?"
    " WHERE id = ?"
)
_SAVE_HELD: Final = "UPDATE accounts SET held = ? WHERE id = ?"
_SPEND: Final = """
INSERT INTO spending (account, day, tier, settled, overdraft, calls) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (account, day, tier) DO UPDATE
SET settled = settled + excluded.settled, overdraft = overdraft + excluded.overdraft,
    calls = calls + excluded.calls
"""
_JOURNAL: Final = (
    "INSERT INTO journal (at_ms, actor, action, target, amount, month, ref, reason)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

Row = tuple[Any, ...]
Tiers = dict[str, list[int]]
"""By tier: what was settled, how much of it was overdraft, and in how many calls."""

pack = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON as it is kept in columns."""
unpack = json.JSONDecoder().decode


def unpack_chain(text: str) -> list[str]:
    """Return the accounts that a hold is held on; none for one that never was."""
    return unpack(text) if text else []


def state_of(row: Row) -> State:
    """Return the account that a row of `COLUMNS` holds."""
    state = State(*row[:_LOTS])
    state.limited = bool(row[3])
    if row[_LOTS]:
        state.lots = [Lot(*lot) for lot in unpack(row[_LOTS])]
    return state


def today_of(row: Row) -> tuple[str, Tiers]:
    """Return the latest day on which the account of a row of `COLUMNS` spent, and what it spent then."""
    return row[_DAY], unpack(row[_TODAY]) if row[_TODAY] else {}


def new_state(account: str) -> State:
    """Return an account that nobody has named before: a user is limited from the start."""
    return State(account, limited=account.startswith("user:"))


def rows_of(db: sqlite3.Connection, ids: Sequence[str]) -> list[Row]:
    """Return the known ones of these accounts, as rows of `COLUMNS`."""
    return db.execute(_find(len(ids)), ids).fetchall()


@lru_cache
def _find(count: int) -> str:
    return f"SELECT {COLUMNS} FROM accounts WHERE id IN ({', '.join('?' * count)})"  # noqa: S608


class Book:
    """The accounts that one step needs, as they are at ``now``.

    Change an account by `hold` and `settle`, or by what `change` returns; then `save`.
    """

    def __init__(self, db: sqlite3.Connection, now: Moment) -> None:
        self._db, self._now = db, now
        self._states: dict[str, State] = {}
        self._days: dict[str, tuple[str, str]] = {}
        self._held: set[str] = set()
        self._spent: set[str] = set()
        self._changed: set[str] = set()

    def __getitem__(self, account: str) -> State:
        return self._states[account]

    def load(self, ids: Iterable[str]) -> None:
        """Make accounts known and bring them to the present."""
        wanted = [account for account in ids if account not in self._states]
        if not wanted:
            return
        rows = rows_of(self._db, wanted)
        for row in rows:
            account = row[0]
            self._states[account] = state = state_of(row)
            self._days[account] = row[_DAY:]
            if state.due_ms is not None and state.due_ms <= self._now.ms:
                self._changed.add(account)
                self.record(CALENDAR, state.advance(self._now))
        if len(rows) < len(wanted):
            for account in wanted:
                if account not in self._states:
                    self._states[account] = new_state(account)
                    self._days[account] = ("", "")
                    self._changed.add(account)

    def open(self, payer: Payer, chain: Sequence[str]) -> list[State]:
        """Load a payer's chain and return it; its user and key are shown under the department given last."""
        self.load(chain)
        states = [self._states[account] for account in chain]
        department, user = payer.account.department, payer.account.user
        for state, owner in zip(states[2:], ("", user), strict=False):
            if state.department != department or state.user != owner:
                state.department, state.user = department, owner
                self._changed.add(state.id)
        return states

    def change(self, account: str) -> State:
        """Load an account and return it, to be changed in any way."""
        self.load([account])
        self._changed.add(account)
        return self._states[account]

    def hold(self, accounts: Iterable[str], amount: int) -> None:
        """Reserve ``amount`` on loaded accounts."""
        for account in accounts:
            self._states[account].held += amount
            self._held.add(account)

    def settle(self, accounts: Iterable[str], reserved: int, amount: int, overdraft: int, tier: str) -> None:
        """End a hold of ``reserved`` on loaded accounts that cost ``amount``."""
        for account in accounts:
            self._states[account].settle(reserved, amount, overdraft)
            self._spend(account, tier, amount, overdraft)
            self._spent.add(account)

    def _spend(self, account: str, tier: str, amount: int, overdraft: int) -> None:
        day, text = self._days[account]
        tiers: Tiers = unpack(text) if text else {}
        if day != self._now.day:
            if tiers:
                self._db.executemany(_SPEND, [(account, day, name, *sums) for name, sums in tiers.items()])
            tiers = {}
        settled, of_it, calls = tiers.get(tier, (0, 0, 0))
        tiers[tier] = [settled + amount, of_it + overdraft, calls + 1]
        self._days[account] = (self._now.day, pack(tiers))

    def crossed(self, accounts: Iterable[str], thresholds: Sequence[int]) -> tuple[Crossing, ...]:
        """Return the thresholds that accounts just settled have reached."""
        return tuple(one for account in accounts for one in self._states[account].crossed(thresholds))

    def record(self, actor: str, lines: Sequence[Line], reason: str = "") -> None:
        """Enter what an account was given or lost into the journal."""
        at_ms = self._now.ms
        write_journal(
            self._db,
            [
                Act(at_ms, actor, one.kind, one.account, one.amount, one.month, one.ref, reason)
                for one in lines
            ],
        )

    def save(self) -> None:
        """Write back what has changed, and no more of it than that."""
        states, days = self._states, self._days
        if self._changed:
            self._db.executemany(_SAVE, [self._row(states[account]) for account in self._changed])
        if spent := self._spent - self._changed:
            self._db.executemany(
                _SAVE_SPENT,
                [
                    (
                        state.settled,
                        state.held,
                        state.overdraft,
                        state.warned,
                        _lots(state),
                        *days[state.id],
                        state.id,
                    )
                    for state in map(states.__getitem__, spent)
                ],
            )
        if held := self._held - self._changed - self._spent:
            self._db.executemany(_SAVE_HELD, [(states[account].held, account) for account in held])

    def _row(self, state: State) -> Row:
        return (
            state.id,
            state.department,
            state.user,
            state.limited,
            state.granted,
            state.expired,
            state.settled,
            state.held,
            state.overdraft,
            state.monthly,
            state.roll_over,
            state.month,
            state.base,
            state.warned,
            state.due_ms,
            _lots(state),
            *self._days[state.id],
        )


def _lots(state: State) -> str:
    if not state.lots:
        return ""
    return pack([(lot.grant_id, lot.remaining, lot.expires_ms) for lot in state.lots])


def write_journal(db: sqlite3.Connection, acts: Sequence[Act]) -> None:
    """Append entries to the journal."""
    if acts:
        db.executemany(
            _JOURNAL,
            [
                (act.at_ms, act.actor, act.action, act.target, act.amount, act.month, act.ref, act.reason)
                for act in acts
            ],
        )
