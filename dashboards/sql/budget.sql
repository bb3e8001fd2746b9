-- Where does the month stand against its budgets, and where will it end?
--
-- The forecast takes the cost until today and adds, for each day that is left, what that day of the week cost on
-- average in the 28 days before today (`weekday`). With fewer than 14 days since the first charge of the last 91
-- days, every day left counts as the average day since then (`average`). A day that has cost more already, such as today, counts as
-- that. A month that is over needs no forecast (`final`).
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone, without its users and the organisation; empty: all
--   {as_of:Date}         today
--
-- Columns:
--   scope             organisation, department or user
--   name              its name; empty for the organisation
--   budget_usd        the month's budget. NULL: there is none
--   actual_usd        what the statement of the month shows, corrections included
--   used_percent      actual_usd as a share of the budget, one decimal
--   left_usd          budget less actual; below 0: overspent
--   forecast_usd      what the month is expected to end with
--   over_usd          forecast less budget; above 0: it will not do
--   method            weekday, average or final: how the forecast was made
--   days_left         days that the forecast adds
--
-- Left out: users without a budget; calls whose price is not known.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    addMonths(asked, 1) AS month_end,
    least(greatest({as_of:Date}, asked), month_end) AS today,
    (SELECT groupArray(month) FROM closed_months) AS closed,
    budgeted AS
    (
        SELECT
            toString(scope) AS scope,
            name,
            toNullable(amount_usd) AS amount_usd
        FROM budgets FINAL
        WHERE month = asked
    ),
    shown AS
    (
        SELECT
            department,
            user,
            cost_usd
        FROM statement_lines
        WHERE month = asked AND NOT has(closed, asked)
        UNION ALL
        SELECT
            department,
            user,
            cost_usd
        FROM closed_lines
        WHERE booked_month = asked
        UNION ALL
        SELECT
            department,
            user,
            cost_usd
        FROM statement_corrections
        WHERE asked = arrayFirst(m -> NOT has(closed, m), arrayMap(n -> addMonths(month, n), range(1, length(closed) + 2)))
    ),
    actual AS
    (
        SELECT
            place.1 AS scope,
            place.2 AS name,
            coalesce(sum(cost_usd), 0) AS actual
        FROM
        (
            SELECT
                arrayJoin([
                    ('organisation', ''), ('department', toString(department)), ('user', toString(user))
                ]) AS place,
                cost_usd
            FROM shown
        )
        GROUP BY scope, name
    ),
    -- What each day cost: the 91 before today, and those from today on so far.
    daily AS
    (
        SELECT
            place.1 AS scope,
            place.2 AS name,
            day,
            coalesce(sum(cost_usd), 0) AS cost
        FROM
        (
            SELECT
                arrayJoin([
                    ('organisation', ''), ('department', toString(department)), ('user', toString(user))
                ]) AS place,
                day,
                cost_usd
            FROM charges_daily
            WHERE day >= today - 91 AND day < month_end AND today < month_end
        )
        GROUP BY scope, name, day
    ),
    first_days AS
    (
        SELECT
            scope,
            name,
            greatest(least(min(day), today), today - 28) AS began,
            toUInt32(today - began) AS days,
            sumIf(cost, day < today) / greatest(days, 1) AS average,
            mapFromArrays(groupArray(day), groupArray(cost)) AS costs,
            arrayMap(
                w ->
                    arraySum(arrayMap(n -> if(toDayOfWeek(began + n) = w, costs[began + n], 0), range(days)))
                    / greatest(length(arrayFilter(n -> toDayOfWeek(began + n) = w, range(days))), 1),
                range(1, 8)
            ) AS by_weekday
        FROM daily
        GROUP BY scope, name
    ),
    forecast AS
    (
        SELECT
            scope,
            name,
            if(days >= 14, 'weekday', 'average') AS method,
            arraySum(
                arrayMap(
                    n -> greatest(
                        if(days >= 14, by_weekday[toDayOfWeek(today + n)], average) - costs[today + n], 0
                    ),
                    range(toUInt32(month_end - today))
                )
            ) AS ahead
        FROM first_days
        WHERE today < month_end
    )
SELECT
    a.scope AS scope,
    a.name AS name,
    b.amount_usd AS budget_usd,
    coalesce(a.actual, 0) AS actual_usd,
    toDecimal64(actual_usd * 100 / nullIf(budget_usd, 0), 1) AS used_percent,
    budget_usd - actual_usd AS left_usd,
    toDecimal128(actual_usd + coalesce(f.ahead, 0), 9) AS forecast_usd,
    forecast_usd - budget_usd AS over_usd,
    assumeNotNull(multiIf(today >= month_end, 'final', coalesce(f.method, '') = '', 'average', f.method)) AS method,
    toUInt8(month_end - today) AS days_left
FROM
(
    SELECT
        scope,
        name,
        sum(actual) AS actual
    FROM
    (
        SELECT scope, name, actual FROM actual
        UNION ALL
        SELECT scope, name, 0 AS actual FROM budgeted
        UNION ALL
        SELECT scope, name, 0 AS actual FROM forecast
    )
    GROUP BY scope, name
) AS a
LEFT JOIN budgeted AS b ON b.scope = a.scope AND b.name = a.name
LEFT JOIN forecast AS f ON f.scope = a.scope AND f.name = a.name
WHERE (a.scope != 'user' OR b.amount_usd IS NOT NULL)
    AND ({department:String} = '' OR (a.scope = 'department' AND a.name = {department:String}))
ORDER BY indexOf(['organisation', 'department', 'user'], scope), name
