-- What did reading tokens from the providers' caches save, and what did writing them there cost more?
--
-- A token read from a cache is compared with the model's price of a fresh input token, and so is a token written
-- to a cache. The price is that of the price book: of the version that the charge was made with, or else the one
-- that held on the day; where the book has neither, what the model's fresh input tokens cost on average in the
-- same month and version.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--
-- Columns:
--   department       who is charged
--   model            the model that answered
--   read_tokens      input tokens read from a cache
--   read_percent     their share of all input tokens, one decimal
--   read_usd         what they cost
--   read_full_usd    what they would have cost as fresh input; NULL: no price is known
--   saved_usd        read_full_usd less read_usd
--   write_tokens     input tokens written to a cache
--   write_usd        what they cost
--   write_extra_usd  what they cost beyond fresh input
--   net_usd          saved_usd less write_extra_usd
--   price_source     price book, or average: where the price of a fresh token comes from
--
-- Left out: models that neither read from a cache nor wrote to one; calls whose price is not known.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    used AS
    (
        SELECT
            department,
            model,
            price_version,
            day,
            sum(input_tokens) AS input,
            sum(cache_read_tokens) AS read,
            sum(cache_write_tokens) AS written,
            coalesce(sum(cost_cache_read_usd), 0) AS read_cost,
            coalesce(sum(cost_cache_write_usd), 0) AS write_cost
        FROM charges_daily
        WHERE day >= asked AND day < addMonths(asked, 1)
            AND calls > unpriced
            AND ({department:String} = '' OR department = {department:String})
        GROUP BY department, model, price_version, day
    ),
    versions AS
    (
        SELECT
            model,
            price_version,
            argMax(input_usd, valid_from) AS price
        FROM price_book FINAL
        WHERE input_usd IS NOT NULL
        GROUP BY model, price_version
    ),
    dated AS
    (
        SELECT
            model,
            toDate(valid_from, 'UTC') AS from_day,
            argMax(tuple(input_usd, valid_to), valid_from) AS line
        FROM price_book FINAL
        GROUP BY model, from_day
    ),
    averages AS
    (
        SELECT
            model,
            price_version,
            sum(toInt64(input_tokens) - toInt64(cache_read_tokens) - toInt64(cache_write_tokens)) AS fresh,
            toDecimal128(sum(cost_input_usd), 15) / nullIf(fresh, 0) AS price
        FROM charges_daily
        WHERE day >= asked AND day < addMonths(asked, 1) AND calls > unpriced
        GROUP BY model, price_version
    ),
    priced AS
    (
        SELECT
            o.department AS department,
            o.model AS model,
            o.input AS input,
            o.read AS read,
            o.written AS written,
            o.read_cost AS read_cost,
            o.write_cost AS write_cost,
            o.day_price AS day_price,
            v.price AS version_price,
            a.price AS average_price
        FROM
        (
            SELECT
                u.department AS department,
                u.model AS model,
                u.price_version AS price_version,
                u.input AS input,
                u.read AS read,
                u.written AS written,
                u.read_cost AS read_cost,
                u.write_cost AS write_cost,
                if(coalesce(d.line.2 > toDateTime(u.day, 'UTC'), true), d.line.1, NULL) AS day_price
            FROM used AS u
            ASOF LEFT JOIN dated AS d ON d.model = u.model AND u.day >= d.from_day
        ) AS o
        LEFT JOIN versions AS v ON v.model = o.model AND v.price_version = o.price_version
        LEFT JOIN averages AS a ON a.model = o.model AND a.price_version = o.price_version
    )
SELECT
    department,
    model,
    sum(read) AS read_tokens,
    toDecimal64(coalesce(toDecimal128(read_tokens, 1) * 100 / nullIf(sum(input), 0), 0), 1) AS read_percent,
    sum(read_cost) AS read_usd,
    if(countIf(unknown) > 0, NULL, toDecimal128(sum(price * read), 9)) AS read_full_usd,
    read_full_usd - read_usd AS saved_usd,
    sum(written) AS write_tokens,
    sum(write_cost) AS write_usd,
    write_usd - if(countIf(unknown) > 0, NULL, toDecimal128(sum(price * written), 9)) AS write_extra_usd,
    saved_usd - write_extra_usd AS net_usd,
    multiIf(
        countIf(unknown) > 0, '',
        countIf(NOT in_book AND read + written > 0) > 0, 'average',
        'price book'
    ) AS price_source
FROM
(
    SELECT
        *,
        toDecimal256(coalesce(version_price, day_price, average_price), 15) AS price,
        coalesce(version_price, day_price) IS NOT NULL AS in_book,
        price IS NULL AND read + written > 0 AS unknown
    FROM priced
)
GROUP BY department, model
HAVING read_tokens > 0 OR write_tokens > 0
ORDER BY department, model
