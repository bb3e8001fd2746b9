"""`farthing ledger status`: what the ledger holds, and what is to be done about it."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from farthing.ledger.closing import closed_months
from farthing.ledger.schema import applied_migrations, migrations


@dataclass(frozen=True, slots=True)
class Status:
    """The ledger at this moment. ``rows`` counts stored rows, repeats that are not yet merged included."""

    applied: list[str]
    pending: list[str]
    rows: dict[str, int]
    disk_bytes: int
    oldest: datetime | None
    newest: datetime | None
    days_rolled: int
    days_open: int
    """Days that are summed from their charges: today, and those with arrivals since their last roll."""
    late: int
    """Arrivals for days whose charges are no longer kept: in no sum."""
    closed: list[date]
    corrections: int
    """Lines by which closed months changed since they were booked."""


def status(client: Any) -> Status:
    """Return the status of the client's database. Raises what the client raises."""
    applied = applied_migrations(client)
    parts = client.query(
        "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts "
        "WHERE database = currentDatabase() AND active GROUP BY table ORDER BY table"
    ).result_rows
    first, last, count = client.query("SELECT min(started), max(started), count() FROM charges").result_rows[
        0
    ]
    rolled, open_days = client.query(
        "SELECT countIf(day IN (SELECT day FROM rolls_in_force WHERE slot = -1)), "
        "countIf(day NOT IN (SELECT day FROM rolls_in_force WHERE slot = -1)) "
        "FROM arrivals_by_slot WHERE slot = -1"
    ).result_rows[0]
    late = client.query(
        "SELECT sum(a.arrivals - s.arrivals) FROM arrivals_by_slot AS a "
        "INNER JOIN sealed_days AS s ON a.day = s.day WHERE a.slot = -1"
    ).result_rows[0][0]
    return Status(
        [name for name, _ in applied.values()],
        [one.name for one in migrations() if one.version not in applied],
        {str(table): int(rows) for table, rows, _ in parts},
        sum(int(row[2]) for row in parts),
        first if count else None,
        last if count else None,
        int(rolled),
        int(open_days),
        int(late or 0),
        closed_months(client),
        int(client.query("SELECT count() FROM statement_corrections").result_rows[0][0]),
    )
