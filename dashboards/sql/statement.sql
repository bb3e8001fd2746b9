-- What does the month cost, and who is charged for it?
--
-- An open month shows its charges as they are known now. A closed month shows the lines it was closed with, for
-- ever. What arrives for a closed month later is a line of its own, entry `correction`, on the statement of the
-- month in which it is booked; until then on that of the first month after its own that is still open.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--
-- Columns, one line for each department, cost centre, user, tier and model:
--   entry             usage, or correction: of a month that was closed before
--   of_month          the month whose usage it is: the one asked for, or of a correction an earlier one
--   department        who is charged
--   cost_centre       the department's finance code
--   user              who asked
--   tier              local (own hardware), fast or strong
--   model             the model that answered
--   calls             model calls, of every kind: answers, gradings, summaries and failed attempts
--   input_tokens      tokens sent to the model
--   output_tokens     tokens the model wrote
--   cached_tokens     of input_tokens: those read from a cache
--   cost_usd          what the calls cost. NULL: none of them has a price
--   baseline_usd      what the answers would have cost at the baseline model
--   savings_usd       baseline less everything spent, gradings and failed attempts included. NULL: not known,
--                     because prices are missing
--   unpriced          calls without a price: in no amount of this line, so an amount beside them is too low
--   without_baseline  calls with a price but no baseline: in cost_usd, not in baseline_usd or savings_usd
--   stand_in          true if a small local model answered under the model's name (a demo without keys)
--
-- Left out: the fixed cost of own hardware. The local tier's calls carry only their price per token.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    (SELECT groupArray(month) FROM closed_months) AS closed,
    -- A correction is a difference, in which what is not known counts as 0.
    (all_known, known, amount) -> if(NOT all_known AND known = 0 AND amount = 0, NULL, amount) AS if_known
SELECT
    entry,
    of_month,
    department,
    cost_centre,
    user,
    tier,
    model,
    calls,
    input_tokens,
    output_tokens,
    cached_tokens,
    if_known(entry = 'usage' OR unpriced = 0, calls - unpriced, l.cost_usd) AS cost_usd,
    if_known(entry = 'usage' OR unpriced + without_baseline = 0, calls - unpriced - without_baseline, l.baseline_usd) AS baseline_usd,
    if_known(entry = 'usage' OR unpriced + without_baseline = 0, calls - unpriced - without_baseline, l.savings_usd) AS savings_usd,
    unpriced,
    without_baseline,
    stand_in
FROM
(
    SELECT
        'usage' AS entry,
        month AS of_month,
        department,
        cost_centre,
        user,
        tier,
        model,
        toInt64(calls) AS calls,
        toInt64(input_tokens) AS input_tokens,
        toInt64(output_tokens) AS output_tokens,
        toInt64(cached_tokens) AS cached_tokens,
        cost_usd,
        baseline_usd,
        savings_usd,
        toInt64(unpriced) AS unpriced,
        toInt64(without_baseline) AS without_baseline,
        stand_in
    FROM statement_lines
    WHERE month = asked AND NOT has(closed, asked)
    UNION ALL
    SELECT
        if(entry = 'close', 'usage', 'correction') AS entry,
        month AS of_month,
        department,
        cost_centre,
        user,
        tier,
        model,
        calls,
        input_tokens,
        output_tokens,
        cached_tokens,
        cost_usd,
        baseline_usd,
        savings_usd,
        unpriced,
        without_baseline,
        stand_in
    FROM closed_lines
    WHERE booked_month = asked
    UNION ALL
    SELECT
        'correction' AS entry,
        month AS of_month,
        department,
        cost_centre,
        user,
        tier,
        model,
        calls,
        input_tokens,
        output_tokens,
        cached_tokens,
        cost_usd,
        baseline_usd,
        savings_usd,
        unpriced,
        without_baseline,
        stand_in
    FROM statement_corrections
    WHERE asked = arrayFirst(m -> NOT has(closed, m), arrayMap(n -> addMonths(month, n), range(1, length(closed) + 2)))
) AS l
WHERE {department:String} = '' OR department = {department:String}
ORDER BY department, entry DESC, of_month, cost_centre, user, tier, model
