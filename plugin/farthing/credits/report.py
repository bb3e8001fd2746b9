"""What `farthing balance` shows, from the store that the proxy spends from."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields

from farthing.credits.calendar import Calendar
from farthing.credits.roll_forward import Roll
from farthing.credits.store import Balance, CreditStore, Discrepancy, open_store
from farthing.money import credits_text
from farthing.settings import Settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[CreditStore]:
    """Open the configured store for a command. Raises StoreError."""
    store = open_store(settings.credits.store, calendar=Calendar(settings.credits.time_zone))
    try:
        yield store
    finally:
        await store.close()


async def balances(settings: Settings, user: str | None = None, *, every_kind: bool = False) -> list[Balance]:
    """Return the balances of all users (or of one), by department and user. Raises StoreError.

    ``every_kind``: those of the organisation, its departments and keys, too.
    """
    async with opened(settings) as store:
        found = await store.balances()
    return [
        balance
        for balance in found
        if (every_kind or balance.kind == "user") and (user is None or user in (balance.name, balance.user))
    ]


async def verify(settings: Settings) -> list[Discrepancy]:
    """Return the totals that are not what their steps add up to. Raises StoreError."""
    async with opened(settings) as store:
        return await store.verify()


_AMOUNTS = ("granted", "expired", "settled", "held", "available")


def render(rows: Sequence[Balance], form: str, nano_per_credit: int) -> str:
    """Return balances as ``table``, ``csv`` or ``json``; amounts are credits."""
    every_kind = any(row.kind != "user" for row in rows)
    names = (*(("account",) if every_kind else ()), "department", "user", *_AMOUNTS)
    lines = [_line(row, nano_per_credit, every_kind) for row in rows]
    if form == "table" and not lines:
        return "No balances yet: the proxy grants the credits of farthing.yaml when it starts.\n"
    return _rendered(names, lines, form, left=len(names) - len(_AMOUNTS))


def render_rolls(rolls: Sequence[Roll], form: str, nano_per_credit: int) -> str:
    """Return a month's roll-forward as ``table``, ``csv`` or ``json``; amounts are credits."""
    names = tuple(field.name for field in fields(Roll))
    amounts = [[credits_text(getattr(roll, name), nano_per_credit) for name in names[2:]] for roll in rolls]
    lines = [(roll.account, roll.month, *cells) for roll, cells in zip(rolls, amounts, strict=True)]
    return _rendered(names, lines, form, left=2)


def _rendered(names: Sequence[str], lines: Sequence[Sequence[str]], form: str, left: int) -> str:
    if form == "json":
        return json.dumps([dict(zip(names, line, strict=True)) for line in lines], indent=2) + "\n"
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([names, *lines])
        return text.getvalue()
    return table([names, *lines], left)


def _line(row: Balance, rate: int, every_kind: bool) -> tuple[str, ...]:
    department = row.name if row.kind == "department" else row.department
    user = row.name if row.kind == "user" else row.user
    left = credits_text(row.available, rate) if row.limited else "no limit"
    amounts = [credits_text(getattr(row, name), rate) for name in _AMOUNTS[:-1]]
    # A key's name is its hash: enough of it to tell keys apart.
    account = (f"{row.kind} {row.name[:8]}" if row.kind == "key" else row.kind,) if every_kind else ()
    return (*account, department, user, *amounts, left)


def table(lines: Sequence[Sequence[str]], left: int) -> str:
    """Return lines as columns, the first ``left`` of them flush left, the others flush right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )
