-- What came for closed months after they were closed?
--
-- A correction is what a closed month's lines would be now, less all that was booked for it. The statement of a
-- closed month never changes: the correction is on that of the month in which it is booked, and until then on that
-- of the first month after its own that is still open.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM: corrections of its usage, and those on its statement
--   {department:String}  this department alone; empty: all
--
-- Columns, one line for each correction of a department, cost centre, user, tier and model:
--   of_month          the closed month whose usage it is
--   booked_month      the month whose statement shows it
--   booked            true: on a closed statement; false: still growing, and booked when booked_month is closed
--   department        who is charged
--   cost_centre       the department's finance code
--   user              who asked
--   tier              local, fast or strong
--   model             the model that answered
--   calls             model calls more (or fewer) than were on the statement
--   input_tokens      tokens sent to the model
--   output_tokens     tokens the model wrote
--   cached_tokens     of input_tokens: those read from a cache
--   cost_usd          what they cost. NULL: none of them has a price
--   baseline_usd      what the answers would have cost at the baseline model
--   savings_usd       what they saved. NULL: not known, because prices are missing
--   unpriced          calls without a price: in no amount
--   without_baseline  calls with a price but no baseline
--
-- Left out: nothing.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    (SELECT groupArray(month) FROM closed_months) AS closed,
    -- A correction is a difference, in which what is not known counts as 0.
    (all_known, known, amount) -> if(NOT all_known AND known = 0 AND amount = 0, NULL, amount) AS if_known
SELECT
    of_month,
    booked_month,
    booked,
    department,
    cost_centre,
    user,
    tier,
    model,
    calls,
    input_tokens,
    output_tokens,
    cached_tokens,
    if_known(unpriced = 0, calls - unpriced, l.cost_usd) AS cost_usd,
    if_known(unpriced + without_baseline = 0, calls - unpriced - without_baseline, l.baseline_usd) AS baseline_usd,
    if_known(unpriced + without_baseline = 0, calls - unpriced - without_baseline, l.savings_usd) AS savings_usd,
    unpriced,
    without_baseline
FROM
(
    SELECT
        month AS of_month,
        booked_month,
        true AS booked,
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
        without_baseline
    FROM closed_lines
    WHERE entry = 'correction' AND asked IN (month, booked_month)
    UNION ALL
    SELECT
        month AS of_month,
        arrayFirst(m -> NOT has(closed, m), arrayMap(n -> addMonths(month, n), range(1, length(closed) + 2))) AS booked_month,
        false AS booked,
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
        without_baseline
    FROM statement_corrections
    WHERE asked IN (month, booked_month)
) AS l
WHERE {department:String} = '' OR department = {department:String}
ORDER BY of_month, booked_month, department, cost_centre, user, tier, model
