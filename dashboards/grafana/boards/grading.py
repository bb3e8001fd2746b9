"""How tasks are graded, by what, how sure, and what became of it."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.grafana.parts import SHARE, USD, bars, number, over_time, rows
from dashboards.grafana.parts import board as empty_board
from dashboards.grafana.sql import histogram_over_time, write

_GRADED = "$__dateTimeFilter(day, hour) AND kind = 'inference' AND grade != ''\n  AND @chosen"
# The tier that a grade asks for, as Farthing maps them by default.
_ASKED = "transform(grade, ['LOW', 'MEDIUM', 'HIGH'], ['local', 'fast', 'strong'], '')"


def board() -> Dashboard:
    """Return the board."""
    made = empty_board(
        "grading",
        "Farthing: grading",
        "How tasks are graded, by what, how surely, and whether the tier that answered is the one asked for.",
        "now-7d",
        "department",
        "tier",
        "model",
    )
    return _work(_actual(_grades(made)))


def _grades(made: Dashboard) -> Dashboard:
    made = made.with_row(Row("Grades"))
    for grade in ("LOW", "MEDIUM", "HIGH"):
        made = made.with_panel(
            number(
                f"Graded {grade}",
                f"Share of the answered calls that were graded {grade}; calls that were not graded are "
                "left out.",
                write(
                    "SELECT toFloat64(sumIf(calls, grade = '@grade')) / nullIf(sum(calls), 0) AS share\n"
                    "FROM charges_hourly AS c\nWHERE @graded",
                    grade=grade,
                    graded=_GRADED,
                ),
                SHARE,
            )
        )
    return (
        made.with_panel(
            number(
                "Answered by the tier asked for",
                "Share of graded calls that the grade's own tier answered (LOW: local, MEDIUM: fast, "
                "HIGH: strong); in shadow mode the client's choice answers, so this says how often both "
                "agree.",
                write(
                    "SELECT toFloat64(sumIf(calls, tier = @asked)) / nullIf(sum(calls), 0) AS share\n"
                    "FROM charges_hourly AS c\nWHERE @graded",
                    asked=_ASKED,
                    graded=_GRADED,
                ),
                SHARE,
                wide=6,
            )
        )
        .with_panel(
            number(
                "Paid for grading",
                "What judges cost that graded for us, in the whole days of the time range; gradings "
                "without a known price are left out.",
                write(
                    "SELECT sum(cost_usd) AS cost\nFROM charges_daily AS c\n"
                    "WHERE $__dateFilter(day) AND kind = 'grading'\n  AND @chosen"
                ),
                USD,
                wide=6,
            )
        )
        .with_panel(
            over_time(
                "Share of each grade",
                "Answered calls by their grade, stacked to 100 %; calls that were not graded are left out.",
                write(
                    "SELECT $__timeInterval(hour) AS time, grade AS series, sum(calls) AS value\n"
                    "FROM charges_hourly AS c\nWHERE @graded\nGROUP BY time, series\nORDER BY time, series",
                    graded=_GRADED,
                ),
                "short",
                name="${__field.labels.series}",
                every="1h",
                whole=True,
                bars=True,
            )
        )
        .with_panel(
            over_time(
                "Where grades come from",
                "Answered calls by what graded them: the intent cache, the learned grader, the judge or "
                "a rule; stacked to 100 %, calls that were not graded are left out.",
                write(
                    "SELECT $__timeInterval(hour) AS time, grade_source AS series, sum(calls) AS value\n"
                    "FROM charges_hourly AS c\nWHERE @graded\nGROUP BY time, series\nORDER BY time, series",
                    graded=_GRADED,
                ),
                "short",
                name="${__field.labels.series}",
                every="1h",
                whole=True,
                bars=True,
            )
        )
        .with_panel(
            bars(
                "Scores on the last day",
                "How many answered calls had which score (0: surely easy, 1: surely hard) on the last "
                "day of the time range, by the grade given; near the border of two grades the grader is "
                "least sure. Other days are left out.",
                write(
                    """
WITH toUInt8(least(greatest(floor(ifNull(grade_score, 0) * 10), 0), 9)) AS tenth
SELECT
  concat('0.', toString(tenth), ' to ', if(tenth = 9, '1.0', concat('0.', toString(tenth + 1)))) AS score,
  countIf(grade = 'LOW') AS LOW,
  countIf(grade = 'MEDIUM') AS MEDIUM,
  countIf(grade = 'HIGH') AS HIGH
FROM charges_final AS c
WHERE day = @last_day AND kind = 'inference' AND grade != '' AND isFinite(grade_score)
  AND @chosen
GROUP BY score
ORDER BY score
"""
                ),
                "short",
                "score",
                stacked=True,
            )
        )
    )


def _actual(made: Dashboard) -> Dashboard:
    return (
        made.with_panel(
            rows(
                "Grade against the tier that answered",
                "Every pair of grade and tier in the time range; where they differ the call climbed, "
                "fell back to a cheaper tier, or (in shadow mode) the client chose. The cost leaves "
                "unpriced calls out.",
                write(
                    """
SELECT
  grade,
  @tier AS tier,
  if(tier = @asked, 'as graded', 'otherwise') AS answered,
  sum(c.calls) AS calls,
  toFloat64(sum(c.calls)) / sum(sum(c.calls)) OVER (PARTITION BY grade) AS share_of_grade,
  sum(cost_usd) AS cost,
  sum(savings_usd) AS saved
FROM charges_hourly AS c
WHERE @graded
GROUP BY grade, tier
ORDER BY indexOf(['LOW', 'MEDIUM', 'HIGH'], grade), tier
""",
                    asked=_ASKED,
                    graded=_GRADED,
                ),
                {"share_of_grade": SHARE, "cost": USD, "saved": USD},
            )
        )
        .with_row(Row("What became of it"))
        .with_panel(
            over_time(
                "Climbs, by grade",
                "Share of a grade's answered calls that climbed: a lower tier had tried and failed, or "
                "was not good enough.",
                write(
                    """
SELECT
  $__timeInterval(hour) AS time,
  grade AS series,
  toFloat64(sumIf(calls, climbed_from != '')) / sum(calls) AS value
FROM charges_hourly AS c
WHERE @graded
GROUP BY time, series
ORDER BY time, series
""",
                    graded=_GRADED,
                ),
                SHARE,
                name="${__field.labels.series}",
                every="1h",
                wide=8,
            )
        )
        .with_panel(
            over_time(
                "Cost per answer, by grade",
                "Mean cost of an answered call by its grade and day; unpriced calls and Farthing's own "
                "gradings are left out.",
                write(
                    """
SELECT
  toDateTime(day, 'UTC') AS time,
  grade AS series,
  sum(cost_usd) / (sum(calls) - sum(unpriced)) AS value
FROM charges_daily AS c
WHERE $__dateFilter(day) AND kind = 'inference' AND grade != ''
  AND @chosen
GROUP BY time, series
HAVING sum(calls) > sum(unpriced)
ORDER BY time, series
"""
                ),
                USD,
                name="${__field.labels.series}",
                wide=8,
            )
        )
        .with_panel(
            rows(
                "Sources of grades",
                "What each source of grades led to over the time range; climbs are answers that needed "
                "a higher tier than first tried.",
                write(
                    """
SELECT
  grade_source AS source,
  sum(c.calls) AS calls,
  toFloat64(sumIf(c.calls, climbed_from != '')) / sum(c.calls) AS climbed,
  toFloat64(sumIf(c.calls, tier = @asked)) / sum(c.calls) AS as_graded,
  sum(savings_usd) AS saved
FROM charges_hourly AS c
WHERE @graded
GROUP BY source
ORDER BY calls DESC, source
""",
                    asked=_ASKED,
                    graded=_GRADED,
                ),
                {"climbed": SHARE, "as_graded": SHARE, "saved": USD},
                wide=8,
            )
        )
    )


def _work(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("The grader at work"))
        .with_panel(
            over_time(
                "Time to a grade, p95 by source",
                "19 of 20 grades were there within this time, the judge's call included; interpolated "
                "from a histogram, and the board's choices do not narrow it.",
                histogram_over_time(
                    "farthing.grade.duration", "Attributes['farthing.grade.source']", {"value": 0.95}
                ),
                "s",
                name="${__field.labels.series}",
                every="1m",
                wide=8,
            )
        )
        .with_panel(
            over_time(
                "Intent cache",
                "Tasks graded, by what the intent cache knew: the same ask, a near one, none, or "
                "nothing to look for; the board's choices do not narrow it.",
                write(
                    """
SELECT $__timeInterval(at) AS time, cache AS series, sum(grown) AS value
FROM (
  SELECT TimeUnix AS at, Attributes['farthing.grade.cache'] AS cache, @growth AS grown
  FROM otel_metrics_sum
  WHERE MetricName = 'farthing.grades' AND @metric_time
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
        .with_panel(
            over_time(
                "Grading time that the cache saved",
                "Time that remembered grades would have taken, added up over each interval; the board's "
                "choices do not narrow it.",
                write(
                    """
SELECT $__timeInterval(at) AS time, sum(grown) AS saved
FROM (
  SELECT TimeUnix AS at, @growth AS grown
  FROM otel_metrics_sum
  WHERE MetricName = 'farthing.grade.saved' AND @metric_time
  WINDOW series AS @series
)
WHERE at >= $__fromTime
GROUP BY time
ORDER BY time
"""
                ),
                "s",
                every="1m",
                wide=8,
            )
        )
    )
