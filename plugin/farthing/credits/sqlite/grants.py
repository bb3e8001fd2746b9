"""What accounts are given, in SQL. Each function is a part of one transaction and runs only there."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from farthing.credits.account import State
from farthing.credits.calendar import Moment
from farthing.credits.sqlite.accounts import CALENDAR, Book, rows_of
from farthing.credits.store import Balance, balance_of

_GIVE: Final = "INSERT OR REPLACE INTO grants (id, account, amount, expires_ms) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Given:
    """To which account something is given, whose it is shown to be, and who says so."""

    account: str
    department: str
    user: str
    actor: str
    reason: str = ""


def grant(
    db: sqlite3.Connection, grant_id: str, given: Given, amount: int, expires_ms: int | None, now: Moment
) -> Balance:
    """Set a grant; one that moves to another account is taken from the first."""
    book = Book(db, now)
    state = _named(book, given)
    book.record(given.actor, state.limit(now), given.reason)
    before = db.execute("SELECT account, amount, expires_ms FROM grants WHERE id = ?", (grant_id,)).fetchone()
    if before != (given.account, amount, expires_ms):
        change = amount
        if before is not None and before[0] == given.account:
            change = amount - before[1]
            if change < 0 and before[2] is not None and before[2] <= now.ms:
                change = 0  # what was left of it has expired: it must not be taken a second time
        elif before is not None:
            _take_back(book, (grant_id, *before), given, now)
        book.record(given.actor, state.grant(grant_id, change, expires_ms, now), given.reason)
        book.record(CALENDAR, state.advance(now))  # it may be over already
        db.execute(_GIVE, (grant_id, given.account, amount, expires_ms))
    book.save()
    return balance_of(state)


def revoke_grants(db: sqlite3.Connection, prefix: str, keep: frozenset[str], actor: str, now: Moment) -> None:
    """Take back the grants under ``prefix`` that are not in ``keep``."""
    book = Book(db, now)
    # Not LIKE: an id may hold % or _. Ids in order begin with the prefix until one does not.
    found = db.execute(
        "SELECT id, account, amount, expires_ms FROM grants WHERE id >= ? ORDER BY id", (prefix,)
    )
    revoked = []
    for grant_id, account, amount, expires_ms in found:
        if not grant_id.startswith(prefix):
            break
        if grant_id not in keep:
            revoked.append((grant_id, account, amount, expires_ms))
    for row in revoked:
        _take_back(book, row, Given(row[1], "", "", actor), now)
    db.executemany("DELETE FROM grants WHERE id = ?", [row[:1] for row in revoked])
    book.save()


def _take_back(book: Book, row: tuple[str, str, int, int | None], given: Given, now: Moment) -> None:
    grant_id, account, amount, expires_ms = row
    book.record(given.actor, book.change(account).grant(grant_id, -amount, expires_ms, now), given.reason)


def plan(
    db: sqlite3.Connection, given: Given, monthly: int | None, roll_over: int | None, now: Moment
) -> Balance:
    """Set a monthly allowance."""
    book = Book(db, now)
    state = _named(book, given)
    if (state.monthly, state.roll_over) != (monthly, roll_over):
        book.record(given.actor, state.plan(monthly, roll_over, now), given.reason)
    book.save()
    return balance_of(state)


def unlimit(db: sqlite3.Connection, account: str, now: Moment) -> None:
    """Lift an account's limit; its grants end with it."""
    if rows_of(db, [account]):
        book = Book(db, now)
        book.change(account).unlimit()
        db.execute("DELETE FROM grants WHERE account = ?", (account,))
        book.save()


def _named(book: Book, given: Given) -> State:
    state = book.change(given.account)
    kind = state.id.partition(":")[0]
    if kind in ("user", "key"):
        state.department = given.department or state.department
    if kind == "key":
        state.user = given.user or state.user
    return state
