"""Sums in plain Python: what the SQL is held against. Money is Decimal USD; nothing here is a float."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any

from tests.ledger_seed import Row

WIDE = Context(prec=60)


def in_month(rows: Iterable[Row], month: str, last_day: int = 31) -> list[Row]:
    return [row for row in rows if f"{row['day']:%Y-%m}" == month and row["day"].day <= last_day]


def grouped(rows: Iterable[Row], *names: str) -> dict[Any, list[Row]]:
    """Return rows by the values of some columns: a tuple, or the value itself if it is one column."""
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        key = tuple(row[name] for name in names)
        found[key if len(names) > 1 else key[0]].append(row)
    return dict(found)


def total(rows: Iterable[Row], name: str = "cost_total") -> Decimal:
    """Return the sum of a column, without what is not known."""
    return sum((row[name] for row in rows if row[name] is not None), Decimal(0))


def cost_of(rows: Iterable[Row], wanted: Callable[[Row], bool]) -> Decimal:
    return total(row for row in rows if wanted(row))


def is_answer(row: Row) -> bool:
    return bool(row["kind"] == "inference")


def compared(rows: Iterable[Row]) -> list[Row]:
    """Return the answers that have a price and a baseline."""
    return [
        row
        for row in rows
        if is_answer(row) and row["cost_total"] is not None and row["baseline_cost"] is not None
    ]


def without_baseline(rows: Iterable[Row]) -> int:
    return sum(
        is_answer(row) and row["cost_total"] is not None and row["baseline_cost"] is None for row in rows
    )


def unpriced(rows: Iterable[Row]) -> int:
    return sum(row["cost_total"] is None for row in rows)


def savings(rows: Iterable[Row]) -> Decimal:
    rows = list(rows)
    spent = cost_of(rows, lambda row: not is_answer(row))
    return total(compared(rows), "baseline_cost") - total(compared(rows)) - spent


def cut(amount: Decimal, places: int) -> Decimal:
    """Return an amount cut off after some decimals, as ClickHouse divides."""
    return amount.quantize(Decimal(1).scaleb(-places), ROUND_DOWN, context=WIDE)


def divided(amount: Decimal, by: int | Decimal, places: int = 9) -> Decimal:
    return cut(WIDE.divide(amount, Decimal(by)), places)
