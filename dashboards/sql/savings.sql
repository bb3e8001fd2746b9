-- What was saved against the baseline model, after everything that saving cost?
--
-- A department's savings are what its answers would have cost at the baseline model, less what they did cost,
-- less all that was spent to get there: gradings, summaries and attempts whose answer was not good enough.
-- So gross_usd - gradings_usd - summaries_usd - failed_usd = savings_usd, to the nano-dollar.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--
-- Columns:
--   department         who is charged
--   baseline_models    the model or models that answers were compared with
--   answers            answered calls that have a price and a baseline
--   baseline_usd       what they would have cost at the baseline model
--   answers_usd        what they cost
--   gross_usd          baseline_usd less answers_usd
--   gradings_usd       what it cost to grade tasks
--   summaries_usd      what it cost to summarise long conversations
--   failed_usd         what attempts cost that answered nobody
--   savings_usd        what is left: the savings
--   savings_percent    savings_usd as a share of baseline_usd, two decimals; NULL without a baseline
--   without_baseline   answered calls with a price but no baseline: in no amount here but the next
--   not_compared_usd   what those cost: on the statement, but neither saved nor lost
--   unpriced           calls whose price is not known: in no amount
--
-- Left out: the fixed cost of own hardware (see the report `sovereign`), and corrections of closed months (see
-- `corrections`): what is here is every charge of the month as it is known now.
SELECT
    department,
    arrayStringConcat(
        arraySort(groupUniqArrayIf(toString(baseline_model), baseline_model != '' AND kind = 'inference')), ', '
    ) AS baseline_models,
    toUInt64(sumIf(d.calls - d.unpriced - d.without_baseline, kind = 'inference')) AS answers,
    coalesce(sumIf(d.baseline_usd, kind = 'inference'), 0) AS baseline_usd,
    baseline_usd - gross_usd AS answers_usd,
    coalesce(sumIf(d.savings_usd, kind = 'inference'), 0) AS gross_usd,
    coalesce(sumIf(d.cost_usd, kind = 'grading'), 0) AS gradings_usd,
    coalesce(sumIf(d.cost_usd, kind = 'summary'), 0) AS summaries_usd,
    coalesce(sumIf(d.cost_usd, kind NOT IN ('inference', 'grading', 'summary')), 0) AS failed_usd,
    gross_usd - gradings_usd - summaries_usd - failed_usd AS savings_usd,
    toDecimal64(savings_usd * 100 / nullIf(baseline_usd, 0), 2) AS savings_percent,
    sum(d.without_baseline) AS without_baseline,
    coalesce(sumIf(d.cost_usd, kind = 'inference'), 0) - answers_usd AS not_compared_usd,
    sum(d.unpriced) AS unpriced
FROM charges_daily AS d
WHERE day >= toDate(concat({month:String}, '-01'))
    AND day < addMonths(toDate(concat({month:String}, '-01')), 1)
    AND ({department:String} = '' OR department = {department:String})
GROUP BY department
ORDER BY savings_usd DESC, department
