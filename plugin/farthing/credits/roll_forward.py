"""The roll-forward: how each account's money went from the start of a month to its end."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from farthing.credits.store import Act, CreditStore, Spending

_EVERYTHING = 2**31 - 1
_FIRST_DAY = "0001-01-01"


@dataclass(frozen=True, slots=True)
class Roll:
    """One account's month, in nano-dollars: ``opening + granted + adjusted - settled - expired = closing``.

    ``closing`` is what it had left at the month's end, live holds included, and the next month's ``opening``;
    below zero after an overdraft, or where more was taken back than was left. At this moment it is the
    balance's ``available + held``.
    """

    account: str
    month: str
    """As in 2026-11, of the organisation's time zone."""
    opening: int
    granted: int
    """Grants and allowances given in the month."""
    adjusted: int
    """What was taken back or raised, and what a limit began with (see `roll_forward`)."""
    settled: int
    expired: int
    overdraft: int
    """The part of ``settled`` that no live hold covered."""
    closing: int


async def roll_forward(store: CreditStore, month: str, account: str = "") -> list[Roll]:
    """Return the month (``YYYY-MM``) of every limited account, or of one, in the order of the balances.

    An account that got its limit later has no roll before the month in which it did; in that month it opens
    with nothing, and ``adjusted`` is its opening line less all that it had spent before the month: it closes
    with what the limit left it. While a limit is lifted for a time, spending goes on lowering ``closing``,
    and the opening line of the next limit makes up for it. Raises ValueError if ``month`` is none, and
    StoreError.
    """
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise ValueError(f"{month!r} is not a month such as 2026-11")
    limited = [
        balance.account for balance in await store.balances([account] if account else None) if balance.limited
    ]
    lines: defaultdict[str, list[Act]] = defaultdict(list)
    for act in await store.journal(account, _EVERYTHING):
        if act.month:
            lines[act.target].append(act)
    found = []
    for name in limited:
        spent = await store.spending(name, _FIRST_DAY, f"{month}-31")
        if roll := _roll(name, month, lines[name], spent):
            found.append(roll)
    return found


def _roll(account: str, month: str, lines: Sequence[Act], spent: Sequence[Spending]) -> Roll | None:
    before = -sum(day.settled for day in spent if day.day < month)
    began = min(lines, key=lambda line: line.at_ms, default=None)
    unlimited_at_first = began is not None and any(
        line.action == "opening" and line.at_ms == began.at_ms for line in lines
    )
    spent_before_its_limit = 0
    if unlimited_at_first and began is not None:
        if month < began.month:
            return None
        if month == began.month:
            spent_before_its_limit, before = before, 0

    def total(*actions: str) -> int:
        return sum(line.amount for line in lines if line.month == month and line.action in actions)

    opening = before + sum(line.amount for line in lines if line.month < month)
    granted, expired = total("grant"), -total("expire")
    adjusted = total("adjust", "opening") + spent_before_its_limit
    now = [day for day in spent if day.day >= month]
    settled, overdraft = sum(day.settled for day in now), sum(day.overdraft for day in now)
    closing = opening + granted + adjusted - settled - expired
    return Roll(account, month, opening, granted, adjusted, settled, expired, overdraft, closing)
