-- What does own hardware cost, who used it, and what did it cost to stand idle?
--
-- A node costs its hourly rate in every hour, used or not. The part in use is the time that its tier spent on
-- calls, as a share of the time it could have: hours x nodes x the calls a node serves at a time. The rest is
-- idle. Used cost goes to departments by the time their calls took. Idle cost follows the method:
--   proportional  by the same shares
--   even          to each department that used the tier, the same
--   none          to nobody: a line of its own
-- Every share is cut off at the nano-dollar, and what is left over goes, one nano-dollar each, to the largest
-- remainders. So used + idle of all lines of a tier are its hardware's cost, to the nano-dollar.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--   {as_of:Date}         today: of a month that is not over, hours and calls before today are counted
--   {idle:String}        proportional, even or none
--   {slots:UInt32}       calls that one node serves at a time, 1 or more
--
-- Columns:
--   tier           the tier that runs on the hardware
--   department     who is charged; (nobody): idle cost that no department bears
--   calls          calls that the department ran there
--   busy_hours     how long they took together, in hours, two decimals
--   busy_percent   that time as a share of what the hardware could have done, two decimals
--   used_usd       the department's part of the cost in use
--   idle_usd       its part of the idle cost
--   total_usd      both
--   charged_usd    what the statement charges for these calls, at their price per token
--   uncovered_usd  total less charged; above 0: the price per token is too low for the hardware
--   method         how idle cost was shared
--
-- Left out: tiers without a line in hardware_costs. Where calls took longer than the hardware could have (more
-- at a time than `slots`), all of it was in use.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    least(addMonths(asked, 1), {as_of:Date}) AS until,
    -- A node's line holds until its end or until the node's next line, whichever comes first.
    rates AS
    (
        SELECT
            tier,
            usd_per_hour,
            greatest(valid_from, toDateTime(asked, 'UTC')) AS begins,
            least(
                coalesce(valid_to, toDateTime(until, 'UTC')),
                toDateTime(until, 'UTC'),
                if(next_from = toDateTime(0, 'UTC'), toDateTime(until, 'UTC'), next_from)
            ) AS ends
        FROM
        (
            SELECT
                *,
                leadInFrame(valid_from, 1, toDateTime(0, 'UTC')) OVER (
                    PARTITION BY node ORDER BY valid_from ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
                ) AS next_from
            FROM hardware_costs FINAL
        )
    ),
    hardware AS
    (
        SELECT
            tier,
            sum(intDiv(toInt256(toDecimal256(usd_per_hour, 9) * 1000000000) * dateDiff('second', begins, ends), 3600)) AS cost_nano,
            toInt256(sum(dateDiff('second', begins, ends))) * 1000 * greatest({slots:UInt32}, 1) AS capacity_ms
        FROM rates
        WHERE begins < ends
        GROUP BY tier
    ),
    used AS
    (
        SELECT
            tier,
            department,
            sum(calls) AS calls,
            toInt256(sum(busy_ms)) AS busy,
            coalesce(sum(cost_usd), 0) AS charged
        FROM charges_daily
        WHERE day >= asked AND day < until
        GROUP BY tier, department
    ),
    -- Each department's weight of the used and of the idle cost; nobody's line takes what has no weight.
    weights AS
    (
        SELECT
            tier,
            department,
            nobody,
            calls,
            busy,
            charged,
            cost_nano,
            capacity_ms,
            sum(busy) OVER (PARTITION BY tier) AS all_busy,
            if(capacity_ms = 0, 0, intDiv(cost_nano * least(all_busy, capacity_ms), capacity_ms)) AS used_nano,
            cost_nano - used_nano AS idle_nano,
            multiIf({idle:String} = 'even', toInt256(calls > 0), {idle:String} = 'none', 0, busy) AS given,
            if(sum(given) OVER (PARTITION BY tier) = 0, toInt256(nobody), given) AS idle_weight
        FROM
        (
            SELECT tier, toString(department) AS department, false AS nobody, calls, busy, charged
            FROM used
            UNION ALL
            SELECT tier, '(nobody)' AS department, true AS nobody, 0 AS calls, toInt256(0) AS busy, 0 AS charged
            FROM hardware
        ) AS u
        INNER JOIN hardware AS h USING (tier)
    ),
    cut AS
    (
        SELECT
            *,
            sum(idle_weight) OVER (PARTITION BY tier) AS all_idle,
            if(all_busy = 0, 0, intDiv(used_nano * busy, all_busy)) AS used_cut,
            if(all_busy = 0, 0, used_nano * busy % all_busy) AS used_rest,
            intDiv(idle_nano * idle_weight, all_idle) AS idle_cut,
            idle_nano * idle_weight % all_idle AS idle_rest
        FROM weights
    ),
    shared AS
    (
        SELECT
            *,
            used_cut + toInt256(
                row_number() OVER (PARTITION BY tier ORDER BY used_rest DESC, department)
                    <= used_nano - sum(used_cut) OVER (PARTITION BY tier)
            ) AS used_share,
            idle_cut + toInt256(
                row_number() OVER (PARTITION BY tier ORDER BY idle_rest DESC, department)
                    <= idle_nano - sum(idle_cut) OVER (PARTITION BY tier)
            ) AS idle_share
        FROM cut
    )
SELECT
    tier,
    department,
    calls,
    toDecimal64(toDecimal128(busy, 2) / 3600000, 2) AS busy_hours,
    toDecimal64(if(capacity_ms = 0, 0, toDecimal128(busy, 2) * 100 / capacity_ms), 2) AS busy_percent,
    toDecimal128(toDecimal256(used_share, 9) / 1000000000, 9) AS used_usd,
    toDecimal128(toDecimal256(idle_share, 9) / 1000000000, 9) AS idle_usd,
    used_usd + idle_usd AS total_usd,
    charged AS charged_usd,
    total_usd - charged_usd AS uncovered_usd,
    {idle:String} AS method
FROM shared
WHERE (NOT nobody OR used_share + idle_share > 0)
    AND ({department:String} = '' OR (NOT nobody AND department = {department:String}))
ORDER BY tier, nobody, total_usd DESC, department
