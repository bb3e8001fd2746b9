-- By how much do the providers' invoices differ from what was charged, by day and model, and why?
--
-- Models are compared by their plain names, without provider prefix and date: gpt-5-2025-08-07 is gpt-5. The parts
-- of a difference add up to it, to the nano-dollar.
--
-- Parameters:
--   {first:Date}       the first day to compare, in UTC
--   {last:Date}        the last day, included
--   {provider:String}  this provider alone; empty: all that have sent something
--   {model:String}     this model alone, by its plain name; empty: all
--
-- Columns, one line for each provider, day and model:
--   provider           who bills
--   day                the day of the usage, in UTC
--   model              the plain name; empty: lines of the invoice that name no model
--   charged_calls      calls in the ledger, of every kind
--   invoiced_requests  requests that the provider counts; 0 where its export counts none
--   charged_tokens     tokens in the ledger, in and out
--   invoiced_tokens    tokens that the provider counts. NULL: no usage export of that day
--   charged_usd        what the ledger charged
--   invoiced_usd       what the provider bills. NULL: no cost export of that day
--   difference_usd     invoiced less charged; above 0: the provider bills more. NULL: nothing was billed
--   usage_usd          of it: tokens that only one of both counts, at the ledger's average price of their kind
--   unpriced_usd       of it: calls without a price in the ledger, which are in no charge
--   price_usd          of it: the same tokens at another price
--   rounding_usd       of it: as little as the rounding of each charge and of each line explains
--   outside_usd        of it: usage of a model, or lines, of which the ledger has no call on that day: bought
--                      around Farthing, or no usage at all (credits, fees)
--   not_invoiced_usd   of it, below 0: charges of a model that the provider does not bill on that day
--   unexplained_usd    of it: all, where no usage export tells how many tokens were billed
--   unpriced           calls without a price
--   estimated          calls whose tokens Farthing counted itself
--   cause              the largest of these parts, in a word; agrees; tokens only: nothing was billed
--
-- Left out: days of which nothing was imported, own hardware, and stand-ins.
WITH
    m -> replaceRegexpOne(replaceRegexpOne(lower(m), '^.*/', ''), '[-@](20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6}|latest)$', '') AS plain,
    invoiced AS
    (
        SELECT
            true AS found,
            p.provider AS provider,
            p.day AS day,
            plain(toString(p.model)) AS name,
            sum(p.input_tokens) AS input,
            sum(p.output_tokens) AS output,
            sum(p.cache_read_tokens) AS cache_read,
            sum(p.cache_write_tokens) AS cache_write,
            sum(p.requests) AS requests,
            sum(p.amount_usd) AS usd,
            -- A provider that shows whole cents has rounded each line by up to half a cent.
            sum(if(p.amount_usd = round(p.amount_usd, 2), toDecimal128('0.005', 9), toDecimal128('0.000000001', 9))) AS slack
        FROM provider_invoices AS p FINAL
        WHERE p.day BETWEEN {first:Date} AND {last:Date}
            AND ({provider:String} = '' OR p.provider = {provider:String})
            AND (p.input_tokens + p.output_tokens + p.requests > 0 OR p.amount_usd != 0)
        GROUP BY provider, day, name
    ),
    told AS
    (
        SELECT provider, day, countIf(input + output > 0) > 0 AS usage, countIf(usd IS NOT NULL) > 0 AS cost
        FROM invoiced
        GROUP BY provider, day
    ),
    charged AS
    (
        SELECT
            true AS found,
            c.provider AS provider,
            c.day AS day,
            plain(toString(c.model)) AS name,
            sum(c.calls) AS n,
            sum(c.unpriced) AS without_price,
            sum(c.usage_estimated) AS counted_here,
            sum(c.input_tokens) AS input,
            sum(c.output_tokens) AS output,
            sum(c.cache_read_tokens) AS cache_read,
            sum(c.cache_write_tokens) AS cache_write,
            coalesce(sum(c.cost_usd), 0) AS usd,
            coalesce(sum(c.cost_input_usd), 0) AS usd_input,
            coalesce(sum(c.cost_output_usd), 0) AS usd_output,
            coalesce(sum(c.cost_cache_read_usd), 0) AS usd_cache_read,
            coalesce(sum(c.cost_cache_write_usd), 0) AS usd_cache_write
        FROM charges_daily AS c
        WHERE c.day BETWEEN {first:Date} AND {last:Date}
            AND ({provider:String} = '' OR c.provider = {provider:String})
            AND NOT c.stand_in AND c.tier != 'local'
        GROUP BY provider, day, name
    ),
    both AS
    (
        SELECT
            coalesce(i.found, false) AS is_invoiced,
            coalesce(c.found, false) AS is_charged,
            if(is_invoiced, i.provider, c.provider) AS who,
            if(is_invoiced, i.day, c.day) AS on_day,
            if(is_invoiced, i.name, c.name) AS what,
            coalesce(c.n, 0) AS n,
            coalesce(c.without_price, 0) AS without_price,
            coalesce(c.counted_here, 0) AS counted_here,
            coalesce(i.requests, 0) AS requests,
            toInt64(coalesce(c.input + c.output, 0)) AS our_tokens,
            toInt64(coalesce(i.input + i.output, 0)) AS their_tokens,
            toInt64(coalesce(i.input - i.cache_read - i.cache_write, 0)) - toInt64(coalesce(c.input - c.cache_read - c.cache_write, 0)) AS more_input,
            toInt64(coalesce(i.output, 0)) - toInt64(coalesce(c.output, 0)) AS more_output,
            toInt64(coalesce(i.cache_read, 0)) - toInt64(coalesce(c.cache_read, 0)) AS more_cache_read,
            toInt64(coalesce(i.cache_write, 0)) - toInt64(coalesce(c.cache_write, 0)) AS more_cache_write,
            c.input - c.cache_read - c.cache_write AS our_input,
            c.output AS our_output,
            c.cache_read AS our_cache_read,
            c.cache_write AS our_cache_write,
            coalesce(c.usd, 0) AS ours,
            i.usd AS theirs,
            coalesce(c.usd_input, 0) AS usd_input,
            coalesce(c.usd_output, 0) AS usd_output,
            coalesce(c.usd_cache_read, 0) AS usd_cache_read,
            coalesce(c.usd_cache_write, 0) AS usd_cache_write,
            -- Each of a charge's four parts was rounded by up to half a nano-dollar.
            coalesce(i.slack, 0) + toDecimal128(2 * n, 9) / 1000000000 AS slack
        FROM invoiced AS i
        FULL OUTER JOIN charged AS c ON i.provider = c.provider AND i.day = c.day AND i.name = c.name
    ),
    compared AS
    (
        SELECT
            b.*,
            t.usage AS has_usage,
            t.cost AS has_cost,
            -- What is not billed on a day of which costs were imported is billed with nothing.
            if(has_cost, coalesce(theirs, 0) - ours, NULL) AS difference,
            toDecimal128(
                if(our_input > 0, toDecimal256(usd_input, 9) * more_input / our_input, 0)
                + if(our_output > 0, toDecimal256(usd_output, 9) * more_output / our_output, 0)
                + if(our_cache_read > 0, toDecimal256(usd_cache_read, 9) * more_cache_read / our_cache_read, 0)
                + if(our_cache_write > 0, toDecimal256(usd_cache_write, 9) * more_cache_write / our_cache_write, 0),
                9
            ) AS value_of_more,
            multiIf(NOT is_charged, 'outside', NOT is_invoiced OR (theirs IS NULL AND their_tokens = 0), 'not invoiced', NOT has_usage, 'no usage', 'both') AS how,
            if(how = 'both', value_of_more, 0) AS part_usage,
            if(how = 'both', difference - part_usage, 0) AS rest
        FROM both AS b
        INNER JOIN told AS t ON b.who = t.provider AND b.on_day = t.day
    )
SELECT
    assumeNotNull(who) AS provider,
    assumeNotNull(on_day) AS day,
    assumeNotNull(what) AS model,
    n AS charged_calls,
    requests AS invoiced_requests,
    our_tokens AS charged_tokens,
    if(has_usage, their_tokens, NULL) AS invoiced_tokens,
    toDecimal128(ours, 9) AS charged_usd,
    if(has_cost, coalesce(theirs, toDecimal128(0, 9)), NULL) AS invoiced_usd,
    difference AS difference_usd,
    if(has_cost, part_usage, NULL) AS usage_usd,
    if(has_cost, if(without_price > 0, rest, 0), NULL) AS unpriced_usd,
    if(has_cost, if(without_price = 0 AND abs(rest) > slack, rest, 0), NULL) AS price_usd,
    if(has_cost, if(without_price = 0 AND abs(rest) <= slack, rest, 0), NULL) AS rounding_usd,
    if(has_cost, if(how = 'outside', difference, 0), NULL) AS outside_usd,
    if(has_cost, if(how = 'not invoiced', difference, 0), NULL) AS not_invoiced_usd,
    if(has_cost, if(how = 'no usage', difference, 0), NULL) AS unexplained_usd,
    without_price AS unpriced,
    counted_here AS estimated,
    multiIf(
        NOT has_cost, if(more_input = 0 AND more_output = 0 AND more_cache_read = 0 AND more_cache_write = 0, 'agrees', 'tokens only'),
        difference = 0 AND without_price > 0, 'unpriced',
        difference = 0 AND (how != 'both' OR part_usage = 0), 'agrees',
        how = 'outside', 'outside',
        how = 'not invoiced', 'not invoiced',
        how = 'no usage', if(abs(difference) <= slack, 'rounding', 'unexplained'),
        abs(part_usage) > abs(rest), 'usage',
        without_price > 0, 'unpriced',
        abs(rest) > slack, 'price',
        'rounding'
    ) AS cause
FROM compared
WHERE {model:String} = '' OR what = {model:String}
ORDER BY provider, day, model
