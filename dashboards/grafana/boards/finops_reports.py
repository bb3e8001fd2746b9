"""Of the board on spend: budgets, what moved, and open ends; most are queries that the statement runs too."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.grafana.parts import USD, rows
from dashboards.grafana.sql import chosen, named, report, write

USED = ((None, "green"), (80, "orange"), (100, "red"))
SAVED = ((None, "red"), (0, "green"))


def add(made: Dashboard) -> Dashboard:
    """Return the board with these panels put below the others."""
    return _open_ends(_movers(_budgets(made)))


def _budgets(made: Dashboard) -> Dashboard:
    return made.with_row(Row("Budgets")).with_panel(
        rows(
            "Budget, actual and forecast, this month",
            "The month in which the time range ends, as `farthing statement` counts it: cost so far "
            "with corrections, and the end of the month from what each day of the week usually costs; "
            "users without a budget are left out, and tier and model do not narrow it.",
            write(
                """
SELECT
  scope,
  if(scope = 'organisation', 'all', @shown) AS name,
  budget_usd AS budget,
  actual_usd AS actual,
  toFloat64(used_percent) AS used,
  forecast_usd AS forecast,
  over_usd AS over,
  method
FROM (
@report
) AS c
WHERE scope != 'department' OR @mine
ORDER BY indexOf(['organisation', 'department', 'user'], scope), actual DESC, name
LIMIT 100
""",
                shown=named("c.name"),
                mine=chosen("c.name", "department"),
                report=report("budget"),
            ),
            {"budget": USD, "actual": USD, "forecast": USD, "over": USD, "used": "percent"},
            steps={"used": USED, "over": ((None, "green"), (0, "red"))},
            wide=24,
        )
    )


def _movers(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("What moved"))
        .with_panel(
            rows(
                "Largest changes against the time before",
                "Departments and models whose cost changed most between the time range and as many days "
                "before it; unpriced calls are left out.",
                write(
                    """
WITH toInt32(dateDiff('day', @first_day, @last_day)) + 1 AS length
SELECT
  thing.1 AS what,
  thing.2 AS name,
  sumIf(cost_usd, day < @first_day) AS before,
  sumIf(cost_usd, day >= @first_day) AS now,
  ifNull(now, 0) - ifNull(before, 0) AS change
FROM (
  SELECT
    day,
    cost_usd,
    arrayJoin([('department', toString(@department)), ('model', toString(@model))]) AS thing
  FROM charges_daily AS c
  WHERE day BETWEEN @first_day - length AND @last_day
    AND @chosen
)
GROUP BY what, name
HAVING change != 0
ORDER BY abs(change) DESC, what, name
LIMIT 20
"""
                ),
                {"before": USD, "now": USD, "change": USD},
                steps={"change": ((None, "green"), (0, "orange"))},
            )
        )
        .with_panel(
            rows(
                "Days out of the ordinary, this month",
                "Days of the month in which the time range ends that cost far more or less than is "
                "usual for the department, as `farthing statement` finds them; the last day, which may "
                "not be over, is left out, and tier and model do not narrow it.",
                write(
                    """
SELECT
  day,
  @department AS department,
  cost_usd AS cost,
  usual_usd AS usual,
  score,
  driver_user AS user,
  driver_model AS model
FROM (
@report
) AS c
LIMIT 50
""",
                    report=report("anomalies"),
                ),
                {"cost": USD, "usual": USD},
            )
        )
    )


def _open_ends(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Caches and open ends"))
        .with_panel(
            rows(
                "What the providers' caches saved, this month",
                "Tokens read from and written to providers' caches against the price of fresh input, "
                "for the month in which the time range ends; unpriced calls are left out, and tier and "
                "model do not narrow it.",
                write(
                    """
SELECT
  @model AS model,
  sum(read_tokens) AS read,
  sum(read_usd) AS cost,
  sum(saved_usd) AS saved,
  sum(write_extra_usd) AS extra,
  sum(net_usd) AS net
FROM (
@report
) AS c
GROUP BY model
ORDER BY net DESC, model
LIMIT 50
""",
                    report=report("cache_effect"),
                ),
                {"cost": USD, "saved": USD, "extra": USD, "net": USD},
                steps={"net": SAVED},
                wide=9,
            )
        )
        .with_panel(
            rows(
                "Unpriced calls, by model",
                "Calls whose price is not known, and their tokens: give the model a price, and its next "
                "calls are billed.",
                write(
                    """
SELECT
  @model AS model,
  provider,
  sum(c.unpriced) AS calls,
  sum(c.input_tokens) AS input,
  sum(c.output_tokens) AS output
FROM charges_daily AS c
WHERE $__dateFilter(day) AND c.unpriced > 0 AND c.unpriced = c.calls
  AND @chosen
GROUP BY model, provider
ORDER BY calls DESC, model
LIMIT 50
"""
                ),
                {},
                wide=6,
            )
        )
        .with_panel(
            rows(
                "Corrections of closed months",
                "What came for closed months after they were closed: those on the statement of the "
                "month in which the time range ends, and those of that month's usage; tier and model do "
                "not narrow it.",
                write(
                    """
SELECT
  formatDateTime(of_month, '%Y-%m') AS of,
  formatDateTime(booked_month, '%Y-%m') AS on,
  if(booked, 'booked', 'open') AS state,
  @department AS department,
  sum(c.calls) AS calls,
  sum(c.cost_usd) AS cost,
  sum(c.unpriced) AS unpriced
FROM (
@report
) AS c
GROUP BY of, on, state, department
ORDER BY of, on, state, department
LIMIT 100
""",
                    report=report("corrections"),
                ),
                {"cost": USD},
                wide=9,
            )
        )
    )
