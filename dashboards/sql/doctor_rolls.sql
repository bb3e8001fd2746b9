-- Which days that are over are summed from their charges at every query, because no sums of them are in force?
-- Exact all the same, but slow.
--
--   days         how many
--   first, last  the first and last of them
SELECT
    count() AS days,
    min(day) AS first,
    max(day) AS last
FROM
(
    SELECT DISTINCT day
    FROM charge_arrivals
    WHERE day < toDate(now('UTC'))
)
WHERE day NOT IN (SELECT day FROM rolls_in_force WHERE slot = -1)
