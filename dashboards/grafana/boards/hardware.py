"""The sovereign tier in SQL: its hardware's cost and its calls, day by day."""

from dashboards.grafana.sql import write

# What each node cost on each day: its seconds in service, until the range's end, at its hourly rate. A line
# holds until its end or until the node's next line, whichever comes first.
_HARDWARE = """
  SELECT
    arrayJoin(
      arrayMap(n -> @first_day + n, range(toUInt32(dateDiff('day', @first_day, @last_day) + 1)))
    ) AS day,
    greatest(0, dateDiff('second',
      greatest(valid_from, toDateTime(day, 'UTC')),
      least(
        ifNull(valid_to, $__toTime),
        if(next_from = toDateTime(0), $__toTime, next_from),
        $__toTime,
        toDateTime(day + 1, 'UTC')
      ))) AS seconds,
    toDecimal128(usd_per_hour, 9) * seconds / 3600 AS cost
  FROM (
    SELECT
      *,
      leadInFrame(valid_from, 1, toDateTime(0)) OVER (
        PARTITION BY node ORDER BY valid_from ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
      ) AS next_from
    FROM hardware_costs FINAL
  )
  WHERE tier = 'local'
"""

_LOCAL = "$__dateFilter(day) AND tier = 'local'"
_HOURS = "$__dateTimeFilter(day, hour) AND tier = 'local'"

# Hardware and calls of each day. The cost in use is the part of the day's cost for the time that calls took,
# as a share of the time they could have taken: seconds in service, by the calls that a node serves at once.
_DAYS = """
  SELECT
    day,
    sum(seconds) * 1000 * @slots AS capacity,
    sum(cost) AS hardware,
    sum(busy_ms) AS busy,
    hardware * least(busy, capacity) / greatest(capacity, 1) AS used,
    sum(baseline_usd) AS baseline,
    sum(all_tokens) AS tokens
  FROM (
    SELECT day, seconds, cost, 0 AS busy_ms, toDecimal128(0, 9) AS baseline_usd, 0 AS all_tokens
    FROM (@hardware)
    UNION ALL
    SELECT
      day,
      0 AS seconds,
      toDecimal128(0, 9) AS cost,
      busy_ms,
      ifNull(c.baseline_usd, 0) AS baseline_usd,
      input_tokens + output_tokens AS all_tokens
    FROM charges_daily AS c
    WHERE @local
  )
  GROUP BY day
"""


def of_the_tier(text: str, **pieces: str) -> str:
    """Return a panel's SQL, which may read ``@days``, and narrow calls by ``@local`` (days) or ``@hours``."""
    return write(text, days=_DAYS, hardware=_HARDWARE, local=_LOCAL, hours=_HOURS, **pieces)
