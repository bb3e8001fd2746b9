-- How many FOCUS rows has each day of a month at most, and what is left out of them?
--
-- Asked before an export, to write it in portions.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM
--   {department:String}  this department alone; empty: all
--
-- Columns:
--   day       the day of the calls, in UTC
--   rows      at most so many rows: each of four kinds of token of each group is one
--   unpriced  calls without a price, which have no row
--   models    the models of those calls
--
-- Left out: days without calls.
WITH toDate(concat({month:String}, '-01')) AS asked
SELECT
    day,
    4 * uniqExact(cityHash64(c.department, c.cost_centre, c.user, c.agent, c.tier, c.model, c.provider, c.kind, c.grade, c.cost_source, c.price_version, c.stand_in)) AS rows,
    sum(c.unpriced) AS unpriced,
    arraySort(groupUniqArrayIf(toString(c.model), c.unpriced > 0)) AS models
FROM charges_daily AS c
WHERE day BETWEEN asked AND toLastDayOfMonth(asked)
    AND ({department:String} = '' OR department = {department:String})
GROUP BY day
ORDER BY day
