-- What did each day of the month cost, by department and tier?
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--
-- Columns:
--   day          the day, in UTC
--   department   who is charged
--   tier         local (own hardware), fast or strong
--   calls        model calls, of every kind
--   cost_usd     what they cost. NULL: none of them has a price
--   savings_usd  baseline less everything spent. NULL: not known, because prices are missing
--   unpriced     calls without a price: in no amount
--
-- Left out: days without calls; the fixed cost of own hardware; corrections of closed months: what is here is every
-- charge of the month as it is known now.
SELECT
    day,
    department,
    tier,
    sum(d.calls) AS calls,
    sum(d.cost_usd) AS cost_usd,
    sum(d.savings_usd) AS savings_usd,
    sum(d.unpriced) AS unpriced
FROM charges_daily AS d
WHERE day >= toDate(concat({month:String}, '-01'))
    AND day < addMonths(toDate(concat({month:String}, '-01')), 1)
    AND ({department:String} = '' OR department = {department:String})
GROUP BY day, department, tier
ORDER BY day, department, tier
