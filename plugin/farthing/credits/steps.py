"""The steps of two-phase spending in SQL. Each runs inside one transaction and only there."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from farthing.credits.store import Balance
from farthing.telemetry import Account

_GRANT: Final = """
INSERT INTO grants (id, user, amount, updated_ns) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE
SET user = excluded.user, amount = excluded.amount, updated_ns = excluded.updated_ns
"""
_SEEN: Final = """
INSERT INTO accounts (user, department) VALUES (?, ?)
ON CONFLICT (user) DO UPDATE SET department = excluded.department WHERE department <> excluded.department
"""
_HOLD: Final = """
INSERT INTO holds (id, user, amount, state, created_ns, expires_ns) VALUES (?, ?, ?, 'held', ?, ?)
"""
_SETTLE: Final = """
INSERT INTO holds (id, user, amount, state, created_ns, expires_ns, closed_ns, settled, overdraft)
VALUES (?, ?, 0, 'settled', ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE
SET state = 'settled', closed_ns = excluded.closed_ns, settled = excluded.settled,
    overdraft = excluded.overdraft
"""


def grant(db: sqlite3.Connection, grant_id: str, account: Account, amount: int, now_ns: int) -> None:
    """Set a grant; one that moves to another user is taken from the first."""
    _see(db, account)
    before = db.execute("SELECT user, amount FROM grants WHERE id = ?", (grant_id,)).fetchone()
    if before == (account.user, amount):
        return
    if before is not None:
        db.execute("UPDATE accounts SET granted = granted - ? WHERE user = ?", (before[1], before[0]))
    db.execute(_GRANT, (grant_id, account.user, amount, now_ns))
    db.execute("UPDATE accounts SET granted = granted + ? WHERE user = ?", (amount, account.user))


def revoke_grants(db: sqlite3.Connection, prefix: str, keep: frozenset[str]) -> None:
    """Delete the grants under ``prefix`` that are not in ``keep``."""
    # substr, not LIKE: an id may hold % or _.
    found = db.execute(
        "SELECT id, user, amount FROM grants WHERE substr(id, 1, ?) = ?", (len(prefix), prefix)
    ).fetchall()
    for grant_id, user, amount in found:
        if grant_id not in keep:
            db.execute("DELETE FROM grants WHERE id = ?", (grant_id,))
            db.execute("UPDATE accounts SET granted = granted - ? WHERE user = ?", (amount, user))


def hold(
    db: sqlite3.Connection, hold_id: str, account: Account, amount: int, now_ns: int, expires_ns: int
) -> tuple[bool, Balance]:
    """Return whether the hold stands (now or since before), and the balance after it."""
    known = db.execute("SELECT user FROM holds WHERE id = ?", (hold_id,)).fetchone()
    _see(db, account)
    expire(db, account.user, now_ns)
    before = balance(db, account)
    if known is not None:
        _same_user(hold_id, known[0], account)
        return True, before
    if amount > 0 and amount > before.available:
        return False, before
    db.execute(_HOLD, (hold_id, account.user, amount, now_ns, expires_ns))
    db.execute("UPDATE accounts SET held = held + ? WHERE user = ?", (amount, account.user))
    return True, Balance(before.user, before.department, before.granted, before.settled, before.held + amount)


def settle(db: sqlite3.Connection, hold_id: str, account: Account, amount: int, now_ns: int) -> Balance:
    """Replace a hold, in whatever state it is but settled, by what was really spent."""
    _see(db, account)
    expire(db, account.user, now_ns)
    known = db.execute("SELECT user, amount, state FROM holds WHERE id = ?", (hold_id,)).fetchone()
    if known is not None:
        _same_user(hold_id, known[0], account)
    if known is None or known[2] != "settled":
        reserved = known[1] if known is not None and known[2] == "held" else 0
        overdraft = max(0, amount - reserved)
        db.execute(_SETTLE, (hold_id, account.user, now_ns, now_ns, now_ns, amount, overdraft))
        db.execute(
            "UPDATE accounts SET held = held - ?, settled = settled + ? WHERE user = ?",
            (reserved, amount, account.user),
        )
    return balance(db, account)


def release(db: sqlite3.Connection, hold_id: str, now_ns: int) -> None:
    """End a live hold; any other is left as it is."""
    known = db.execute("SELECT user, amount, state FROM holds WHERE id = ?", (hold_id,)).fetchone()
    if known is not None and known[2] == "held":
        db.execute("UPDATE holds SET state = 'released', closed_ns = ? WHERE id = ?", (now_ns, hold_id))
        db.execute("UPDATE accounts SET held = held - ? WHERE user = ?", (known[1], known[0]))


_OVERDUE: Final = "FROM holds WHERE state = 'held' AND user = ? AND expires_ns <= ?"
_OVERDUE_OF_ANY: Final = "FROM holds WHERE state = 'held' AND expires_ns <= ?"


def has_overdue(db: sqlite3.Connection, user: str | None, now_ns: int) -> bool:
    """Say whether a hold of ``user`` (None: of anybody) has run out and is not yet expired."""
    if user is None:
        return db.execute(f"SELECT 1 {_OVERDUE_OF_ANY} LIMIT 1", (now_ns,)).fetchone() is not None
    return db.execute(f"SELECT 1 {_OVERDUE} LIMIT 1", (user, now_ns)).fetchone() is not None


def expire(db: sqlite3.Connection, user: str | None, now_ns: int) -> None:
    """Give back the holds of ``user`` (None: of everybody) that have run out."""
    if user is None:
        overdue = db.execute(f"SELECT id, user, amount {_OVERDUE_OF_ANY}", (now_ns,)).fetchall()
    else:
        overdue = db.execute(f"SELECT id, user, amount {_OVERDUE}", (user, now_ns)).fetchall()
    for hold_id, holder, amount in overdue:
        db.execute("UPDATE holds SET state = 'expired', closed_ns = ? WHERE id = ?", (now_ns, hold_id))
        db.execute("UPDATE accounts SET held = held - ? WHERE user = ?", (amount, holder))


def balance(db: sqlite3.Connection, account: Account) -> Balance:
    """Read one balance; an unknown user has nothing."""
    row = db.execute(
        "SELECT user, department, granted, settled, held FROM accounts WHERE user = ?", (account.user,)
    ).fetchone()
    return Balance(*row) if row else Balance(account.user, account.department, 0, 0, 0)


def balances(db: sqlite3.Connection) -> list[Balance]:
    """Read every balance, sorted by department and user."""
    rows = db.execute(
        "SELECT user, department, granted, settled, held FROM accounts ORDER BY department, user"
    )
    return [Balance(*row) for row in rows]


def _see(db: sqlite3.Connection, account: Account) -> None:
    db.execute(_SEEN, (account.user, account.department))


def _same_user(hold_id: str, holder: str, account: Account) -> None:
    if holder != account.user:
        raise ValueError(f"hold {hold_id!r} belongs to user {holder!r}, not {account.user!r}")


def unsettled(db: sqlite3.Connection, hold_ids: Sequence[str]) -> set[str]:
    """Return those ids that no settlement is known for."""
    found = "SELECT 1 FROM holds WHERE id = ? AND state = 'settled'"
    return {hold_id for hold_id in hold_ids if db.execute(found, (hold_id,)).fetchone() is None}
