-- What does one answer, one session, one agent's session and one task cost?
--
-- A session is one conversation or agent loop of one key; a task is what the caller tagged as one (the span
-- attribute farthing.task), and its cost is that of all calls with the tag, failed attempts included.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--
-- Columns:
--   department    who is charged
--   unit          answer, session, task or agent
--   name          the agent's name; empty for the other units
--   units         how many: answered calls, sessions, tasks; for an agent the sessions it had
--   calls         calls behind them, of every kind: all of the department, those with a task tag, those of the agent
--   cost_usd      what those calls cost
--   usd_per_unit  cost_usd by units, cut off after nine decimals; NULL if there are none
--
-- Amounts are exact. So is the number of tasks; sessions are counted by a sketch, which for many thousands of them
-- is off by less than 1 %.
--
-- Left out: calls whose price is not known are counted but cost nothing here. Calls without a task tag are in no
-- `task` line, and calls without an agent's name in no `agent` line, so these cost less than the department.
SELECT
    department,
    unit,
    name,
    units,
    calls,
    cost_usd,
    cost_usd / nullIf(units, 0) AS usd_per_unit
FROM
(
    SELECT
        department,
        thing.1 AS unit,
        thing.2 AS name,
        if(unit = 'answer', sumIf(d.calls, kind = 'inference'), uniqCombined64Merge(sessions)) AS units,
        sum(d.calls) AS calls,
        coalesce(sum(d.cost_usd), 0) AS cost_usd
    FROM
    (
        SELECT
            *,
            arrayJoin(arrayConcat(
                [('answer', ''), ('session', '')],
                if(agent = '', [], [('agent', toString(agent))])
            )) AS thing
        FROM charges_daily
        WHERE day >= toDate(concat({month:String}, '-01'))
            AND day < addMonths(toDate(concat({month:String}, '-01')), 1)
            AND ({department:String} = '' OR department = {department:String})
    ) AS d
    GROUP BY department, unit, name
    UNION ALL
    -- The tag is on single calls, so these are read one by one.
    SELECT
        department,
        'task' AS unit,
        '' AS name,
        uniqExact(task) AS units,
        count() AS calls,
        coalesce(sum(cost_total), 0) AS cost_usd
    FROM charges_final
    WHERE task != ''
        AND day >= toDate(concat({month:String}, '-01'))
        AND day < addMonths(toDate(concat({month:String}, '-01')), 1)
        AND ({department:String} = '' OR department = {department:String})
    GROUP BY department
)
ORDER BY department, indexOf(['answer', 'session', 'task', 'agent'], unit), cost_usd DESC, name
