-- Which days of the month were out of the ordinary for a department?
--
-- A day's cost is compared with what is usual for the department: the median of its days in this month and the
-- two before it, working days and weekends apart. The distance is measured in usual spreads (the median of the
-- days' distances from the median), which a few wild days do not move:
--   score = 0.6745 x (cost - median) / spread
-- and a day is shown if the score is above 3.5 or below -3.5 (Iglewicz and Hoaglin, 1993). Where more than half of
-- the days cost exactly the same, the spread is 0 and 1.2533 x the mean distance is taken, without the 0.6745.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--   {as_of:Date}         today: it and later days are not looked at, since they are not over
--
-- Columns:
--   day               the day, in UTC
--   department        who is charged
--   cost_usd          what it cost on that day
--   usual_usd         what is usual: the median (of an even number of days the lower one in the middle)
--   spread_usd        the usual spread around it
--   excess_usd        cost_usd less usual_usd: the days on which it is largest come first
--   score             how far out the day is, one decimal
--   calls             calls on that day
--   driver_user       who cost most on that day
--   driver_model      the model on which they did
--   driver_usd        what that was
--
-- Left out: departments with fewer than 10 such days since their first charge; calls whose price is not known.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    addMonths(asked, -2) AS since,
    least(addMonths(asked, 1), {as_of:Date}) AS until,
    used AS
    (
        SELECT
            day,
            department,
            coalesce(sum(cost_usd), 0) AS cost,
            sum(calls) AS calls
        FROM charges_daily
        WHERE day >= since AND day < until
            AND ({department:String} = '' OR department = {department:String})
        GROUP BY day, department
    ),
    -- Days without a charge count too: they cost 0.
    days AS
    (
        SELECT
            department,
            addDays(first_day, arrayJoin(range(toUInt32(dateDiff('day', first_day, until))))) AS day,
            toDayOfWeek(day) > 5 AS weekend
        FROM
        (
            SELECT department, min(day) AS first_day
            FROM used
            GROUP BY department
        )
    ),
    series AS
    (
        SELECT
            d.department AS department,
            d.day AS day,
            d.weekend AS weekend,
            u.cost AS cost,
            u.calls AS calls
        FROM days AS d
        LEFT JOIN used AS u ON u.department = d.department AND u.day = d.day
    ),
    usual AS
    (
        SELECT
            department,
            weekend,
            quantileExactLow(0.5)(distance) AS spread,
            any(median) AS median,
            sum(distance) / count() AS mean_distance
        FROM
        (
            SELECT
                s.department AS department,
                s.weekend AS weekend,
                m.median AS median,
                abs(s.cost - m.median) AS distance
            FROM series AS s
            INNER JOIN
            (
                SELECT
                    department,
                    weekend,
                    quantileExactLow(0.5)(cost) AS median
                FROM series
                GROUP BY department, weekend
                HAVING count() >= 10
            ) AS m ON m.department = s.department AND m.weekend = s.weekend
        )
        GROUP BY department, weekend
    ),
    drivers AS
    (
        SELECT
            day,
            department,
            argMax(tuple(user, model, cost), tuple(cost, user, model)) AS top
        FROM
        (
            SELECT
                day,
                department,
                user,
                model,
                coalesce(sum(cost_usd), 0) AS cost
            FROM charges_daily
            WHERE day >= asked AND day < until
                AND ({department:String} = '' OR department = {department:String})
            GROUP BY day, department, user, model
        )
        GROUP BY day, department
    )
SELECT
    s.day AS day,
    s.department AS department,
    s.cost AS cost_usd,
    u.median AS usual_usd,
    u.spread AS spread_usd,
    s.cost - u.median AS excess_usd,
    round(
        if(
            u.spread = 0,
            toFloat64(s.cost - u.median) / (1.2533 * toFloat64(u.mean_distance)),
            0.6745 * toFloat64(s.cost - u.median) / toFloat64(u.spread)
        ),
        1
    ) AS score,
    s.calls AS calls,
    d.top.1 AS driver_user,
    d.top.2 AS driver_model,
    d.top.3 AS driver_usd
FROM series AS s
INNER JOIN usual AS u ON u.department = s.department AND u.weekend = s.weekend
LEFT JOIN drivers AS d ON d.day = s.day AND d.department = s.department
WHERE s.day >= asked
    AND u.mean_distance > 0
    AND abs(score) > 3.5
ORDER BY abs(excess_usd) DESC, day, department
