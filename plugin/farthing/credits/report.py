"""What `farthing balance` shows: each user's credits, from the store that the proxy spends from."""

import csv
import io
import json
from collections.abc import Sequence

from farthing.credits.store import Balance, Discrepancy, open_store
from farthing.money import credits_text
from farthing.settings import Settings


async def balances(settings: Settings, user: str | None = None) -> list[Balance]:
    """Return the balances of all users (or of one), by department and user. Raises StoreError."""
    store = open_store(settings.credits.store)
    try:
        return [balance for balance in await store.balances() if user in (None, balance.user)]
    finally:
        await store.close()


async def verify(settings: Settings) -> list[Discrepancy]:
    """Return the totals that are not what their grants and holds add up to. Raises StoreError."""
    store = open_store(settings.credits.store)
    try:
        return await store.verify()
    finally:
        await store.close()


def render(rows: Sequence[Balance], form: str, nano_per_credit: int) -> str:
    """Return balances as ``table``, ``csv`` or ``json``; amounts are credits."""
    names = ("department", "user", "granted", "settled", "held", "available")
    table = [
        (row.department, row.user, *(credits_text(getattr(row, name), nano_per_credit) for name in names[2:]))
        for row in rows
    ]
    if form == "json":
        return json.dumps([dict(zip(names, line, strict=True)) for line in table], indent=2) + "\n"
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([names, *table])
        return text.getvalue()
    if not table:
        return "No balances yet: the proxy grants the credits of farthing.yaml when it starts.\n"
    lines = [names, *table]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )
