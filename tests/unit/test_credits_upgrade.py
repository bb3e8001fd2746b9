"""A credit file that an older Farthing wrote is taken over with all its money."""

import sqlite3

import pytest

from farthing.credits import StoreError
from farthing.credits.calendar import Calendar
from farthing.credits.sqlite import SQLiteCreditStore
from farthing.credits.store import Act, CallNote, SettledCall, Spending
from tests.unit.credit_backends import payer

ANA, BEN = payer("ana"), payer("ben", "sales")
DAY = 86_400
EVE = 1_800_050_000
"""2027-01-15, 21:53 UTC: in Auckland the day after."""

VERSION_1 = """
CREATE TABLE accounts (
    user TEXT PRIMARY KEY,
    department TEXT NOT NULL,
    granted INTEGER NOT NULL DEFAULT 0 CHECK (typeof(granted) = 'integer' AND granted >= 0),
    settled INTEGER NOT NULL DEFAULT 0 CHECK (typeof(settled) = 'integer' AND settled >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (typeof(held) = 'integer' AND held >= 0)
) WITHOUT ROWID;
CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= 0),
    updated_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    closed_ns INTEGER,
    settled INTEGER CHECK (typeof(settled) IN ('integer', 'null') AND settled >= 0),
    overdraft INTEGER CHECK (typeof(overdraft) IN ('integer', 'null') AND overdraft >= 0),
    CHECK ((state = 'held') = (closed_ns IS NULL)),
    CHECK ((state = 'settled') = (settled IS NOT NULL AND overdraft IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX holds_live ON holds (user, expires_ns) WHERE state = 'held';
PRAGMA user_version = 1;
"""


def ns(seconds: int) -> int:
    return (EVE + seconds) * 10**9


@pytest.fixture
def path(tmp_path):
    """What version 1 wrote: ana has spent 120 of 1500 and holds 200; ben has spent more than he had."""
    path = tmp_path / "credits.db"
    db = sqlite3.connect(path)
    db.executescript(VERSION_1)
    db.executemany(
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?)",
        [("ana", "research", 1500, 120, 200), ("ben", "sales", 50, 70, 0), ("new", "", 0, 0, 0)],
    )
    db.executemany(
        "INSERT INTO grants VALUES (?, ?, ?, ?)",
        [("first", "ana", 1000, ns(0)), ("second", "ana", 500, ns(1)), ("his", "ben", 50, ns(2))],
    )
    db.executemany(
        "INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            ("over", "ana", 100, "settled", ns(0), ns(60), ns(5), 120, 20),
            ("live", "ana", 200, "held", ns(DAY), ns(DAY + 3600), None, None, None),
            ("late", "ben", 0, "settled", ns(DAY), ns(DAY), ns(DAY), 70, 70),
            ("gone", "ben", 10, "released", ns(DAY), ns(DAY + 60), ns(DAY + 1), None, None),
            ("lost", "ben", 10, "expired", ns(0), ns(60), ns(60), None, None),
        ],
    )
    db.commit()
    db.close()
    return path


@pytest.fixture
async def store(path):
    opened = SQLiteCreditStore(path, calendar=Calendar("Pacific/Auckland"), clock=lambda: EVE + DAY + 100)
    yield opened
    assert await opened.verify() == []
    await opened.close()


async def test_every_balance_is_what_it_was_and_counts_up_the_tree(store):
    found = {
        one.account: (one.limited, one.granted, one.settled, one.held, one.overdraft)
        for one in await store.balances()
    }
    assert found == {
        "organisation:": (False, 0, 190, 200, 90),
        "department:": (False, 0, 0, 0, 0),
        "department:research": (False, 0, 120, 200, 20),
        "department:sales": (False, 0, 70, 0, 70),
        "user:ana": (True, 1500, 120, 200, 20),
        "user:ben": (True, 50, 70, 0, 70),
        "user:new": (True, 0, 0, 0, 0),
    }


async def test_what_was_given_and_spent_is_told_by_day(store):
    assert await store.journal("user:ana") == [
        Act((EVE + 1) * 1000, "farthing.yaml", "grant", "user:ana", 500, "2027-01", "second"),
        Act(EVE * 1000, "farthing.yaml", "grant", "user:ana", 1000, "2027-01", "first"),
    ]
    assert await store.spending("organisation:", "2027-01-01", "2027-01-31") == [
        Spending("2027-01-16", "", 120, 20, 1),
        Spending("2027-01-17", "", 70, 70, 1),
    ]
    assert await store.calls("ana") == [SettledCall("over", (EVE + 5) * 1000, "", 120, 20, CallNote())]


async def test_holds_and_grants_go_on(store):
    await store.settle("over", ANA, 999)  # settled before
    settled = await store.settle("live", ANA, 150)
    assert (settled.overdraft, settled.standing.available) == (0, 1230)
    late = await store.settle("lost", BEN, 5)
    assert (late.overdraft, late.standing.available) == (5, -25)
    await store.revoke_grants("", {"first"})
    available = {one.account: one.available for one in await store.balances() if one.kind == "user"}
    assert available == {"user:ana": 730, "user:ben": -75, "user:new": 0}


async def test_it_is_taken_over_once_and_never_half(path):
    db = sqlite3.connect(path)
    db.execute("UPDATE holds SET settled = 9223372036854775807 WHERE id = 'over'")
    db.commit()
    with pytest.raises(StoreError, match="overflow"):  # the organisation's sum
        SQLiteCreditStore(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.execute("UPDATE holds SET settled = 120 WHERE id = 'over'")
    db.commit()
    for _ in range(2):
        store = SQLiteCreditStore(path)
        assert (await store.balances(["organisation:"]))[0].settled == 190
        await store.close()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert not any(name.startswith("old_") for name in tables)
    db.close()
