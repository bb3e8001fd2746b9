-- Who and what moved the bill most since the month before?
--
-- The ten largest changes, up or down, among departments, among users, among models and among agents.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--   {as_of:Date}         today. If it is within the month, only days before it are taken, and as many days of
--                        the month before
--
-- Columns:
--   what            department, user, model or agent
--   name            its name. A user's is followed by the department in brackets
--   before_usd      what it cost the month before
--   now_usd         what it costs this month
--   change_usd      now_usd less before_usd
--   change_percent  the change as a share of before_usd, one decimal; NULL if there was nothing before
--   calls_before    calls the month before
--   calls_now       calls this month
--
-- Left out: what did not change; calls whose price is not known are in the counts, not in the amounts;
-- corrections of closed months: what is here is every charge as it is known now.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    if(toStartOfMonth({as_of:Date}) = asked, toDayOfMonth({as_of:Date}) - 1, 31) AS last_day
SELECT
    thing.1 AS what,
    thing.2 AS name,
    coalesce(sumIf(cost_usd, day < asked), 0) AS before_usd,
    coalesce(sumIf(cost_usd, day >= asked), 0) AS now_usd,
    now_usd - before_usd AS change_usd,
    toDecimal64(change_usd * 100 / nullIf(before_usd, 0), 1) AS change_percent,
    sumIf(calls, day < asked) AS calls_before,
    sumIf(calls, day >= asked) AS calls_now
FROM
(
    SELECT
        day,
        calls,
        cost_usd,
        arrayJoin([
            ('department', toString(department)),
            ('user', concat(user, ' (', department, ')')),
            ('model', toString(model)),
            ('agent', toString(agent))
        ]) AS thing
    FROM charges_daily
    WHERE day >= addMonths(asked, -1) AND day < addMonths(asked, 1)
        AND toDayOfMonth(day) <= last_day
        AND ({department:String} = '' OR department = {department:String})
)
WHERE NOT (what = 'agent' AND name = '')
GROUP BY what, name
HAVING change_usd != 0
ORDER BY indexOf(['department', 'user', 'model', 'agent'], what), abs(change_usd) DESC, name
LIMIT 10 BY what
