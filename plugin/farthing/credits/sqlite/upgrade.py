"""Takes over credit files that an older Farthing wrote."""

import sqlite3

from farthing.credits.account import account_id
from farthing.credits.calendar import Calendar
from farthing.credits.sqlite.accounts import Book, pack, write_journal
from farthing.credits.sqlite.schema import TABLES
from farthing.credits.store import Act, Payer
from farthing.telemetry import Account
from farthing.telemetry.sqlite_file import create

_ASIDE = """
DROP INDEX holds_live;
ALTER TABLE accounts RENAME TO old_accounts;
ALTER TABLE grants RENAME TO old_grants;
ALTER TABLE holds RENAME TO old_holds
"""
_HOLDS = """
INSERT INTO holds (id, user, chain, session_id, amount, state, created_ms, expires_ms, closed_ms, settled,
    overdraft, day, tier, model, grade, kind)
SELECT id, user, chain_of(coalesce(department, ''), user), '', amount, state, created_ns / 1000000,
    expires_ns / 1000000, closed_ns / 1000000, old_holds.settled, overdraft,
    CASE state WHEN 'settled' THEN day_of(closed_ns / 1000000) END, '', '', '', ''
FROM old_holds LEFT JOIN old_accounts USING (user)
"""
_SPENDING = """
INSERT INTO spending (account, day, tier, settled, overdraft, calls)
SELECT value, day, '', sum(settled), sum(overdraft), count(*)
FROM holds, json_each(holds.chain) WHERE state = 'settled' GROUP BY value, day
"""
_SETTLED = "SELECT account, sum(settled), sum(overdraft) FROM spending GROUP BY account"
_HELD = """
SELECT value, sum(amount) FROM holds, json_each(holds.chain) WHERE state = 'held' GROUP BY value
"""
_AWAY = """
DROP TABLE old_accounts;
DROP TABLE old_grants;
DROP TABLE old_holds
"""


def from_version_1(db: sqlite3.Connection, calendar: Calendar) -> None:
    """Take over a file of schema 1, which knew users alone. Runs inside one transaction.

    Their grants become lots. What they held and settled counts for their department and the organisation,
    too, and is spending of the day on which it was settled.
    """
    for name, arguments, function in (
        ("chain_of", 2, lambda department, user: pack(Payer(Account("", user, department, "")).chain)),
        ("day_of", 1, lambda ms: calendar.at(ms).day),
    ):
        db.create_function(name, arguments, function)
    create(db, _ASIDE)
    create(db, TABLES)
    db.execute(_HOLDS)
    db.execute(_SPENDING)
    _accounts(db, calendar)
    create(db, _AWAY)


def _accounts(db: sqlite3.Connection, calendar: Calendar) -> None:
    book = Book(db, calendar.at(0))
    for user, department in db.execute("SELECT user, department FROM old_accounts"):
        payer = Payer(Account("", user, department, ""))
        book.open(payer, payer.chain)
    granted = db.execute("SELECT id, user, amount, updated_ns FROM old_grants ORDER BY updated_ns, id")
    for grant_id, user, amount, updated_ns in granted:
        moment = calendar.at(updated_ns // 1_000_000)
        account = account_id("user", user)
        lines = book.change(account).grant(grant_id, amount, None, moment)
        write_journal(
            db,
            [
                Act(moment.ms, "farthing.yaml", line.kind, account, line.amount, line.month, line.ref)
                for line in lines
            ],
        )
        db.execute("INSERT INTO grants (id, account, amount) VALUES (?, ?, ?)", (grant_id, account, amount))
    for account, settled, overdraft in db.execute(_SETTLED):
        book.change(account).settle(0, settled, overdraft)
    for account, held in db.execute(_HELD):
        book.change(account).held = held
    book.save()
