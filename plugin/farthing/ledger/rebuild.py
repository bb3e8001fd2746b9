"""Charges made again from the spans that carry them, through the very SELECT of the materialised view."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from farthing.ledger import sqltext
from farthing.ledger.schema import migrations


def view_query() -> str:
    """Return the SELECT by which spans become charges, as the newest migration has it."""
    for migration in reversed(migrations()):
        for statement in reversed(sqltext.split(migration.text)):
            if found := re.search(r"ALTER TABLE charges_mv MODIFY QUERY\s", statement):
                return statement[found.end() :]
    raise LookupError("no migration sets the query of charges_mv")


def rebuild(
    client: Any,
    since: date | None = None,
    *,
    everything: bool = False,
    tell: Callable[[date, int], None] = lambda day, count: None,
) -> int:
    """Insert into charges those that spans tell of and that are missing; return how many rows were inserted.

    ``since``: spans begun from that UTC day on. ``everything``: those that are there are inserted again,
    which brings columns that are new, and doubles nothing: a repeat replaces its charge. ``tell`` is called
    for each day. What has expired from otel_traces stays as it is.
    """
    query = view_query()
    names = ", ".join(f"`{row[0]}`" for row in client.query(f"DESCRIBE TABLE ({query})").result_rows)
    days = client.query(
        "SELECT toString(toDate(Timestamp, 'UTC')) AS day FROM otel_traces "
        "WHERE SpanAttributes['farthing.charge.id'] != '' AND toDate(Timestamp, 'UTC') >= {since:Date} "
        "GROUP BY day ORDER BY day",
        parameters={"since": since or date(1970, 1, 1)},
    ).result_rows
    missing = "" if everything else "AND id NOT IN (SELECT id FROM charges WHERE day = {day:Date})"
    total = 0
    for (text,) in days:
        day = date.fromisoformat(text)
        source = (
            f"FROM ({query} AND toDate(Timestamp, 'UTC') = {{day:Date}}) WHERE day = {{day:Date}} {missing}"
        )
        count = int(client.query(f"SELECT uniqExact(id) {source}", parameters={"day": day}).result_rows[0][0])
        if count:
            client.command(
                f"INSERT INTO charges ({names}) SELECT {names} {source}",
                parameters={"day": day},
                settings={"max_partitions_per_insert_block": 0},
            )
        tell(day, count)
        total += count
    return total
