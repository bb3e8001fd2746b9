"""What own hardware does, what it costs used and idle, and what the clouds would have cost."""

from grafana_foundation_sdk.builders.dashboard import CustomVariable, Dashboard, Row
from grafana_foundation_sdk.models.dashboard import VariableOption

from dashboards.grafana.boards.hardware import of_the_tier
from dashboards.grafana.parts import SHARE, USD, number, over_time, rows
from dashboards.grafana.parts import board as empty_board
from dashboards.grafana.sql import chosen, report, top_over_time, write

_WHOLE = "the whole tier is taken, whatever departments are chosen"
_SLOTS = ("1", "2", "4", "8", "16", "32", "64", "128", "256")


def board() -> Dashboard:
    """Return the board."""
    made = empty_board(
        "sovereign",
        "Farthing: sovereign tier",
        "How busy own hardware is, what it costs used and idle, and what the cloud tiers cost beside "
        "it. Days are whole UTC days.",
        "now-30d/d",
        "department",
    ).with_variable(
        CustomVariable("slots")
        .label("Calls at once per node")
        .description("How many calls one node serves at a time: what it could do at most")
        .values(",".join(_SLOTS))
        .options([VariableOption(text=n, value=n, selected=n == "1") for n in _SLOTS])
        .current(VariableOption(text="1", value="1", selected=True))
        .allow_custom_value(False)
    )
    return _usage(_money(_load(_now(made))))


def _one(value: str) -> str:
    # Without hardware on the books there is nothing to say, which is not the same as 0.
    return of_the_tier("SELECT if(sum(capacity) = 0, NULL, @value) AS value\nFROM (@days)", value=value)


def _now(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("At a glance"))
        .with_panel(
            number(
                "Hardware cost",
                "What the tier's nodes cost in the time range, used or idle, by the hour in service; "
                f"{_WHOLE}.",
                _one("sum(hardware)"),
                USD,
            )
        )
        .with_panel(
            number(
                "Utilisation",
                "Time that the tier's calls took, over what its nodes could have done in their hours of "
                "service with as many calls at once as the board is set to; above 100 %, calls waited "
                f"or the setting is too low; {_WHOLE}.",
                _one("sum(busy) / nullIf(sum(capacity), 0)"),
                SHARE,
                steps=((None, "blue"), (0.7, "orange"), (1, "red")),
            )
        )
        .with_panel(
            number(
                "Idle share of the cost",
                "Part of the hardware's cost for the time it stood idle, day by day, with as many calls "
                f"at once as the board is set to; {_WHOLE}.",
                _one("toFloat64(sum(hardware - used)) / nullIf(toFloat64(sum(hardware)), 0)"),
                SHARE,
                steps=((None, "green"), (0.5, "orange"), (0.8, "red")),
            )
        )
        .with_panel(
            number(
                "Per 1,000 tokens, all in",
                "The hardware's whole cost over all input and output tokens that the tier worked on; "
                f"{_WHOLE}.",
                _one("sum(hardware) * 1000 / nullIf(sum(tokens), 0)"),
                USD,
                decimals=6,
            )
        )
        .with_panel(
            number(
                "Saved, all in",
                "What the tier's answers would have cost at the baseline model, less the hardware's "
                f"whole cost; answers without a baseline are left out, and {_WHOLE}.",
                _one("sum(baseline) - sum(hardware)"),
                USD,
                steps=((None, "red"), (0, "green")),
            )
        )
        .with_panel(
            number(
                "Answered on own hardware",
                "Share of the chosen departments' answered calls that the sovereign tier answered; "
                "gradings, summaries and failed attempts are left out.",
                write(
                    """
SELECT toFloat64(sumIf(calls, tier = 'local')) / nullIf(sum(calls), 0) AS share
FROM charges_daily AS c
WHERE $__dateFilter(day) AND kind = 'inference'
  AND @chosen_department
"""
                ),
                SHARE,
            )
        )
    )


def _load(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Load and queue"))
        .with_panel(
            over_time(
                "Utilisation, by day",
                "Time that the tier's calls took, over what its nodes could have done in their hours of "
                f"service with as many calls at once as the board is set to; {_WHOLE}, days without "
                "hardware are left out.",
                of_the_tier(
                    """
SELECT toDateTime(day, 'UTC') AS time, busy / capacity AS utilisation
FROM (@days)
WHERE capacity > 0
ORDER BY time
""",
                ),
                SHARE,
                wide=8,
                steps=((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            over_time(
                "Queue, as answers show it",
                "Time to a complete answer. The ledger holds no length of the queue (Ray Serve keeps "
                "that to itself); what can be seen is its effect: where calls wait, p95 moves away from "
                "the median. Failed and cancelled calls are left out.",
                of_the_tier(
                    """
SELECT
  $__timeInterval(hour) AS time,
  quantileExactWeighted(0.5)(latency_ms_bucket, calls) AS median,
  quantileExactWeighted(0.95)(latency_ms_bucket, calls) AS p95
FROM charges_hourly AS c
WHERE @hours AND kind = 'inference' AND outcome = 'ok'
  AND @chosen_department
GROUP BY time
ORDER BY time
""",
                ),
                "ms",
                every="1h",
                wide=8,
            )
        )
        .with_panel(
            over_time(
                "Tokens per second, by model",
                "Mean rate of input and output tokens that the tier's models worked on; calls of every "
                "kind count, and the newest hour is still filling.",
                of_the_tier(
                    """
SELECT
  $__timeInterval(hour) AS time,
  @model AS series,
  sum(input_tokens + output_tokens) / $__interval_s AS value
FROM charges_hourly AS c
WHERE @hours
  AND @chosen_department
GROUP BY time, series
ORDER BY time, series
""",
                ),
                "short",
                name="${__field.labels.series}",
                every="1h",
                stacked=True,
                wide=8,
            )
        )
    )


def _money(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Cost, used and idle"))
        .with_panel(
            over_time(
                "Hardware cost: used and idle",
                "Each day's hardware cost: the part for the time in use, with as many calls at once as "
                f"the board is set to, and the rest; {_WHOLE}.",
                of_the_tier(
                    """
SELECT toDateTime(day, 'UTC') AS time, used, hardware - used AS idle
FROM (@days)
WHERE capacity > 0
ORDER BY time
""",
                ),
                USD,
                stacked=True,
                bars=True,
            )
        )
        .with_panel(
            over_time(
                "Cost per 1,000 tokens, by tier",
                "Cost over all input and output tokens of each day: what the calls of each tier were "
                "charged, and the sovereign tier's hardware with its idle hours; unpriced calls are "
                "left out, and all of each tier is taken, whatever departments are chosen.",
                of_the_tier(
                    """
SELECT toDateTime(day, 'UTC') AS time, series, sum(cost) * 1000 / sum(tokens) AS value
FROM (
  SELECT
    day,
    concat(@tier, ', as charged') AS series,
    cost_usd AS cost,
    input_tokens + output_tokens AS tokens
  FROM charges_daily AS c
  WHERE $__dateFilter(day) AND calls > unpriced
  UNION ALL
  SELECT day, 'local, idle included' AS series, hardware AS cost, tokens
  FROM (@days)
  WHERE capacity > 0
)
GROUP BY time, series
HAVING sum(tokens) > 0
ORDER BY time, series
""",
                ),
                USD,
                name="${__field.labels.series}",
            )
        )
    )


def _usage(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Who uses it"))
        .with_panel(
            over_time(
                "Tokens on own hardware, by department",
                "Input and output tokens of each UTC day: the ten largest departments of the time "
                "range, all others as one.",
                top_over_time(
                    "@department", "sum(input_tokens + output_tokens)", ("department",), "tier = 'local'"
                ),
                "short",
                name="${__field.labels.series}",
                stacked=True,
                bars=True,
                wide=8,
            )
        )
        .with_panel(
            rows(
                "Cost by department, this month",
                "Used and idle cost of each department in the month in which the time range ends, as "
                "`farthing statement` shares it (idle cost in proportion to use), and what its calls "
                "were charged; the last day, which may not be over, is left out.",
                write(
                    """
SELECT
  @department AS department,
  calls,
  toFloat64(busy_percent) AS busy,
  used_usd AS used,
  idle_usd AS idle,
  total_usd AS total,
  charged_usd AS charged,
  uncovered_usd AS uncovered
FROM (
@report
) AS c
WHERE tier = 'local' AND @mine
LIMIT 100
""",
                    report=report("sovereign"),
                    mine=chosen("c.department", "department"),
                ),
                {
                    "busy": "percent",
                    **dict.fromkeys(("used", "idle", "total", "charged", "uncovered"), USD),
                },
                steps={"uncovered": ((None, "green"), (0, "orange"))},
                wide=16,
            )
        )
    )
