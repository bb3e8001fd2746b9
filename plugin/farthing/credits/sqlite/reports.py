"""What is read from an SQLite credit file, apart from the steps of spending."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from farthing.credits.calendar import Moment
from farthing.credits.sqlite.accounts import COLUMNS, Book, new_state, rows_of, state_of, today_of
from farthing.credits.sqlite.holds import BATCH, Seen, session_left
from farthing.credits.store import (
    Act,
    Balance,
    CallNote,
    Payer,
    SettledCall,
    Spending,
    Standing,
    balance_of,
    shown_in_order,
)


@contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file once more, to read one snapshot of it beside the traffic."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)
    try:
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def standing(db: sqlite3.Connection, payer: Payer, now: Moment) -> Standing:
    """Return what a payer has; nobody becomes known by it."""
    states = {account: new_state(account) for account in payer.chain}
    states[payer.user_id].department = payer.account.department
    for row in rows_of(db, payer.chain):
        states[row[0]] = state_of(row)
        states[row[0]].advance(now)
    return Seen(payer, list(states.values()), session_left(db, payer.session_id)).standing


def balances(db: sqlite3.Connection, ids: Sequence[str] | None, now: Moment) -> list[Balance]:
    """Return accounts as they are at ``now``, from the root."""
    if ids is None:
        rows = db.execute(f"SELECT {COLUMNS} FROM accounts").fetchall()  # noqa: S608
    else:
        wanted = list(dict.fromkeys(ids))
        rows = [row for at in range(0, len(wanted), BATCH) for row in rows_of(db, wanted[at : at + BATCH])]
    found = []
    for row in rows:
        state = state_of(row)
        state.advance(now)
        found.append(balance_of(state))
    return shown_in_order(found)


def calls(db: sqlite3.Connection, user: str, limit: int) -> list[SettledCall]:
    """Return a user's latest settled calls."""
    rows = db.execute(
        "SELECT id, closed_ms, session_id, settled, overdraft, tier, model, grade, kind FROM holds"
        " WHERE state = 'settled' AND user = ? ORDER BY closed_ms DESC, id DESC LIMIT ?",
        (user, limit),
    )
    return [
        SettledCall(hold_id, at_ms, session_id, amount, overdraft, CallNote(*note))
        for hold_id, at_ms, session_id, amount, overdraft, *note in rows
    ]


def spending(db: sqlite3.Connection, account: str, first_day: str, last_day: str) -> list[Spending]:
    """Return an account's spending by day and tier."""
    found = db.execute(
        "SELECT day, tier, settled, overdraft, calls FROM spending"
        " WHERE account = ? AND day BETWEEN ? AND ? AND calls > 0",
        (account, first_day, last_day),
    )
    days = {(row[0], row[1]): Spending(*row) for row in found}
    for row in rows_of(db, [account]):
        day, tiers = today_of(row)
        for tier, sums in tiers.items() if first_day <= day <= last_day else ():
            past = days.get((day, tier), Spending(day, tier, 0, 0, 0))
            days[day, tier] = Spending(
                day, tier, past.settled + sums[0], past.overdraft + sums[1], past.calls + sums[2]
            )
    return [days[at] for at in sorted(days)]


def journal(db: sqlite3.Connection, account: str, limit: int) -> list[Act]:
    """Return the journal's latest entries."""
    where = "WHERE target = ?" if account else ""
    found = db.execute(
        f"SELECT at_ms, actor, action, target, amount, month, ref, reason FROM journal {where}"  # noqa: S608
        " ORDER BY id DESC LIMIT ?",
        (account, limit) if account else (limit,),
    )
    return [Act(*row) for row in found]


def catch_up(after: tuple[int, str], db: sqlite3.Connection, now: Moment) -> tuple[int, str] | None:
    """Bring the next accounts for which a month or a grant has ended to the present, and say where to go on.

    None: there are no more. Accounts stay due where a live hold still needs what is over.
    """
    found: list[tuple[int, str]] = db.execute(
        "SELECT due_ms, id FROM accounts WHERE due_ms IS NOT NULL AND due_ms <= ? AND (due_ms, id) > (?, ?)"
        " ORDER BY due_ms, id LIMIT ?",
        (now.ms, *after, BATCH),
    ).fetchall()
    catch_up_with(db, [account for _, account in found], now)
    return found[-1] if len(found) == BATCH else None


def catch_up_with(db: sqlite3.Connection, accounts: Sequence[str], now: Moment) -> None:
    """Bring known accounts to the present."""
    book = Book(db, now)
    book.load(row[0] for row in rows_of(db, accounts))
    book.save()
