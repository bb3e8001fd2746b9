-- Which closed months got charges after they were closed? One row for each.
--
-- They are in no closed statement yet: closing the next month books them there, as corrections.
--
--   month      the closed month
--   lines      statement lines that differ
--   calls      calls more than were closed
--   cost_usd   USD more than were closed
SELECT
    month,
    count() AS lines,
    sum(calls) AS calls,
    sum(cost_usd) AS cost_usd
FROM statement_corrections
GROUP BY month
ORDER BY month
