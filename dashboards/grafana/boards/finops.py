"""What is spent, by whom, against which budget, and what Farthing saved."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.grafana.boards import finops_reports
from dashboards.grafana.boards.finops_reports import SAVED, USED
from dashboards.grafana.parts import USD, number, over_time, rows
from dashboards.grafana.parts import board as empty_board
from dashboards.grafana.sql import named, report, top_over_time, write

_UNPRICED = ((None, "green"), (1, "orange"))


def board() -> Dashboard:
    """Return the board."""
    made = empty_board(
        "finops",
        "Farthing: spend and savings",
        "What is spent, by whom and on what, against which budget, and what is saved after all of "
        "Farthing's own costs. Days are whole UTC days.",
        "now-30d/d",
        "department",
        "tier",
        "model",
    )
    return finops_reports.add(_savings(_over_time(_now(made))))


def _sum(measure: str, when: str) -> str:
    return write(
        "SELECT sum(@measure) AS value\nFROM charges_daily AS c\nWHERE @when\n  AND @chosen",
        measure=measure,
        when=when,
    )


def _now(made: Dashboard) -> Dashboard:
    unpriced = "Calls whose price is not known are in no amount; they are counted on this board as unpriced."
    return (
        made.with_row(Row("At a glance"))
        .with_panel(
            number(
                "Spend today",
                f"Cost of the last UTC day of the time range so far. {unpriced}",
                _sum("cost_usd", "day = @last_day"),
                USD,
            )
        )
        .with_panel(
            number(
                "Spend this month",
                f"Cost of the UTC month in which the time range ends, until that day. {unpriced}",
                _sum("cost_usd", "day BETWEEN toStartOfMonth(@last_day) AND @last_day"),
                USD,
            )
        )
        .with_panel(
            number(
                "Spend in the time range",
                f"Cost of all UTC days that the time range touches. {unpriced}",
                _sum("cost_usd", "$__dateFilter(day)"),
                USD,
            )
        )
        .with_panel(
            number(
                "Saved, net",
                "What the answers would have cost at the baseline model, less what they did cost, less "
                "gradings, summaries and failed attempts; calls without a price or a baseline are left "
                "out.",
                _sum("savings_usd", "$__dateFilter(day)"),
                USD,
                steps=SAVED,
            )
        )
        .with_panel(
            number(
                "Budget used this month",
                "Share of the organisation's budget that the month has used, in which the time range "
                "ends; the board's choices do not narrow it, and without a budget there is nothing to "
                "show.",
                write(
                    "SELECT toFloat64(used_percent) AS used\nFROM (\n@report\n)\n"
                    "WHERE scope = 'organisation' AND budget_usd IS NOT NULL",
                    report=report("budget"),
                ),
                "percent",
                steps=USED,
            )
        )
        .with_panel(
            number(
                "Unpriced calls",
                "Calls in the time range whose price is not known: they are in no amount on this board.",
                _sum("unpriced", "$__dateFilter(day)"),
                "short",
                steps=_UNPRICED,
            )
        )
    )


def _over_time(made: Dashboard) -> Dashboard:
    made = made.with_row(Row("Spend over time"))
    for title, column, nothing in (
        ("Spend by department", "department", "(no department)"),
        ("Spend by tier", "tier", "(no tier)"),
        ("Spend by model", "model", "(no model)"),
    ):
        made = made.with_panel(
            over_time(
                title,
                f"Cost of each UTC day by {column}: the ten largest of the time range, all others as "
                "one; unpriced calls are left out.",
                top_over_time(named(f"c.{column}", nothing), "sum(cost_usd)"),
                USD,
                name="${__field.labels.series}",
                stacked=True,
                bars=True,
                wide=8,
            )
        )
    return made


def _savings(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Savings"))
        .with_panel(
            over_time(
                "Baseline, cost and savings",
                "What the answers would have cost at the baseline model, what all calls cost, and what "
                "was saved net of Farthing's own costs; calls without a price are left out, those "
                "without a baseline count in the cost alone.",
                write(
                    """
SELECT
  toDateTime(day, 'UTC') AS time,
  sum(baseline_usd) AS `at the baseline`,
  sum(cost_usd) AS cost,
  sum(savings_usd) AS `saved, net`
FROM charges_daily AS c
WHERE $__dateFilter(day)
  AND @chosen
GROUP BY time
ORDER BY time
"""
                ),
                USD,
                wide=8,
            )
        )
        .with_panel(
            over_time(
                "What saving cost",
                "Farthing's own costs: gradings by a judge, summaries, and attempts that failed or were "
                "not good enough; unpriced ones are left out.",
                write(
                    """
SELECT
  toDateTime(day, 'UTC') AS time,
  transform(
    kind, ['grading', 'summary', 'failed_attempt'], ['gradings', 'summaries', 'failed attempts'], kind
  ) AS series,
  sum(cost_usd) AS value
FROM charges_daily AS c
WHERE $__dateFilter(day) AND kind != 'inference'
  AND @chosen
GROUP BY time, series
ORDER BY time, series
"""
                ),
                USD,
                name="${__field.labels.series}",
                stacked=True,
                bars=True,
                wide=8,
            )
        )
        .with_panel(
            rows(
                "Savings by department, this month",
                "The month in which the time range ends, as `farthing statement` shows its savings; "
                "tier and model do not narrow it, and corrections of closed months are left out.",
                write(
                    """
SELECT
  @department AS department,
  baseline_usd AS baseline,
  answers_usd AS answers,
  toFloat64(savings_percent) AS percent,
  savings_usd AS saved
FROM (
@report
) AS c
LIMIT 50
""",
                    report=report("savings"),
                ),
                {"baseline": USD, "answers": USD, "saved": USD, "percent": "percent"},
                steps={"saved": SAVED},
                wide=8,
            )
        )
    )
