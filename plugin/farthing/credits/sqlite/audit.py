"""Recompute a credit file's running totals from its journal and holds, and tell where they differ."""

import sqlite3
from collections import Counter

from farthing.credits.sqlite.accounts import COLUMNS, state_of, today_of, unpack_chain
from farthing.credits.store import Discrepancy

_LINES = "SELECT target, action, amount FROM journal WHERE action IN ('grant', 'adjust', 'opening', 'expire')"
_HOLDS = """
SELECT chain, session_id, state, amount, settled, overdraft, day, tier FROM holds
WHERE state IN ('held', 'settled')
"""
_SPENDING = """
SELECT account, day, tier, settled, overdraft, calls, folded_settled, folded_overdraft, folded_calls
FROM spending
"""

# Summed in Python: its integers cannot overflow, so a damaged file is reported, not an error.
Kept = dict[tuple[str, str], int]
Day = tuple[str, str, str]
"""An account, a day and a tier."""
Sums = tuple[int, int, int]
"""What was settled there, how much of it was overdraft, and in how many calls."""


def audit(db: sqlite3.Connection) -> list[Discrepancy]:
    """Return what is wrong in a file: nothing, if it is sound. Raises sqlite3.Error."""
    kept, kept_days, wrong = _kept_totals(db)
    found: Counter[tuple[str, str]] = Counter()
    for account, action, amount in db.execute(_LINES):
        if action == "expire":
            found[account, "expired"] -= amount
        else:
            found[account, "granted"] += amount
    days: dict[Day, Sums] = {}
    for account, day, tier, *sums in db.execute(_SPENDING):
        _add(kept_days, (account, day, tier), *sums[:3])
        _add(days, (account, day, tier), *sums[3:])
        found[account, "settled"] += sums[3]
    for packed, session_id, state, amount, settled, overdraft, day, tier in db.execute(_HOLDS):
        for account in unpack_chain(packed):
            if state == "held":
                found[account, "held"] += amount
            else:
                found[account, "settled"] += settled
                _add(days, (account, day, tier), settled, overdraft, 1)
        if state == "held" and session_id:
            found[f"session:{session_id}", "session held"] += amount
    for name in kept.keys() | found.keys():
        if kept.get(name, 0 if name[1] == "session held" else None) != found[name]:
            wrong.append(Discrepancy(*name, kept.get(name), found[name]))
    for at in kept_days.keys() | days.keys():
        pairs = zip(kept_days.get(at, (0, 0, 0)), days.get(at, (0, 0, 0)), strict=True)
        wrong += [Discrepancy(at[0], "spending", has, should) for has, should in pairs if has != should][:1]
    return sorted(wrong, key=lambda one: (one.account, one.total))


def _add(days: dict[Day, Sums], at: Day, settled: int, overdraft: int, calls: int) -> None:
    before = days.get(at, (0, 0, 0))
    days[at] = (before[0] + settled, before[1] + overdraft, before[2] + calls)


def _kept_totals(db: sqlite3.Connection) -> tuple[Kept, dict[Day, Sums], list[Discrepancy]]:
    kept: Kept = {}
    days: dict[Day, Sums] = {}
    wrong: list[Discrepancy] = []
    for row in db.execute(f"SELECT {COLUMNS} FROM accounts"):  # noqa: S608
        state = state_of(row)
        for total in ("granted", "expired", "settled", "held"):
            kept[state.id, total] = getattr(state, total)
        lots = sum(lot.remaining for lot in state.lots)
        left = max(0, state.granted - state.expired - state.settled)
        if state.limited and lots != left:
            wrong.append(Discrepancy(state.id, "lots", lots, left))
        day, tiers = today_of(row)
        for tier, sums in tiers.items():
            _add(days, (state.id, day, tier), *sums)
    for session_id, held in db.execute("SELECT id, held FROM sessions"):
        kept[f"session:{session_id}", "session held"] = held
    return kept, days, wrong
