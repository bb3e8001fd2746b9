"""What the scripts answer, as values: Redis returns bytes, in the order in which ``lua/`` puts them."""

import json
from collections.abc import Sequence
from typing import Any

from farthing.credits.account import Crossing
from farthing.credits.store import (
    UNLIMITED,
    Act,
    Balance,
    CallNote,
    Run,
    SettledCall,
    Settlement,
    Standing,
)

Row = Sequence[Any]
Days = dict[tuple[str, str], tuple[int, int, int]]
"""By day and tier: what was settled, how much of it was overdraft, in how many calls."""

_SUMS = ("settled", "overdraft", "calls")


def balance(row: Row) -> Balance:
    """Read an account's balance."""
    account, department, user, limited, granted, expired, settled, held, overdraft, monthly = row
    return Balance(
        account.decode(),
        department.decode(),
        user.decode(),
        limited == b"1",
        int(granted),
        int(expired),
        int(settled),
        int(held),
        int(overdraft),
        _maybe(monthly),
    )


def standing(row: Row) -> Standing:
    """Read what a payer has."""
    of_user, available, short = row
    return Standing(balance(of_user), int(available) if short else UNLIMITED, short.decode())


def settlement(row: Row) -> Settlement:
    """Read what settling changed."""
    then, overdraft, crossed, again = row
    return Settlement(
        standing(then),
        int(overdraft),
        tuple(Crossing(account.decode(), *map(int, numbers)) for account, *numbers in crossed),
        again == b"1",
    )


def run(row: Row) -> Run:
    """Read a session's run."""
    session_id, user, department, key_hash, started_ms, last_ms, steps, settled, held, *rest = row
    max_steps, max_cost, marks, stopped_by, entered = rest
    return Run(
        session_id.decode(),
        user.decode(),
        department.decode(),
        key_hash.decode(),
        int(started_ms),
        int(last_ms),
        int(steps),
        int(settled),
        int(held),
        _maybe(max_steps),
        _maybe(max_cost),
        tuple(json.loads(marks)) if marks else (),
        stopped_by.decode(),
        entered == b"1",
    )


def settled_call(row: Row) -> SettledCall:
    """Read a settled call."""
    call_id, at_ms, session_id, amount, overdraft, *note = row
    return SettledCall(
        call_id.decode(),
        int(at_ms),
        session_id.decode(),
        int(amount),
        int(overdraft),
        CallNote(*(text.decode() for text in note)),
    )


def days(fields: Row) -> Days:
    """Read an account's spending."""
    found: Days = {}
    for field, amount in zip(fields[::2], fields[1::2], strict=True):
        day, what, tier = field.decode().split(" ", 2)
        sums = list(found.get((day, tier), (0, 0, 0)))
        sums[_SUMS.index(what)] = int(amount)
        found[day, tier] = (sums[0], sums[1], sums[2])
    return found


def act(row: Row) -> Act:
    """Read an entry of the journal."""
    _, at_ms, actor, action, target, amount, month, ref, reason = row
    texts = (text.decode() for text in (month, ref, reason))
    return Act(int(at_ms), actor.decode(), action.decode(), target.decode(), int(amount), *texts)


def _maybe(number: bytes) -> int | None:
    return int(number) if number else None
