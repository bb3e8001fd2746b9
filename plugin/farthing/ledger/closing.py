"""Closing a month: its statement is frozen, and what arrives later is booked as corrections.

Migration 0009 says how the tables hold it. As with rolls, arrivals are counted first and the markers written
last, in one insert: a closing that breaks off was none.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from farthing.ledger.errors import LedgerError

_LINE = [
    "department",
    "cost_centre",
    "user",
    "tier",
    "model",
    "calls",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "baseline_usd",
    "savings_usd",
    "unpriced",
    "without_baseline",
    "stand_in",
]


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing a month came to. ``new`` is False if it was closed before, and nothing was done."""

    month: date
    closed_at: datetime
    lines: int
    corrections: int
    """Lines by which earlier closed months changed since they were last booked: they stand in this month."""
    new: bool


def close_month(client: Any, month: str, *, force: bool = False) -> Closing:
    """Freeze a month (YYYY-MM, UTC) and book in it the pending corrections of earlier closed months.

    Closing a month again changes nothing. Raises LedgerError if the month is not over by the ledger's clock,
    unless ``force``, and what the client raises.
    """
    first = date.fromisoformat(f"{month}-01")
    if (known := _closed(client, first)) is not None:
        return known
    now = datetime.fromtimestamp(int(_one(client, "SELECT toUnixTimestamp64Milli(now64(3))")) / 1000, UTC)
    if now.date() < _next(first) and not force:
        raise LedgerError(
            f"{month} is not over (it is {now:%Y-%m-%d %H:%M} UTC); close it from {_next(first)} on, "
            "or now with --force: its later charges then become corrections"
        )
    bound = {
        "month": first,
        "closing": max(int(now.timestamp() * 1000) << 64 | secrets.randbits(64), _last(client) + 1),
        "at": now,
    }
    looked_at = [(first, _arrivals(client, first))]
    looked_at += [(earlier, _arrivals(client, earlier)) for earlier in _changed(client, first)]
    columns = ", ".join(_LINE)
    for entry, source, where in (
        ("close", "statement_lines", "month = {month:Date}"),
        ("correction", "statement_corrections", "month < {month:Date}"),
    ):
        client.command(
            f"INSERT INTO closing_lines (booked_month, closing, month, entry, closed_at, {columns}) "  # noqa: S608
            f"SELECT {{month:Date}}, {{closing:UInt128}}, month, '{entry}', {{at:DateTime64(3, 'UTC')}}, "
            f"{columns} FROM {source} WHERE {where}",
            parameters=bound,
        )
    values = ", ".join(
        f"({{month:Date}}, {{closing:UInt128}}, '{at}', {arrivals}, {{at:DateTime64(3, 'UTC')}})"
        for at, arrivals in looked_at
    )
    client.command(
        f"INSERT INTO closings (booked_month, closing, month, arrivals, closed_at) VALUES {values}",  # noqa: S608
        parameters=bound,
    )
    done = _closed(client, first)
    if done is None:
        raise LedgerError(f"closing {month} left no trace in the ledger; try again")
    return Closing(done.month, done.closed_at, done.lines, done.corrections, new=True)


def closed_months(client: Any) -> list[date]:
    """Return the first day of each closed month, in order."""
    rows = client.query("SELECT toString(month) FROM closed_months WHERE closed_at > 0 ORDER BY month")
    return [date.fromisoformat(row[0]) for row in rows.result_rows]


def _closed(client: Any, month: date) -> Closing | None:
    rows = client.query(
        "SELECT toUnixTimestamp64Milli(min(closed_at)) FROM closings "
        "WHERE booked_month = {month:Date} HAVING count() > 0",
        parameters={"month": month},
    ).result_rows
    if not rows:
        return None
    lines, corrections = client.query(
        "SELECT countIf(entry = 'close'), countIf(entry = 'correction') FROM closed_lines "
        "WHERE booked_month = {month:Date}",
        parameters={"month": month},
    ).result_rows[0]
    at = datetime.fromtimestamp(int(rows[0][0]) / 1000, UTC)
    return Closing(month, at, int(lines), int(corrections), new=False)


def _changed(client: Any, before: date) -> list[date]:
    rows = client.query(
        "SELECT toString(month) FROM months_to_correct WHERE month < {before:Date}",
        parameters={"before": before},
    ).result_rows
    return [date.fromisoformat(row[0]) for row in rows]


def _arrivals(client: Any, month: date) -> int:
    return int(
        _one(
            client,
            "SELECT sum(arrivals) FROM charge_arrivals WHERE toStartOfMonth(day) = {month:Date}",
            {"month": month},
        )
    )


def _last(client: Any) -> int:
    return int(_one(client, "SELECT max(closing) FROM closings"))


def _one(client: Any, sql: str, bound: dict[str, Any] | None = None) -> Any:
    return client.query(sql, parameters=bound or {}).result_rows[0][0]


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
