"""How long the ledger keeps rows: spans and metrics by TTL, charges by dropping whole months.

A TTL on charges would take rows away under a statement. Their months are therefore dropped in steps, each
safe to break off at: the month must be closed, its days are rolled for the last time and sealed, and only
then its charges go. Statements, rolls and closed months never change by it.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Any

from farthing.ledger.rolls import roll

_TIMES = {
    "otel_traces": "toDateTime(Timestamp)",
    "otel_traces_trace_id_ts": "Start",
    "otel_metrics_gauge": "toDateTime(TimeUnix)",
    "otel_metrics_sum": "toDateTime(TimeUnix)",
    "otel_metrics_histogram": "toDateTime(TimeUnix)",
}


def expire_traces(client: Any, days: int | None, on_cluster: str = "") -> list[str]:
    """Let spans and metrics expire after ``days`` (None: never); return the tables that were changed.

    ``on_cluster`` is empty or an ON CLUSTER clause.
    """
    made = dict(
        client.query(
            "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() "
            "AND name IN {names:Array(String)}",
            parameters={"names": list(_TIMES)},
        ).result_rows
    )
    changed: list[str] = []
    for table, time in _TIMES.items():
        if days is None:
            if "\nTTL " in made.get(table, "") or " TTL " in made.get(table, ""):
                client.command(f"ALTER TABLE {table} {on_cluster} REMOVE TTL")
                changed.append(table)
            continue
        ttl = f"{time} + toIntervalDay({int(days)})"
        # Set again, a TTL would be worked out anew for all parts.
        if table in made and f"TTL {ttl} " not in f"{made[table]} ":
            client.command(f"ALTER TABLE {table} {on_cluster} MODIFY TTL {ttl}")
            changed.append(table)
    return changed


def drop_charges(client: Any, months: int, closed: Collection[date]) -> tuple[list[str], list[str]]:
    """Drop the charges of closed months that ended ``months`` or more whole months ago.

    ``client`` is that of the shard's tables; ``closed`` holds the first day of each closed month.

    Returns the months dropped, and those old enough that are not closed and therefore stay (YYYY-MM). What
    arrives for a dropped month later is in no sum; `farthing ledger status` counts it.
    """
    now = datetime.fromtimestamp(int(client.command("SELECT toUnixTimestamp(now())")), UTC)
    horizon = now.year * 12 + now.month - 1 - months
    dropped: list[str] = []
    kept: list[str] = []
    found = client.query(
        "SELECT DISTINCT partition FROM system.parts WHERE database = currentDatabase() "
        "AND table = 'charges' AND active ORDER BY partition"
    ).result_rows
    for (partition,) in found:
        year, month = int(partition[:4]), int(partition[4:])
        if year * 12 + month - 1 >= horizon:
            continue
        name = f"{year:04}-{month:02}"
        if date(year, month, 1) not in closed:
            kept.append(name)
            continue
        days = client.query(
            "SELECT toString(day) FROM charge_arrivals WHERE toYYYYMM(day) = {month:UInt32} AND day NOT IN "
            "(SELECT day FROM sealed_days) GROUP BY day ORDER BY day",
            parameters={"month": int(partition)},
        ).result_rows
        roll(client, [date.fromisoformat(day) for (day,) in days], seal=True)
        client.command(f"ALTER TABLE charges DROP PARTITION {int(partition)}")
        dropped.append(name)
    return dropped, kept
