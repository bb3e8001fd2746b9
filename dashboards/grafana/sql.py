"""Pieces of SQL that several panels share.

A panel's SQL is written with ``@name`` where a piece goes, and `write` puts them in. What a person chooses on
a board never becomes SQL text: see `chosen`.
"""

import re

from farthing.ledger import sqlfiles

VARIABLES = ("department", "tier", "model")
"""The columns that a board can be narrowed by, each a variable of the same name."""


def chosen(column: str, variable: str) -> str:
    """Return the condition that a column has one of the values chosen for a board's variable.

    Grafana's quoting for SQL leaves backslashes as they are, and in ClickHouse a backslash takes the meaning
    from the quote after it: a name, or a link that somebody made, could rewrite the query. Therefore the
    value of an option is the name as `encoded`, and the choice is put in percent-encoded, which leaves no
    sign that could end a string. "All" is no condition.
    """
    options = f"splitByChar(',', trim(BOTH '{{}}' FROM decodeURLComponent('${{{variable}:percentencode}}')))"
    return f"$__conditionalAll({encoded(column)} IN {options}, ${variable})"


def encoded(column: str) -> str:
    """Return a column's value as an option of a variable: ``x`` and its hex."""
    return f"concat('x', hex({column}))"


def named(column: str, nothing: str = "(none)") -> str:
    """Return a column as it is shown: the empty name as ``nothing``."""
    return f"if({column} = '', '{nothing}', {column})"


# Panels call what they read ``c``, since what they show of a column may have the same name and another value.
_PIECES = {
    "chosen": "\n  AND ".join(chosen(f"c.{name}", name) for name in VARIABLES),
    "chosen_department": chosen("c.department", "department"),
    "chosen_attribute": chosen("Attributes['farthing.account.department']", "department"),
    "department": named("c.department", "(no department)"),
    "tier": named("c.tier", "(no tier)"),
    "model": named("c.model", "(no model)"),
    # The days that the board's range begins and ends with, in UTC.
    "first_day": "toDate($__fromTime, 'UTC')",
    "last_day": "toDate($__toTime, 'UTC')",
    "instance": "if(Attributes['farthing.gateway.instance'] != '', Attributes['farthing.gateway.instance'], "
    "ResourceAttributes['service.instance.id'])",
    "slots": "greatest(toUInt32OrZero('${slots:percentencode}'), 1)",
    # One hour more than is shown, so that the first point shown has one before it.
    "metric_time": "TimeUnix >= $__fromTime - INTERVAL 1 HOUR AND TimeUnix <= $__toTime",
    # One counter of one process since it started.
    "series": "(PARTITION BY ServiceName, toString(mapSort(ResourceAttributes)), "
    "toString(mapSort(Attributes)), StartTimeUnix ORDER BY TimeUnix "
    "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    # What a counter grew by since the point before. Points may be totals (2) or already growth (1); a point
    # that comes twice adds nothing. What a counter had reached before the range is not part of it.
    "growth": "multiIf(AggregationTemporality = 1, Value, row_number() OVER series > 1, "
    "Value - lagInFrame(Value) OVER series, StartTimeUnix >= $__fromTime, Value, 0)",
    "bucket_growth": "multiIf(AggregationTemporality = 1, arrayMap(n -> toInt64(n), BucketCounts), "
    "row_number() OVER series > 1, arrayMap((n, before) -> toInt64(n) - toInt64(before), BucketCounts, "
    "lagInFrame(BucketCounts) OVER series), StartTimeUnix >= $__fromTime, "
    "arrayMap(n -> toInt64(n), BucketCounts), arrayMap(n -> toInt64(0), BucketCounts))",
}


def write(text: str, **pieces: str) -> str:
    """Return a panel's SQL with its pieces put in. Raises KeyError if one is not known."""
    known = {**_PIECES, **pieces}
    # A piece may hold others.
    while re.search(r"@([a-z_]+)", text):
        text = re.sub(r"@([a-z_]+)", lambda found: known[found[1]], text)
    return text.strip()


def report(name: str) -> str:
    """Return a query that finance runs, with the board's month and choices in place of its parameters.

    The month is the one that the board's range ends in, today its last day. Raises ValueError if a parameter
    is left over.
    """
    lines = sqlfiles.load(name).splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    for parameter, piece in (
        ("{department:String} = '' OR department = {department:String}", chosen("department", "department")),
        ("{department:String}", "''"),
        ("{month:String}", "formatDateTime(@last_day, '%Y-%m')"),
        ("{as_of:Date}", "@last_day"),
        ("{idle:String}", "'proportional'"),
        ("{slots:UInt32}", "@slots"),
    ):
        text = text.replace(parameter, piece)
    if left := re.search(r"(?<!\$)\{\w+:\w+\}", text):
        raise ValueError(f"{name}.sql has a parameter that boards do not know: {left[0]}")
    return write(text)


def top_over_time(
    name: str, measure: str, narrowed_by: tuple[str, ...] = VARIABLES, where: str = "1 = 1", count: int = 10
) -> str:
    """Return SQL for the daily sum of a measure for each name: the largest, and all others as one.

    ``charges_daily`` is read once, whatever the number of names.
    """
    return write(
        """
SELECT
  toDateTime(day, 'UTC') AS time,
  if(place <= @count, name, '(all others)') AS series,
  sum(amount) AS value
FROM (
  SELECT day, name, amount, dense_rank() OVER (ORDER BY whole DESC, name) AS place
  FROM (
    SELECT day, name, amount, sum(amount) OVER (PARTITION BY name) AS whole
    FROM (
      SELECT day, @name AS name, @measure AS amount
      FROM charges_daily AS c
      WHERE $__dateFilter(day)
        AND @where
        AND @narrowed
      GROUP BY day, name
    )
  )
)
GROUP BY time, series
ORDER BY time, series
""",
        name=name,
        measure=measure,
        count=str(count),
        where=where,
        narrowed="\n        AND ".join(chosen(f"c.{column}", column) for column in narrowed_by),
    )


def quantile(level: float) -> str:
    """Return a histogram's quantile, interpolated within its bucket as Prometheus does.

    It reads ``counts`` (for each bucket) and ``bounds`` (their upper ends, but for the last, which has none:
    a quantile in there is shown as its lower end). NULL without observations.
    """
    return (
        f"if(arraySum(counts) = 0, NULL, arrayElement(arrayMap((n, high, low, below) -> "
        f"low + (high - low) * ({level} * arraySum(counts) - below) / n, "
        "counts, arrayPushBack(bounds, bounds[-1]), arrayPushFront(bounds, toFloat64(0)), "
        "arrayPopBack(arrayPushFront(arrayCumSum(counts), toInt64(0)))), "
        f"arrayFirstIndex(up_to -> up_to >= {level} * arraySum(counts), arrayCumSum(counts))))"
    )


def histogram_over_time(metric: str, series: str, levels: dict[str, float]) -> str:
    """Return SQL for quantiles of a histogram metric over time, one column for each of ``levels``.

    ``series`` is an SQL expression that parts the lines, or empty for one line.
    """
    columns = ",\n  ".join(f"{quantile(level)} AS {name}" for name, level in levels.items())
    return write(
        """
SELECT
  time,@label
  @columns
FROM (
  SELECT $__timeInterval(at) AS time,@group sumForEach(growth) AS counts, any(ends) AS bounds
  FROM (
    SELECT TimeUnix AS at,@names ExplicitBounds AS ends, @bucket_growth AS growth
    FROM otel_metrics_histogram
    WHERE MetricName = '@metric' AND @metric_time
    WINDOW series AS @series
  )
  WHERE at >= $__fromTime
  GROUP BY time@also
  HAVING arraySum(counts) > 0
)
ORDER BY time@also
""",
        metric=metric,
        columns=columns,
        label=" series," if series else "",
        group=" series," if series else "",
        names=f" {series} AS series," if series else "",
        also=", series" if series else "",
    )
