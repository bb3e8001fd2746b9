"""How the gateway runs: traffic, latency, failures, climbs, caches, denials, and what Farthing adds."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.grafana.boards import sre_times
from dashboards.grafana.boards.sre_times import LAG_S, PENDING
from dashboards.grafana.parts import SHARE, USD, number, over_time, rows
from dashboards.grafana.parts import board as empty_board
from dashboards.grafana.sql import write

_ERRORS = ((None, "green"), (0.01, "orange"), (0.05, "red"))


def board() -> Dashboard:
    """Return the board."""
    made = empty_board(
        "sre",
        "Farthing: operations",
        "Traffic, latency, failures, climbs, caches and denials of the gateway, and what Farthing "
        "itself adds.",
        "now-24h",
        "department",
        "tier",
        "model",
    )
    return sre_times.add(_traffic(_now(made)))


def _now(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("At a glance"))
        .with_panel(
            number(
                "Answers",
                "Model calls that answered a client in the time range; gradings, summaries and failed "
                "attempts are left out.",
                write(
                    "SELECT sumIf(calls, outcome = 'ok') AS answers\nFROM charges_hourly AS c\n"
                    "WHERE $__dateTimeFilter(day, hour) AND kind = 'inference'\n  AND @chosen"
                ),
                "short",
            )
        )
        .with_panel(
            number(
                "Error share",
                "Share of the attempts to answer that failed, those that another attempt made good "
                "included; calls that the client cancelled are no failures.",
                write(
                    """
SELECT toFloat64(sumIf(calls, outcome = 'failed')) / nullIf(sum(calls), 0) AS failed_share
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour)
  AND kind IN ('inference', 'failed_attempt')
  AND @chosen
"""
                ),
                SHARE,
                steps=_ERRORS,
            )
        )
        .with_panel(
            number(
                "Answer time, p95",
                "19 of 20 answers were complete within this time, to two significant digits; streams "
                "are counted to their last event, failed and cancelled calls are left out.",
                write(
                    """
SELECT quantileExactWeightedOrNull(0.95)(latency_ms_bucket, calls) AS p95
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND kind = 'inference' AND outcome = 'ok'
  AND @chosen
"""
                ),
                "ms",
            )
        )
        .with_panel(
            number(
                "Denials",
                "Requests that Farthing refused (no credit, a loop, …), as the gateways counted them, "
                "and 0 if they send no metrics; tier and model have no say here, since a refused "
                "request reached none.",
                write(
                    """
SELECT sum(grown) AS denials
FROM (
  SELECT TimeUnix AS at, @growth AS grown
  FROM otel_metrics_sum
  WHERE MetricName = 'farthing.denials' AND @metric_time
    AND @chosen_attribute
  WINDOW series AS @series
)
WHERE at >= $__fromTime
"""
                ),
                "short",
            )
        )
        .with_panel(
            number(
                "Charges waiting",
                "Charges in an outbox that the ledger does not have yet: the newest count where most "
                "wait. Workers of one machine share an outbox and tell the same; the board's choices do "
                "not narrow it.",
                write(
                    """
SELECT maxOrNull(newest) AS pending
FROM (
  SELECT argMax(Value, TimeUnix) AS newest
  FROM otel_metrics_gauge
  WHERE MetricName = 'farthing.outbox.pending' AND $__timeFilter(TimeUnix)
  GROUP BY @instance
)
"""
                ),
                "short",
                steps=PENDING,
            )
        )
        .with_panel(
            number(
                "Oldest waiting charge",
                "Age of the oldest charge that the ledger has not confirmed: the newest figure of the "
                "gateway that is furthest behind; the board's choices do not narrow it.",
                write(
                    """
SELECT maxOrNull(newest) AS lag
FROM (
  SELECT argMax(Value, TimeUnix) AS newest
  FROM otel_metrics_gauge
  WHERE MetricName = 'farthing.outbox.lag_s' AND $__timeFilter(TimeUnix)
  GROUP BY @instance
)
"""
                ),
                "s",
                steps=LAG_S,
            )
        )
    )


def _traffic(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Traffic and failures"))
        .with_panel(
            over_time(
                "Calls per second, by tier",
                "Mean rate of calls that answered a client, by the tier that answered; the newest hour "
                "is still filling, and gradings, summaries and failed attempts are left out.",
                write(
                    """
SELECT $__timeInterval(hour) AS time, @tier AS series, sum(calls) / $__interval_s AS value
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND kind = 'inference'
  AND @chosen
GROUP BY time, series
ORDER BY time, series
"""
                ),
                "reqps",
                name="${__field.labels.series}",
                every="1h",
                stacked=True,
            )
        )
        .with_panel(
            over_time(
                "Error share, by tier",
                "Share of each tier's attempts that failed, those that another attempt made good "
                "included; calls that the client cancelled are no failures.",
                write(
                    """
SELECT
  $__timeInterval(hour) AS time,
  @tier AS series,
  toFloat64(sumIf(calls, outcome = 'failed')) / sum(calls) AS value
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND kind IN ('inference', 'failed_attempt')
  AND @chosen
GROUP BY time, series
ORDER BY time, series
"""
                ),
                SHARE,
                name="${__field.labels.series}",
                every="1h",
                steps=_ERRORS,
            )
        )
        .with_panel(
            over_time(
                "Climbs",
                "Answers that came from a higher tier after a lower one failed or was not good enough, "
                "from which tier to which; climbs that ended without an answer are failed attempts.",
                write(
                    """
SELECT $__timeInterval(hour) AS time, concat(climbed_from, ' → ', tier) AS series, sum(calls) AS value
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND kind = 'inference' AND climbed_from != ''
  AND @chosen
GROUP BY time, series
ORDER BY time, series
"""
                ),
                "short",
                name="${__field.labels.series}",
                every="1h",
                stacked=True,
                bars=True,
                wide=8,
            )
        )
        .with_panel(
            rows(
                "Failed attempts, by model",
                "Attempts that failed and what they cost all the same, by the model that failed; "
                "attempts whose price is not known are counted in unpriced and not in the cost.",
                write(
                    """
SELECT
  @model AS model,
  provider,
  sum(calls) AS failed,
  sum(cost_usd) AS cost,
  sum(unpriced) AS unpriced
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND outcome = 'failed'
  AND @chosen
GROUP BY model, provider
ORDER BY failed DESC, model
LIMIT 50
"""
                ),
                {"cost": USD},
                wide=8,
            )
        )
        .with_panel(
            over_time(
                "Denials, by reason",
                "Requests that Farthing refused, by its reason, as the gateways counted them; tier and "
                "model have no say here, since a refused request reached none.",
                write(
                    """
SELECT $__timeInterval(at) AS time, reason AS series, sum(grown) AS value
FROM (
  SELECT TimeUnix AS at, Attributes['farthing.denial.reason'] AS reason, @growth AS grown
  FROM otel_metrics_sum
  WHERE MetricName = 'farthing.denials' AND @metric_time
    AND @chosen_attribute
  WINDOW series AS @series
)
WHERE at >= $__fromTime
GROUP BY time, series
ORDER BY time, series
"""
                ),
                "short",
                name="${__field.labels.series}",
                every="1m",
                stacked=True,
                bars=True,
                wide=8,
            )
        )
    )
