-- Why does this month cost more, or less, than the month before: volume, mix or price?
--
-- Tokens are taken in segments: for each department, model and kind of token (fresh input, output, read from
-- cache, written to cache). With q tokens and a cost of c, before (0) and now (1), and Q and C their sums:
--   volume = Q1 x C0 / Q0 - C0                    the same tokens, more or fewer of them
--   mix    = (sum of q1 x c0 / q0) - Q1 x C0 / Q0   other models, more cache, longer answers
--   price  = C1 - (sum of q1 x c0 / q0)           the same tokens at another price
-- A segment that was not there before has no earlier price: its whole cost stands in place of q1 x c0 / q0, so it
-- is mix. What is known of a cost's total and of no part counts as fresh input. If a department had nothing before, all of its cost is volume. The three add up to the change exactly:
-- each of the two terms in the middle is rounded once, to the nano-dollar, and used twice.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--   {as_of:Date}         today. If it is within the month, only days before it are taken, and as many days of
--                        the month before
--
-- Columns:
--   department     who is charged
--   before_usd     what the month before cost
--   now_usd        what this month costs
--   change_usd     now_usd less before_usd
--   volume_usd     of the change: because of more or fewer tokens
--   mix_usd        of the change: because of other models and kinds of tokens
--   price_usd      of the change: because of other prices
--   before_tokens  tokens the month before, in and out
--   now_tokens     tokens this month
--
-- Left out: calls whose price is not known, with their tokens, as far as they stand on days and lines of their
-- own; corrections of closed months: what is here is every charge as it is known now.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    if(toStartOfMonth({as_of:Date}) = asked, toDayOfMonth({as_of:Date}) - 1, 31) AS last_day
SELECT
    department,
    before AS before_usd,
    now AS now_usd,
    now - before AS change_usd,
    at_old_average - before AS volume_usd,
    at_old_prices - at_old_average AS mix_usd,
    now - at_old_prices AS price_usd,
    tokens_before AS before_tokens,
    tokens_now AS now_tokens
FROM
(
    SELECT
        department,
        sum(c0) AS before,
        sum(c1) AS now,
        sum(q0) AS tokens_before,
        sum(q1) AS tokens_now,
        multiIf(
            before = 0 AND tokens_before = 0, now,
            tokens_before = 0, before,
            toDecimal128(toDecimal256(before, 9) * tokens_now / tokens_before, 9)
        ) AS at_old_average,
        if(
            before = 0 AND tokens_before = 0,
            now,
            sum(if(q0 = 0, c1, toDecimal128(toDecimal256(c0, 9) * q1 / if(q0 = 0, 1, q0), 9)))
        ) AS at_old_prices
    FROM
    (
        SELECT
            department,
            model,
            segment.1 AS token_kind,
            sumIf(segment.2, month < asked) AS q0,
            sumIf(segment.2, month = asked) AS q1,
            coalesce(sumIf(segment.3, month < asked), 0) AS c0,
            coalesce(sumIf(segment.3, month = asked), 0) AS c1
        FROM
        (
            SELECT
                toStartOfMonth(day) AS month,
                department,
                model,
                arrayJoin([
                    (
                        'input',
                        toInt64(input_tokens) - toInt64(cache_read_tokens) - toInt64(cache_write_tokens),
                        cost_usd - coalesce(cost_output_usd, 0) - coalesce(cost_cache_read_usd, 0)
                            - coalesce(cost_cache_write_usd, 0)
                    ),
                    ('output', toInt64(output_tokens), cost_output_usd),
                    ('cache read', toInt64(cache_read_tokens), cost_cache_read_usd),
                    ('cache write', toInt64(cache_write_tokens), cost_cache_write_usd)
                ]) AS segment
            FROM charges_daily
            WHERE day >= addMonths(asked, -1) AND day < addMonths(asked, 1)
                AND toDayOfMonth(day) <= last_day
                AND calls > unpriced
                AND ({department:String} = '' OR department = {department:String})
        )
        GROUP BY department, model, token_kind
    )
    GROUP BY department
)
ORDER BY abs(change_usd) DESC, department
