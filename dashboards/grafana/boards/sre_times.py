"""Of the board on operations: latency, what Farthing itself adds, its outboxes, and what caches catch."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.grafana.parts import SHARE, over_time, rows
from dashboards.grafana.sql import histogram_over_time, write

PENDING = ((None, "green"), (1000, "orange"), (100_000, "red"))
LAG_S = ((None, "green"), (60, "orange"), (600, "red"))
_ADDED_S = ((None, "green"), (0.05, "orange"), (0.25, "red"))
_LEVELS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def add(made: Dashboard) -> Dashboard:
    """Return the board with these panels put below the others."""
    return _caches(_farthing(_latency(made)))


def _latency(made: Dashboard) -> Dashboard:
    def line(level: str) -> str:
        return write(
            """
SELECT
  $__timeInterval(hour) AS time,
  @tier AS series,
  quantileExactWeighted(@level)(latency_ms_bucket, calls) AS value
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND kind = 'inference' AND outcome = 'ok'
  AND @chosen
GROUP BY time, series
ORDER BY time, series
""",
            level=level,
        )

    left_out = "to two significant digits; streams are counted to their last event, and failed and cancelled "
    return (
        made.with_row(Row("Latency"))
        .with_panel(
            over_time(
                "Answer time by tier, median",
                f"Half of a tier's answers were complete within this time, {left_out}calls are left out.",
                line("0.5"),
                "ms",
                name="${__field.labels.series}",
                every="1h",
                wide=8,
            )
        )
        .with_panel(
            over_time(
                "Answer time by tier, p95",
                f"19 of 20 of a tier's answers were complete within this time, {left_out}calls are left out.",
                line("0.95"),
                "ms",
                name="${__field.labels.series}",
                every="1h",
                wide=8,
            )
        )
        .with_panel(
            rows(
                "Answer time, by model",
                f"Quantiles of the time to a complete answer over the whole time range, {left_out}calls "
                "are left out.",
                write(
                    """
SELECT
  @tier AS tier,
  @model AS model,
  sum(calls) AS answers,
  quantileExactWeighted(0.5)(latency_ms_bucket, calls) AS p50,
  quantileExactWeighted(0.95)(latency_ms_bucket, calls) AS p95,
  quantileExactWeighted(0.99)(latency_ms_bucket, calls) AS p99
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND kind = 'inference' AND outcome = 'ok'
  AND @chosen
GROUP BY tier, model
ORDER BY tier, model
LIMIT 100
"""
                ),
                {"p50": "ms", "p95": "ms", "p99": "ms"},
                wide=8,
            )
        )
    )


def _farthing(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Farthing itself"))
        .with_panel(
            over_time(
                "Time that Farthing adds",
                "How long requests were in Farthing's hands before the model was called (grading, "
                "context, hold), interpolated from a histogram; the board's choices do not narrow it.",
                histogram_over_time("farthing.overhead.duration", "", _LEVELS),
                "s",
                every="1m",
                wide=8,
                steps=_ADDED_S,
            )
        )
        .with_panel(
            over_time(
                "Charges waiting, by gateway",
                "Charges in an outbox that the ledger does not have yet, the most in each interval; "
                "workers of one machine share an outbox and tell the same, and the board's choices do "
                "not narrow it.",
                write(
                    """
SELECT $__timeInterval(TimeUnix) AS time, @instance AS series, max(Value) AS value
FROM otel_metrics_gauge
WHERE MetricName = 'farthing.outbox.pending' AND $__timeFilter(TimeUnix)
GROUP BY time, series
ORDER BY time, series
"""
                ),
                "short",
                name="${__field.labels.series}",
                every="1m",
                wide=8,
                steps=PENDING,
            )
        )
        .with_panel(
            over_time(
                "Age of the oldest waiting charge, by gateway",
                "How far the ledger is behind each gateway, the most in each interval; the board's "
                "choices do not narrow it.",
                write(
                    """
SELECT $__timeInterval(TimeUnix) AS time, @instance AS series, max(Value) AS value
FROM otel_metrics_gauge
WHERE MetricName = 'farthing.outbox.lag_s' AND $__timeFilter(TimeUnix)
GROUP BY time, series
ORDER BY time, series
"""
                ),
                "s",
                name="${__field.labels.series}",
                every="1m",
                wide=8,
                steps=LAG_S,
            )
        )
    )


def _caches(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Caches"))
        .with_panel(
            over_time(
                "Grades from the intent cache",
                "Share of answered calls whose grade was remembered instead of worked out; calls that "
                "were not graded are left out.",
                write(
                    """
SELECT
  $__timeInterval(hour) AS time,
  toFloat64(sumIf(calls, grade_source = 'cache')) / sum(calls) AS remembered
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour) AND kind = 'inference' AND grade_source != ''
  AND @chosen
GROUP BY time
ORDER BY time
"""
                ),
                SHARE,
                every="1h",
            )
        )
        .with_panel(
            over_time(
                "Input read from the providers' caches, by tier",
                "Share of the input tokens that the provider had cached and billed at its cache price; "
                "calls of every kind count.",
                write(
                    """
SELECT
  $__timeInterval(hour) AS time,
  @tier AS series,
  toFloat64(sum(cache_read_tokens)) / sum(input_tokens) AS value
FROM charges_hourly AS c
WHERE $__dateTimeFilter(day, hour)
  AND @chosen
GROUP BY time, series
HAVING sum(input_tokens) > 0
ORDER BY time, series
"""
                ),
                SHARE,
                name="${__field.labels.series}",
                every="1h",
            )
        )
    )
